"""Checkpoints and snapshots that do not fit or are damaged."""

import fcntl
import json
import zipfile
from pathlib import Path

from tests.fuzz.place import Attempt, Place


def done(place: Place) -> Path:
    """Run the pipeline to its end, and return its checkpoint."""
    from streamem.config import load

    place.write()
    load(place.file(), []).pipeline().run()
    return place.folder / "state" / "checkpoint.zip"


def flipped_bits(place: Place) -> Attempt:
    path = done(place)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = place.rng.choice(archive.infolist())
    # in the content of a member, which its checksum covers; some bytes between the members mean nothing
    start = member.header_offset + 30 + len(member.filename)
    content[place.rng.randrange(start, start + member.file_size)] ^= 1 << place.rng.randrange(8)
    path.write_bytes(content)
    return place.run("SnapshotError", "checkpoint.zip", 2)


def cut_checkpoint(place: Place) -> Attempt:
    path = done(place)
    content = path.read_bytes()
    path.write_bytes(content[: place.rng.randrange(len(content))])
    return place.run("SnapshotError", "checkpoint.zip", 2)


def checkpoint_of_another_format(place: Place) -> Attempt:
    path = done(place)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["checkpoint.json"] = members["checkpoint.json"].replace(b"streamem.checkpoint/1", b"streamem.checkpoint/7")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return place.run("SnapshotError", "streamem.checkpoint/7", 2)


def changed_settings(place: Place) -> Attempt:
    done(place)
    where, key, value = place.rng.choice(
        [(place.learn["model"], "components", 3), (place.learn, "features", ["y", "x"]), (place.learn, "seed", 9),
         (place.settings["batch"], "max_records", 51), (place.learn, "name", "other")]
    )  # fmt: skip
    where[key] = value
    return place.run("SnapshotError", "other" if key == "name" else key, 2)


def checkpoint_in_use(place: Place) -> Attempt:
    done(place)
    lock = open(place.folder / "state" / "lock", "a")  # noqa: SIM115
    fcntl.flock(lock, fcntl.LOCK_EX)
    HELD.append(lock)
    return place.run("ConfigError", "state", 2)


HELD: list = []
"""Locks of the present input; the runner lets go of them."""


def output_cut(place: Place) -> Attempt:
    done(place)
    content = place.posteriors.read_bytes()
    place.posteriors.write_bytes(content[: place.rng.randrange(len(content))])
    return place.run("ConnectError", "posteriors.ndjson", 1)


def input_changed(place: Place) -> Attempt:
    done(place)
    path = place.folder / "in.csv"
    content = path.read_bytes()
    path.write_bytes(place.rng.choice([content[: len(content) // 2], content.replace(b"id", b"di", 1), b""]))
    return place.run("ConnectError", "in.csv", 1)


def nothing_new(place: Place) -> Attempt:
    done(place)
    return place.run(None, "", 0, good=400)


def damaged_snapshot(place: Place) -> Attempt:
    done(place)
    record = json.loads(place.snapshots.read_text().splitlines()[-1])
    change = place.rng.choice(
        [
            lambda r: r.update(format="streamem.snapshot/9"),
            lambda r: r.pop("model"),
            lambda r: r.update(records_seen=10**400),
            lambda r: r["parameters"].update(weights=[10**400, 0]),
            lambda r: r["parameters"].update(weights=[0.2, 0.2]),
            lambda r: r["averaged"]["components"].update(mean=[[1.0], [2.0]]),
            lambda r: r["averaged"]["components"]["covariance"][0].__setitem__(0, [-1.0, 0.0]),
            lambda r: r["averaged"]["components"]["mean"].__setitem__(0, [float("nan"), 0.0]),
            lambda r: r["model"].update(components=5),
            lambda r: r["model"]["family"].update(type="poison"),
            lambda r: r.update(parameters="none"),
        ]
    )
    change(record)
    path = place.folder / "snapshot.json"
    path.write_text(json.dumps(record))
    both = [["show", str(path)], ["combine", str(path), "-o", str(place.folder / "both.json")]]
    return Attempt(place.rng.choice(both), "SnapshotError", "snapshot", 2)


def not_a_snapshot(place: Place) -> Attempt:
    path = place.folder / "snapshot.json"
    path.write_text(place.rng.choice(["", "{", "[]", "3", '{"a": 1}', "\x00\x01", '{"format": "streamem.snap']))
    return Attempt(["show", str(path)], "SnapshotError", "snapshot.json", 2)


def no_snapshot(place: Place) -> Attempt:
    return Attempt(["show", str(place.folder / "nowhere.json")], "ConfigError", "nowhere.json", 2)


def start_from_other_features(place: Place) -> Attempt:
    done(place)
    place.learn.update(features=["y"], start_from=str(place.snapshots))
    place.settings["checkpoint"]["path"] = str(place.folder / "other")
    for number, output in enumerate(place.settings["outputs"]):
        output["sink"]["path"] = str(place.folder / f"{number}.ndjson")
    return place.run("SnapshotError", "features", 2)


def score_other_columns(place: Place) -> Attempt:
    done(place)
    path = place.folder / "other.csv"
    path.write_text("a,b\n1,2\n")
    return Attempt(["score", str(place.snapshots), str(path)], "ConfigError", "x", 2)


KINDS = [
    flipped_bits, cut_checkpoint, checkpoint_of_another_format, changed_settings, checkpoint_in_use, output_cut,
    input_changed, nothing_new, damaged_snapshot, not_a_snapshot, no_snapshot, start_from_other_features,
    score_other_columns,
]  # fmt: skip
