"""Work done in another thread while the consumer is busy: parsing and writing release the GIL."""

import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")

END = object()


def ahead(items: Iterator[Item]) -> Generator[Item]:
    """Yield the items of an iterator, each made while the one before is in use.

    One item ahead, in order; an exception comes where its item would have come. When the consumer stops early, the
    thread ends with the item it is at. A process that may use but one processor makes each item when it is asked for:
    the thread would cost a tenth and win nothing.

    Examples
    --------
    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    if processors() == 1:
        yield from items
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as worker:
        coming = worker.submit(next, items, END)
        while (item := coming.result()) is not END:
            coming = worker.submit(next, items, END)
            yield item  # type: ignore[misc]


def processors() -> int:
    """Return how many processors this process may use; not every system can say it for one process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
