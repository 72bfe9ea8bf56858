"""Several brokers in one cluster, any of which a test may kill and start again while the others go on."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient

from tests.broker.reading import TIMEOUT_SECONDS, client
from tests.broker.server import Broker, BrokerError, Member, controllers, new_id, wait

WHOLE_SECONDS = 60


@dataclass(frozen=True)
class Brokers:
    """The brokers of a cluster; each keeps a copy of everything, and most of them are enough to go on."""

    members: tuple[Broker, ...]

    @property
    def bootstrap(self) -> str:
        """HOST:PORT of each of them."""
        return ",".join(one.bootstrap for one in self.members)

    def wait_until_whole(self) -> None:
        """Return when every broker has everything that was written.

        Raises
        ------
        BrokerError
            This did not come about in time.
        """
        admin = AdminClient(client(self.bootstrap))
        until = time.monotonic() + WHOLE_SECONDS
        while not self.whole(admin):
            if time.monotonic() > until:
                raise BrokerError(
                    f"not whole after {WHOLE_SECONDS} s:\n" + "\n".join(one.tail() for one in self.members)
                )
            time.sleep(0.1)

    def whole(self, admin: AdminClient) -> bool:
        known = admin.list_topics(timeout=TIMEOUT_SECONDS)
        copies = [len(one.isrs) for topic in known.topics.values() for one in topic.partitions.values()]
        return len(known.brokers) == len(self.members) and all(count == len(self.members) for count in copies)


@contextmanager
def cluster(folder: Path, count: int) -> Iterator[Brokers]:
    """Start so many brokers, and end them after use."""
    places, identity = controllers(count), new_id()
    members = [Broker(folder / f"broker-{n}", member=Member(n, places, identity)) for n in range(1, count + 1)]
    with ExitStack() as stack:
        for one in members:  # none answers before most of them are there
            stack.callback(one.kill)  # asked to end in order, the last two would wait for one another
            one.launch()
        for one in members:
            wait(one.bootstrap, one.running, one.tail)
        yield Brokers(tuple(members))
