"""What the numbers of Kafka's errors mean, in the words of the house: the same for both clients.

Numbers from 0 up are the protocol's; those below 0 are librdkafka's own.
"""

from collections import deque
from dataclasses import dataclass, field

from streamem.errors import ConnectError, tell

__all__ = ["FencedError", "Recent", "failed"]

FENCED = frozenset({47, 90, -144})
"""A later producer has taken over, or the transaction took longer than the brokers allow."""


class FencedError(ConnectError):
    """The brokers take nothing more from this producer."""


TOPIC = ("a topic that is there", "make it with streamem topics, or correct its name", True)
RIGHTS = ("the right to do so", "have it granted, or name another user in options", False)
LOGIN = ("a login that the brokers accept", "look at sasl.mechanism, sasl.username and sasl.password", False)
LOST = (
    "offsets that the topic still has",
    "start with --from earliest, latest or a time: what lies between is gone",
    False,
)
AGAIN = ("an answer of the brokers", "look whether they run and can be reached", True)

CAUSES: dict[int, tuple[str, str, bool]] = {
    1: LOST,
    3: TOPIC,
    10: (
        "a message no larger than the topic takes",
        "raise max.message.bytes of the topic and max.request.size in options, or lower rows_per_message",
        False,
    ),
    17: ("a legal name of a topic", "use letters, digits, dots, dashes and underscores", False),
    29: RIGHTS,
    30: RIGHTS,
    31: RIGHTS,
    33: LOGIN,
    34: LOGIN,
    35: ("brokers from Kafka 2.5 on", "connect to newer ones", False),
    37: ("at least one partition", "correct partitions", False),
    38: ("as many brokers as replicas", "lower --replication", False),
    53: RIGHTS,
    58: LOGIN,
    -140: LOST,  # no offset, and none may be chosen
    -169: LOGIN,
    -181: (
        "a certificate that the CA in options has signed",
        "look at ssl.ca.location, and whether the port speaks TLS",
        False,
    ),
}


def failed(place: str, number: int | None, found: str, *, retry: bool, recent: str = "") -> ConnectError:
    """Return the error for what went wrong between a client and the brokers.

    Parameters
    ----------
    place : str
        What was being done, and with which brokers or topic.
    number : int or None
        Of Kafka's error, where it has one.
    found : str
        The client's own words.
    retry : bool
        Whether the client says that the same may succeed later.
    recent : str
        What the client said of its connections lately: the cause, where `found` tells none.
    """
    if number in FENCED:
        do = "let one of them run; for a share of the partitions each, set workers"
        wanted = "one process of this pipeline, or of this worker of it"
        return FencedError(tell(place, found=f"another one, which has taken over ({found})", wanted=wanted, do=do))
    wanted, do, again = CAUSES.get(number if number is not None else 0, (*AGAIN[:2], retry))
    because = f" ({recent})" if recent and recent not in found else ""
    return ConnectError(tell(place, found=f"{found.rstrip('. ')}{because}", wanted=wanted, do=do), retry=again)


@dataclass
class Recent:
    """What a client said of its connections lately; secrets are not among it, clients do not say them."""

    said: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def add(self, text: str) -> None:
        """Take note, of each text once."""
        if text in self.said:
            self.said.remove(text)
        self.said.append(text)

    @property
    def last(self) -> str:
        """The latest; nothing where there was none."""
        return self.said[-1] if self.said else ""
