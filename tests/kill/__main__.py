"""``python -m tests.kill --times N --seed S``: kill -9, start again, compare with an undisturbed run."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CLIENTS = ["kafka-python", "confluent-kafka"]


def main() -> int:
    from tests.kill.scenario import SCENARIOS

    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--source", choices=["files", "kafka"], default="files")
    parser.add_argument("--sink", choices=["files", "kafka"], default="files")
    parser.add_argument(
        "--checkpoint", choices=["folder", "topic"], default="folder", help="a topic: the disk is wiped"
    )
    parser.add_argument("--client", nargs="+", choices=CLIENTS, default=CLIENTS, help="they share the kills")
    parser.add_argument("--partitions", type=int, default=1, help="of what is read; several: batches cut by time")
    parser.add_argument("--broker", type=int, metavar="RECORDS", help="kill brokers instead, while so many are read")
    parser.add_argument("--brokers", type=int, default=3, metavar="COUNT", help="in the cluster, a copy on each")
    parser.add_argument("--times", type=int, default=200, help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the points and of the random times")
    parser.add_argument("--pipeline", nargs="+", choices=[*SCENARIOS], default=[*SCENARIOS], help="of files alone")
    arguments = parser.parse_args()
    kafka = arguments.broker is not None or "kafka" in (arguments.source, arguments.sink)
    if arguments.checkpoint == "topic" and arguments.sink != "kafka":
        parser.error("argument --checkpoint: a topic is in the transaction of the outputs; wanted --sink kafka with it")
    if arguments.partitions != 1 and arguments.source != "kafka":
        parser.error("argument --partitions: a file has none; wanted --source kafka with it")
    names = list(dict.fromkeys(arguments.client if kafka else arguments.pipeline))
    if arguments.times < len(names):
        wanted = f"at least one kill for each of {', '.join(names)}"
        parser.error(f"argument --times: found {arguments.times}, wanted {wanted}")

    from tests.kill import between, campaign, outage
    from tests.kill.child import PHASES, TRANSACTION_PHASES
    from tests.kill.topics import Pairing

    # a broker that was asked to end may still write there
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if arguments.broker is not None:
            reports = {}
            for name in names:
                how = arguments.times, arguments.seed, arguments.broker, name, arguments.brokers
                reports[name] = outage.campaign(Path(folder) / name, *how)
        elif kafka:
            how = arguments.source, arguments.sink, arguments.checkpoint
            pairings = {name: Pairing(*how, name, arguments.partitions) for name in names}
            reports = between.campaign(Path(folder), arguments.times, arguments.seed, pairings)
        else:
            reports = campaign.campaign(Path(folder), arguments.times, arguments.seed, names)
    report = sum(reports.values(), campaign.Report())
    for phase in (*PHASES, *TRANSACTION_PHASES, campaign.RANDOM, outage.KILLED):
        if report.kills[phase]:
            print(f"killed, {phase:<22} {report.kills[phase]:>5}")
    for name, one in {"all": report, **reports}.items():
        print(f"{'kills in ' + name:<30} {one.kills.total():>5}")
        print(f"{'  runs compared':<30} {one.runs:>5}")
        for what in ("lost", "repeated"):
            print(f"{'  records ' + what:<30} {getattr(one, what):>5}")
        if arguments.partitions == 1:  # cut by time, no two runs have the same batches
            for what in ("outputs", "parameters", "carries"):
                print(f"{'  ' + what + ' that differ':<30} {getattr(one, what):>5}")
    held = all(one.holds for one in reports.values())
    wanted = arguments.times * (len(names) if arguments.broker is not None else 1)
    return 0 if held and report.kills.total() == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
