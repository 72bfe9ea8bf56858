"""Which slot of the carry belongs to which key: devices, vehicles, whatever the ``key`` column tells apart.

A key has its slot until it leaves: keys that were idle for longest go first where there is no room, and all that were
idle for too long. Which keys leave is decided after each micro-batch, so it never depends on how many come together;
a key that comes again after too long begins anew at that very record, in a slot of its own.
"""

import io
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from streamem.em.observations import Array, Labels
from streamem.stream.protocol import State

__all__ = ["Keys"]


@dataclass(eq=False)
class Keys:
    """The keys that are known, each with its slot.

    Parameters
    ----------
    most : int or None
        How many keys are kept.
    idle_seconds : float or None
        A key leaves when the newest time is so much later than its own.
    table, keys : dict
        The slot of every key, and the key of every slot.
    free : list of int
        Slots that keys left.
    left : list of int
        Slots of keys that began anew in another one since the last `leave`.
    seen, time : ndarray, shape (slots,)
        The number of the last micro-batch with each key, -1 for none, and its last time.

    Examples
    --------
    >>> keys = Keys(most=2)
    >>> keys.slots(pl.Series(["a", "b", "a", "c"]), number=0).tolist()
    [0, 1, 0, 2]
    >>> keys.leave(None).tolist(), sorted(keys.table)
    ([0], ['b', 'c'])
    """

    most: int | None = None
    idle_seconds: float | None = None
    table: dict[object, int] = field(default_factory=dict)
    keys: dict[int, object] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    seen: Labels = field(default_factory=lambda: np.empty(0, np.intp))
    time: Array = field(default_factory=lambda: np.empty(0))

    def slots(self, values: pl.Series, number: int, time: Array | None = None) -> Labels:
        """Return the slot of every value, a new one for a new key.

        Parameters
        ----------
        values : polars.Series, shape (N,)
            Keys, none of them null.
        number : int
            Of the micro-batch.
        time : ndarray, shape (N,), optional
            Seconds.
        """
        keys = values.to_list()
        for key in dict.fromkeys(keys) if not self.table.keys() >= set(keys) else ():
            if key not in self.table:
                self._place(key)
        slots = np.fromiter(map(self.table.__getitem__, keys), np.intp, len(keys))
        self._make_room()
        if time is not None:
            if self.idle_seconds is not None:
                self._begin_anew(slots, time, self.idle_seconds)
            np.maximum.at(self.time, slots, time)
        self.seen[slots] = number
        return slots

    def mark(self) -> tuple[int, int, Labels, Array]:
        """Return what `undo` needs to know."""
        return len(self.table), len(self.table) + len(self.free), self.seen.copy(), self.time

    def undo(self, mark: tuple[int, int, Labels, Array]) -> None:
        """Forget the keys that came since `mark`, where nothing but `slots` without times was called since."""
        known, room, self.seen, self.time = mark
        while len(self.table) > known:
            _, slot = self.table.popitem()  # the last that came
            del self.keys[slot]
            if slot < room:
                self.free.append(slot)

    def _place(self, key: object) -> int:
        """Give a key a slot that nobody has."""
        slot = self.free.pop() if self.free else len(self.table) + len(self.left)
        self.table[key] = slot
        self.keys[slot] = key
        return slot

    def _make_room(self) -> None:
        room = len(self.table) + len(self.left) + len(self.free)
        if room > len(self.seen):
            more = max(room, 2 * len(self.seen)) - len(self.seen)
            self.seen = np.concatenate([self.seen, np.full(more, -1)])
            self.time = np.concatenate([self.time, np.full(more, -np.inf)])

    def _begin_anew(self, slots: Labels, time: Array, idle_seconds: float) -> None:
        """Give keys other slots from the records on that come too late after those before them; changes `slots`."""
        order = np.argsort(slots, kind="stable")
        mine, when = slots[order], time[order]
        first = np.diff(mine, prepend=-1) != 0
        before = np.where(first, self.time[mine], np.concatenate([[-np.inf], when[:-1]]))
        late = np.flatnonzero((before > -np.inf) & (when - before > idle_seconds))
        for place in late.tolist():  # few: each is a gap in a sequence
            old = int(slots[order[place]])
            key = self.keys.pop(old)
            self.left.append(old)
            del self.table[key]
            new = self._place(key)
            rest = order[place:]
            slots[rest[slots[rest] == old]] = new
        self._make_room()

    def leave(self, newest: float | None) -> Labels:
        """Forget the keys that are idle for too long or too many, and return their slots.

        Parameters
        ----------
        newest : float or None
            The newest time seen, in seconds.
        """
        leaving = np.array(self.left, np.intp)
        self.free += sorted(self.left, reverse=True)
        self.left = []
        self.seen[leaving], self.time[leaving] = -1, -np.inf
        if self.idle_seconds is None and (self.most is None or len(self.table) <= self.most):
            return leaving
        taken = np.flatnonzero(self.seen >= 0)
        idle = np.empty(0, np.intp)
        if self.idle_seconds is not None and newest is not None:
            idle = taken[self.time[taken] < newest - self.idle_seconds]
            taken = np.setdiff1d(taken, idle)
        if self.most is not None and len(taken) > self.most:
            oldest = taken[np.lexsort((taken, self.seen[taken]))]
            idle = np.concatenate([idle, oldest[: len(taken) - self.most]])
        for slot in sorted(idle.tolist(), reverse=True):
            del self.table[self.keys.pop(slot)]
            self.free.append(slot)
        self.seen[idle] = -1
        self.time[idle] = -np.inf
        return np.concatenate([leaving, idle])

    def state(self) -> State:
        """Return the keys with their slots, and when each was seen."""
        slots = np.fromiter(self.table.values(), np.intp, len(self.table))
        arrays = {"slots": slots, "seen": self.seen[slots], "time": self.time[slots], "free": np.array(self.free, int)}
        if not self.table and not self.free:
            return State(arrays=arrays)  # most pipelines have no key, and Arrow costs half a millisecond
        buffer = io.BytesIO()
        pl.DataFrame({"key": list(self.table)}).write_ipc(buffer)
        return State(arrays=arrays, blobs={"keys": buffer.getvalue()})

    def restore(self, state: State) -> None:
        """Go on from `state`."""
        if "keys" not in state.blobs:
            return
        keys = pl.read_ipc(io.BytesIO(state.blobs["keys"]))["key"].to_list()
        slots = state.arrays["slots"]
        self.table = dict(zip(keys, slots.tolist(), strict=True))
        self.keys = dict(zip(slots.tolist(), keys, strict=True))
        self.free = state.arrays["free"].tolist()
        room = len(keys) + len(self.free)
        self.seen, self.time = np.full(room, -1), np.full(room, -np.inf)
        self.seen[slots], self.time[slots] = state.arrays["seen"], state.arrays["time"]
