"""What the kernel read of messages of Avro, as a frame."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streamem.connect.kafka.formats.avro import kernel
from streamem.connect.kafka.formats.avro.schema import DEEPEST, Program
from streamem.connect.kafka.formats.avro.types import Node
from streamem.connect.kafka.formats.decoder import unfit

__all__ = ["read"]

Words = NDArray[np.int64]


def read(program: Program, data: bytes, starts: Words, stops: Words) -> tuple[pl.DataFrame, dict[int, str]]:
    """Return the rows of messages, and which of them cannot be read, and why.

    Parameters
    ----------
    program : Program
    data : bytes
    starts, stops : ndarray of int, shape (N,)
        Message n is ``data[starts[n]:stops[n]]``.
    """
    code, array = program.code, np.frombuffer(data, np.uint8)
    why, where = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    counts = np.zeros(len(program.owners), np.int64)
    loops = np.empty((DEEPEST, 2), np.int64)
    kernel.count(code, array, starts, stops, counts, loops, why, where)
    good = why == 0
    ends = np.cumsum(counts)
    words, sizes = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.int64)
    kernel.fill(code, array, starts[good], stops[good], ends - counts, loops, words, sizes)
    columns = Columns(data, words, sizes, ends - counts, ends)
    frame = pl.DataFrame([columns.series(node).alias(name) for name, node in program.root.children])
    return frame, {n: reason(program, why[n], where[n]) for n in np.flatnonzero(why).tolist()}


def reason(program: Program, why: int, where: int) -> str:
    """Return why a message cannot be read."""
    name = program.names[where]
    return unfit(f"{kernel.REASONS[why]}{f' at {name}' if name else ''}", "a record of the Avro schema")


@dataclass(frozen=True)
class Columns:
    """The words of all columns, one after the other.

    Parameters
    ----------
    data : bytes
        Where texts are.
    words, sizes : ndarray of int
        See `kernel`.
    begins, ends : ndarray of int, shape (C,)
        Column c is ``words[begins[c]:ends[c]]``.
    """

    data: bytes
    words: Words
    sizes: Words
    begins: Words
    ends: Words

    def series(self, node: Node) -> pl.Series:
        """Return one column."""
        made: dict[str, Callable[[Node], pl.Series]] = {
            "words": self.plain,
            "decimal": self.decimal,
            "enum": self.enum,
            "list": self.list,
            "record": self.record,
            "union": self.union,
            "numbers": self.numbers,
        }
        series = made[node.kind](node)
        if node.kind in ("union", "numbers"):
            return series
        there = self.of(self.sizes, node) >= 0
        return series if there.all() else series.zip_with(pl.Series(there), pl.Series([None], dtype=series.dtype))

    def of(self, array: Words, node: Node) -> Words:
        """Return the part of an array that a column is."""
        return array[self.begins[node.column] : self.ends[node.column]]

    def plain(self, node: Node) -> pl.Series:
        """Return numbers, times, bytes and texts."""
        words, kind = self.of(self.words, node), node.type
        if isinstance(kind, (pl.Binary, pl.String)):
            return self.cut(node).cast(kind)
        if isinstance(kind, pl.Null):
            return pl.repeat(None, len(words), eager=True)
        if kind == pl.Float64():
            return pl.Series(words.view(np.float64))
        if kind == pl.Float32():
            return pl.Series(words.astype(np.uint32).view(np.float32))
        if isinstance(kind, pl.Time):
            return pl.Series(words * node.unit).cast(kind)
        if isinstance(kind, pl.Date):
            return pl.Series(words.astype(np.int32)).cast(kind)
        return pl.Series(words).cast(kind)

    def cut(self, node: Node) -> pl.Series:
        """Return bytes."""
        places = pl.DataFrame({"at": self.of(self.words, node), "size": np.maximum(self.of(self.sizes, node), 0)})
        return places.select(pl.lit(self.data).bin.slice(pl.col("at"), pl.col("size"))).to_series()

    def decimal(self, node: Node) -> pl.Series:
        """Return decimal numbers, exactly rounded: Python divides whole numbers of any size so."""
        scale = 10**node.unit
        values = (int.from_bytes(value, "big", signed=True) / scale for value in self.cut(node).to_list())
        return pl.Series(values, dtype=pl.Float64())

    def enum(self, node: Node) -> pl.Series:
        """Return the symbols of an enum."""
        return pl.Series(node.symbols, dtype=pl.String()).gather(self.of(self.words, node))

    def list(self, node: Node) -> pl.Series:
        """Return lists of the elements, which stand one after the other."""
        elements = self.series(node.children[0][1])
        sizes = np.maximum(self.of(self.sizes, node), 0)
        if not len(sizes):
            return pl.Series(dtype=node.type)
        if sizes[0] and not elements.dtype.is_nested() and (sizes == sizes[0]).all():
            return elements.reshape((len(sizes), int(sizes[0]))).cast(node.type)
        places = pl.DataFrame({"at": np.cumsum(sizes) - sizes, "size": sizes})
        everything = pl.lit(pl.Series([elements], dtype=node.type))
        return places.select(everything.list.slice(pl.col("at"), pl.col("size"))).to_series()

    def record(self, node: Node) -> pl.Series:
        """Return records."""
        return pl.DataFrame([self.series(child).alias(name) for name, child in node.children]).to_struct()

    def union(self, node: Node) -> pl.Series:
        """Return records of which one field is there, or none."""
        frame = self.record(node).struct.unnest()
        there = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        return frame.to_struct().zip_with(there, pl.Series([None], dtype=node.type))

    def numbers(self, node: Node) -> pl.Series:
        """Return numbers of several types as one."""
        frame = self.record(node).struct.unnest()
        return frame.select(pl.coalesce(pl.all().cast(node.type))).to_series()
