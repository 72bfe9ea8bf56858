"""Calls about transactions, which librdkafka may not come back from while a broker is away."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from confluent_kafka import KafkaError, KafkaException

__all__ = ["ANSWER_SECONDS", "once", "patiently"]

ANSWER_SECONDS = 2.0
"""After so long the brokers are asked anew."""

TRANSACTION_SECONDS = 60.0
"""How long the end of a transaction may take; librdkafka tries again meanwhile."""

OFFSETS_SECONDS = 8.0
"""After so long without an answer to offsets the transaction is given up."""

STUCK_SECONDS = 10.0
"""After so long a call that was to have ended is given up, and its producer with it, where brokers do answer."""


def patiently(call: Callable[[float], Any], away: Callable[[], bool]) -> None:
    """Call until it is answered, at most for `TRANSACTION_SECONDS`.

    librdkafka may wait in vain, for as long as it is let, for the answer of a broker that has gone; asked anew it goes
    on where it was. Raises TimeoutError where the call does not come back.
    """
    until = time.monotonic() + TRANSACTION_SECONDS
    while True:
        try:
            in_time(call, ANSWER_SECONDS, away)
            return
        except KafkaException as error:
            if error.args[0].code() != KafkaError._TIMED_OUT or time.monotonic() > until:
                raise


def once(call: Callable[[float], Any], away: Callable[[], bool]) -> None:
    """Call `send_offsets_to_transaction`, which is never asked anew for an answer.

    That of an earlier call could be taken for it, and a transaction would be committed without its offsets. Raises
    TimeoutError where the call does not come back.
    """
    try:
        in_time(call, OFFSETS_SECONDS, away)
    except KafkaException as error:
        if error.args[0].code() == KafkaError._STATE:  # of a transaction that fails meanwhile; asked anew, why it does
            in_time(call, ANSWER_SECONDS, away)
        raise


def in_time(call: Callable[[float], Any], seconds: float, away: Callable[[], bool]) -> None:
    """Give a call so many seconds, in a thread of its own, which is left to itself where it does not come back.

    `send_offsets_to_transaction` may wait for ever for a coordinator that has gone, whatever time it is given
    (librdkafka's issues 5456 and 5511). It is not left while the brokers are `away`: what it has to send would come to
    them, once they are back, beside what the next producer does, and leave the group with offsets that nobody commits.

    Raises
    ------
    TimeoutError
        It did not come back within `STUCK_SECONDS` of brokers that answer, or `TRANSACTION_SECONDS` in all.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            call(seconds)
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    until, were_away = time.monotonic() + TRANSACTION_SECONDS, False
    while not wait([done], STUCK_SECONDS).done:
        are_away = away()
        if not (are_away or were_away) or time.monotonic() > until:
            raise TimeoutError
        were_away = are_away
    done.result()
