"""Topics being read: messages in, batches out."""

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from streamem.connect.ahead import ahead
from streamem.connect.cutting import Cutter
from streamem.connect.kafka.client import Messages, Partition
from streamem.connect.kafka.formats import open_decoder
from streamem.connect.kafka.metadata import with_metadata
from streamem.connect.kafka.pieces import Place, piece_of
from streamem.connect.kafka.transaction import KafkaTransaction, check_topic
from streamem.connect.piece import Piece
from streamem.connect.schema import RECORDS
from streamem.errors import ConfigError, ConnectError, DataError, tell
from streamem.stream.batch import Batch, Position
from streamem.stream.protocol import Columns, Cuts, Resume, World

if TYPE_CHECKING:
    from streamem.connect.kafka.source import KafkaSource

__all__ = ["KafkaReader"]

LOG = logging.getLogger("streamem")

POLL_SECONDS = 0.05
"""How long one question for messages waits, at most: so often a quiet topic lets the state be put down."""

GROWN_SECONDS = 30.0
"""How often is looked whether a topic has gained partitions."""


class KafkaReader:
    """An open `KafkaSource`."""

    def __init__(
        self, source: "KafkaSource", world: World, cuts: Cuts, columns: Columns, resume: Resume | None
    ) -> None:
        self.source, self.world, self.cuts = source, world, cuts
        self.number = resume.number if resume else 0
        self.key = columns.key if cuts.whole_keys else None
        self.away = False
        wait = POLL_SECONDS if cuts.max_wait_ms is None else min(POLL_SECONDS, cuts.max_wait_ms / 1000)
        self.wait_seconds = wait
        self.to_commit: dict[Partition, int] = {}
        self.coming: Generator[Piece | None] | None = None
        self.consumer = source.cluster.consumer(source.group_id)
        try:
            self.places = self.begin(resume.position if resume else {})
            self.first = {partition: place.offset for partition, place in self.places.items()}
            self.ends = self.consumer.latest(self.places) if source.stop == "latest" else None
            self.consumer.assign(self.first)
            self.looked = world.monotonic()
            self.sample: list[Messages] = []
            schema = resume.schema if resume else None
            self.decoder = self.decode_with(columns, schema)
        except BaseException:
            self.consumer.close()
            raise
        self.schema = with_metadata(self.decoder.schema, source.metadata)

    def partitions(self) -> list[Partition]:
        """Return this worker's share of the partitions."""
        index, count = self.source.workers.index, self.source.workers.count
        share: list[Partition] = []
        for topic in self.source.topics:
            there = self.consumer.partitions(topic)
            check_topic(there, topic)
            share += [(topic, number) for number in there if number % count == index]
        if not share:
            found = f"no partition for worker {index} of {count}"
            do = "lower workers.count, or add partitions to the topics"
            raise ConfigError(tell("source.workers", found=found, wanted="at least one", do=do))
        return share

    def begin(self, position: Position) -> dict[Partition, Place]:
        """Return where reading begins in each partition."""
        share = self.partitions()
        if not position:
            return {partition: Place(offset) for partition, offset in self.start(share).items()}
        known = {Place.partition(name): Place(*place) for name, place in position.items()}
        gone = [partition for partition in known if partition not in share]
        if gone:
            topic, number = gone[0]
            found, wanted = f"no partition {number}", "every partition that was read before"
            do = "restore the topic, or start afresh with --fresh"
            raise ConfigError(tell(f"topic {topic}", found=found, wanted=wanted, do=do))
        earliest, latest = self.consumer.earliest(share), self.consumer.latest(known)
        for (topic, number), place in known.items():
            first, last = earliest[topic, number], latest[topic, number]
            if not first <= place.offset <= last:
                lost = "older ones are deleted" if place.offset < first else "the topic was made anew"
                found = f"offsets {first} to {last}: {lost}"
                do = "begin elsewhere with --from earliest, latest or a time: what was learned is kept"
                raise ConnectError(
                    tell(f"topic {topic}, partition {number}", found=found, wanted=f"offset {place.offset}", do=do)
                )
        return {partition: known.get(partition, Place(earliest[partition])) for partition in share}

    def start(self, share: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the offsets that the source's `start` says."""
        milliseconds = self.source.milliseconds()
        if milliseconds is not None:
            return self.consumer.at(share, milliseconds)
        if self.source.start == "latest":
            return self.consumer.latest(share)
        earliest = self.consumer.earliest(share)
        if self.source.start == "earliest":
            return earliest
        committed = {one: offset for one, offset in self.consumer.committed(share).items() if offset is not None}
        if not committed:
            found, wanted = f"no offsets of the group {self.source.group_id}", "offsets to begin at"
            raise ConfigError(
                tell("source.start", found=found, wanted=wanted, do="write earliest, latest or a time, or correct it")
            )
        return earliest | committed

    def decode_with(self, columns: Columns, schema: pl.Schema | None) -> Any:
        """Return what decodes values; where nothing tells the columns, the first messages are waited for."""
        source = self.source
        place = f"topic {', '.join(source.topics)}"
        if schema is not None:
            schema = pl.Schema({name: kind for name, kind in schema.items() if not name.startswith("kafka.")})
        told = schema is not None or source.format == "csv" or source.avro_schema is not None
        while True:
            while not told and not self.ended() and self.sampled < RECORDS:
                found = self.consumer.poll(self.wait_seconds)
                self.sample += found
                if not found and (self.sample or self.world.stopping.is_set()):
                    break
            values = [value for one in self.sample for value in one.values][:RECORDS]
            try:
                return open_decoder(source, values, columns.numbers, place=place, schema=schema)
            except DataError:
                # messages so far are no records; in a live topic one may come
                if self.ends is not None or self.sampled >= RECORDS or self.world.stopping.is_set():
                    raise

    @property
    def sampled(self) -> int:
        """How many messages were read to tell the columns."""
        return sum(len(one.offsets) for one in self.sample)

    def ended(self) -> bool:
        """Return whether everything was read that was there at the start, where that is all."""
        return self.ends is not None and all(
            self.consumer.position(partition) >= end for partition, end in self.ends.items()
        )

    def __iter__(self) -> Iterator[Batch | None]:
        """Yield batches, and None when there is nothing at the moment."""
        self.coming = ahead(self.pieces())
        yield from Cutter(self.cuts, self.number, self.world, self.key).batches(self.coming)

    def pieces(self) -> Generator[Piece | None]:
        """Yield what each poll gives; in one thread, since a consumer belongs to one."""
        polled, self.sample = self.sample, []
        while not self.world.stopping.is_set():
            if polled:
                yield self.piece(polled)
            elif self.ended():
                return
            else:
                yield None
            self.look()
            to_commit, self.to_commit = self.to_commit, {}
            if to_commit:
                self.consumer.commit(to_commit)
            polled = self.consumer.poll(self.wait_seconds)
            self.listen(polled)

    def listen(self, polled: Sequence[Messages]) -> None:
        """Say once that the brokers are away, and once that they are back: a client waits without a word."""
        trouble = "" if polled else self.consumer.trouble()
        if trouble and not self.away:
            LOG.warning("brokers %s: no answer (%s). Waiting for them.", self.source.cluster, trouble)
        elif self.away and not trouble:
            LOG.warning("brokers %s: they answer. Reading goes on.", self.source.cluster)
        self.away = bool(trouble)

    def piece(self, polled: Sequence[Messages]) -> Piece:
        """Return messages as records, and remember how far reading is."""
        runs = [run.before(self.ends[run.partition]) if self.ends else run for run in polled]
        # not the last offset and 1: the markers of transactions take offsets too
        after = {run.partition: self.consumer.position(run.partition) for run in polled}
        if self.ends is not None:
            after = {partition: min(offset, self.ends[partition]) for partition, offset in after.items()}
        piece, self.places = piece_of(runs, self.decoder, self.source.metadata, self.places, after)
        return piece

    def look(self) -> None:
        """Begin to read partitions that the topics have gained, from their beginning."""
        if self.ends is not None or self.away or self.world.monotonic() - self.looked < GROWN_SECONDS:
            return
        self.looked = self.world.monotonic()
        grown = [partition for partition in self.partitions() if partition not in self.places]
        if grown:
            self.places = self.places | {one: Place(offset) for one, offset in self.consumer.earliest(grown).items()}
            self.consumer.assign({partition: place.offset for partition, place in self.places.items()})

    @property
    def done(self) -> float | None:
        """The share of the messages read so far; None where they have no end."""
        if self.ends is None:
            return None
        total = sum(end - self.first[partition] for partition, end in self.ends.items())
        read = sum(place.offset - self.first[partition] for partition, place in self.places.items())
        return min(1.0, read / total) if total > 0 else 1.0

    def commit(self, position: Position) -> None:
        """Commit offsets: in the pipeline's transaction where that is on the same brokers, else with the next poll."""
        offsets = {Place.partition(name): place[0] for name, place in position.items()}
        transaction = self.world.transaction
        if isinstance(transaction, KafkaTransaction) and transaction.cluster.servers == self.source.cluster.servers:
            transaction.offsets(self.source.group_id, offsets)
        else:
            self.to_commit = offsets

    def close(self) -> None:
        """Commit what is to be committed, and give the consumer back."""
        if self.coming is not None:
            self.coming.close()
        try:
            if self.to_commit:
                self.consumer.commit(self.to_commit)
        except ConnectError:
            pass  # only tools look at it: the checkpoint says where reading goes on
        finally:
            self.consumer.close()
