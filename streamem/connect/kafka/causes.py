"""What the numbers of Kafka's errors mean, in the words of the house: the same for both clients.

Numbers from 0 up are the protocol's; those below 0 are librdkafka's own.
"""

import re
import time
from collections import deque
from dataclasses import dataclass, field

from streamem.errors import ConnectError, tell

__all__ = ["UNSTABLE", "FencedError", "Recent", "failed"]

FENCED = frozenset({47, 90, -144})
"""A later producer has taken over, or the transaction took longer than the brokers allow."""


UNSTABLE = 88
"""A transaction under way holds the offsets that were asked for."""


class FencedError(ConnectError):
    """The brokers take nothing more from this producer."""


TOPIC = ("a topic that is there", "make it with streamem topics, or correct its name", True)
RIGHTS = ("the right to do so", "have it granted, or name another user in options", False)
LOGIN = ("a login that the brokers accept", "look at sasl.mechanism, sasl.username and sasl.password", False)
MECHANISM = ("a port that takes this login", "look at security.protocol and sasl.mechanism", False)
CERTIFICATE = (
    "a certificate that the CA in options has signed",
    "look at ssl.ca.location, and whether the port speaks TLS",
    False,
)
TLS = ("a port that speaks TLS", "name one in bootstrap_servers, or another security.protocol in options", True)
PLAIN = ("a port that speaks no TLS", "name one, or write security.protocol: SSL or SASL_SSL in options", False)
HOST = ("the name of a host", "correct bootstrap_servers", True)
NOBODY = ("brokers that listen there", "start them, or correct bootstrap_servers", True)
LOST = (
    "offsets that the topic still has",
    "start with --from earliest, latest or a time: what lies between is gone",
    False,
)
UNSETTLED = (
    "offsets that no transaction holds",
    "wait for its end; kafka-transactions.sh find-hanging shows a transaction that its brokers have forgotten",
    True,
)
AGAIN = ("an answer of the brokers", "look whether they run and can be reached", True)

CAUSES: dict[int, tuple[str, str, bool]] = {
    1: LOST,
    3: TOPIC,
    10: (
        "a message no larger than the topic takes",
        "raise max.message.bytes of the topic and max.request.size in options, or lower batch.size or rows_per_message",
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
    UNSTABLE: UNSETTLED,
    -140: LOST,  # no offset, and none may be chosen
    -169: LOGIN,
    -181: CERTIFICATE,
}

SIGNS: dict[str, tuple[str, str, bool]] = {
    "authentication failed|SaslAuthentication": LOGIN,
    "certificate.verify": CERTIFICATE,
    "PLAINTEXT broker listener|UNEXPECTED_EOF|wrong.version.number": TLS,
    "Invalid frame length": PLAIN,
    "group.?authorization": RIGHTS,
    "failed to resolve|DNS": HOST,
    "refused": NOBODY,
    "mechanism handshake failed": MECHANISM,
    "UnstableOffsetCommit": UNSETTLED,
}
"""What the words of a client mean where it gives no number, the more telling first."""

LATELY_SECONDS = 20.0
"""So long a word of a client may be the cause of what goes wrong."""

LASTING_SECONDS = 2.0
"""A connection that is closed and opened again is complained of once; brokers that are away, again and again."""


@dataclass
class Recent:
    """What a client said of its connections lately; secrets are not among it, clients do not say them."""

    said: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=200))

    def add(self, text: str) -> None:
        """Take note."""
        self.said.append((time.monotonic(), text))

    def cause(self) -> tuple[str, tuple[str, str, bool] | None]:
        """Return the most telling text, and what it means; of several the latest, "" where nothing was said."""
        since = time.monotonic() - LATELY_SECONDS
        texts = [text for when, text in reversed(self.said) if when >= since]
        for sign, meaning in SIGNS.items():
            for text in texts:
                if re.search(sign, text, re.IGNORECASE):
                    return text, meaning
        return (texts[0] if texts else ""), None

    @property
    def trouble(self) -> str:
        """The cause where the client goes on to complain; "" where it does not."""
        since = time.monotonic() - LATELY_SECONDS
        times = [when for when, _ in self.said if when >= since]
        return self.cause()[0] if times and times[-1] - times[0] >= LASTING_SECONDS else ""

    @property
    def final(self) -> bool:
        """Whether trying again is in vain."""
        _, meaning = self.cause()
        return meaning is not None and not meaning[2]


NOTHING = Recent()


def failed(place: str, number: int | None, found: str, *, retry: bool, recent: Recent = NOTHING) -> ConnectError:
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
    recent : Recent
        What the client said of its connections lately: the cause, where `number` tells none.
    """
    if number in FENCED:
        do = "let one of them run; for a share of the partitions each, set workers"
        wanted = "one process of this pipeline, or of this worker of it"
        return FencedError(tell(place, found=f"another one, which has taken over ({found})", wanted=wanted, do=do))
    text, meaning = recent.cause()
    known = CAUSES.get(number if number is not None else 0)
    wanted, do, again = known or meaning or (*AGAIN[:2], retry)
    because = f" ({text})" if known is None and text and text not in found else ""
    return ConnectError(tell(place, found=f"{found.rstrip('. ')}{because}", wanted=wanted, do=do), retry=again)
