"""The one driver of online EM, for every model.

References
----------
Amid and Warmuth (2020): Θ' = argmin U(Θ' | batch) + D_RE(Θ, Θ') / η, which is one M-step on blended statistics.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from streamem.em.carry import Carry
from streamem.em.certificate import Certificate, certify
from streamem.em.combine import blend_parameters
from streamem.em.declaration import Declaration, check_instance, limited
from streamem.em.model import Carried, Expectation, Model, check_rows
from streamem.em.observations import Observations
from streamem.em.posterior import Posterior
from streamem.em.schedule import SCHEDULES, GrowingWindow, Moment, Schedule, averaging_step, first_window
from streamem.em.snapshot import MODELS, Snapshot, nested
from streamem.errors import ConfigError, ModelError, SnapshotError, tell

__all__ = ["INERTIAS", "ExactInertia", "OnlineEM", "SampledInertia"]


@dataclass(frozen=True, kw_only=True)
class ExactInertia(Declaration):
    """The old model's moments in closed form. The default.

    Examples
    --------
    >>> from streamem.em import Mixture, OnlineEM
    >>> OnlineEM(Mixture(components=2)).inertia == ExactInertia()
    True
    """

    type: Literal["exact"] = "exact"


@dataclass(frozen=True, kw_only=True)
class SampledInertia(Declaration):
    """The old model's moments estimated from rows drawn from it, for models without a closed form.

    Parameters
    ----------
    samples : int
        Rows drawn at every update.

    Examples
    --------
    >>> from streamem.em import Mixture, Observations, OnlineEM
    >>> learner = OnlineEM(Mixture(components=1), warmup_records=4, inertia=SampledInertia(samples=500))
    >>> for rows in ([[0.0], [1.0], [2.0], [3.0]], [[1.0], [2.0]]):
    ...     _ = learner.update(Observations(rows))
    >>> learner.snapshot.records_seen
    6
    """

    type: Literal["sampled"] = "sampled"
    samples: int = limited(2000, ge=1)


INERTIAS = {"exact": ExactInertia, "sampled": SampledInertia}


@dataclass
class OnlineEM(Declaration):
    """A model that learns from one micro-batch after the other.

    The first `warmup_records` rows are held until a start can be made from them; each later batch is one step of
    online EM. An update computes everything, then assigns once: an exception leaves the learner as it was.

    Parameters
    ----------
    model : Model
    schedule : Schedule
        Step sizes.
    warmup_records : int, optional
        Rows to start from, by default `default_warmup`. Not used with `start`.
    seed : int
        Of every random draw.
    inertia : ExactInertia or SampledInertia
    start : Snapshot, optional
        Go on from here, without a warm-up.
    certified : bool
        Check every update against what the method promises, at the cost of a second E-step; see `certificate`.

    Raises
    ------
    ConfigError
        A model, schedule, inertia or start that is none, a start of another model, a number beyond its limits; or
        `certified`, but the promise does not hold for sampled inertia, with a prior or a gate.

    Attributes
    ----------
    snapshot : Snapshot or None
        What was learned. None until the warm-up is complete: until then `holding` is true and there is nothing to show
        or combine; give more rows, set fewer `warmup_records`, or begin from a `start`.
    weight_before, updates_before : float, int
        What the schedule and the average no longer count since the last `restart`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> from streamem.em import Mixture, Observations
    >>> learner = OnlineEM(Mixture(components=2), warmup_records=100)
    >>> for _ in range(20):
    ...     rows = rng.normal(loc=rng.choice([-4.0, 4.0], size=(50, 1)))
    ...     posteriors = learner.update(Observations(rows))
    >>> sorted(learner.snapshot.averaged.components.mean[:, 0].round().tolist())
    [-4.0, 4.0]
    """

    model: Model
    schedule: Schedule = field(default_factory=GrowingWindow)
    warmup_records: int | None = limited(None, ge=1)
    seed: int = limited(0, ge=0, lt=2**63)
    inertia: ExactInertia | SampledInertia = field(default_factory=ExactInertia)
    start: Snapshot | None = None
    certified: bool = False
    snapshot: Snapshot | None = field(init=False)
    carry: Carry = field(init=False, default_factory=Carry)
    held: list[Observations] = field(init=False, default_factory=list)
    weight_before: float = field(init=False, default=0.0)
    updates_before: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_instance("OnlineEM: model", self.model, MODELS, "start")
        check_instance("OnlineEM: schedule", self.schedule, SCHEDULES, "step")
        check_instance("OnlineEM: inertia", self.inertia, INERTIAS, "type")
        if self.start is not None:
            check_start(self.start, self.model)
        self.snapshot = self.start
        for broken, found, wanted in (
            (not isinstance(self.inertia, ExactInertia), "sampled inertia", "exact inertia"),
            (self.model.prior_records != 0.0, "a prior", "prior_records: 0"),
            (self.model.gated, "a gate, which takes values out", "no gate_sigma"),
        ):
            if self.certified and broken:
                raise ConfigError(tell("certificate", found=found, wanted=wanted, do="leave one of them out"))

    @property
    def holding(self) -> bool:
        """Whether rows are held for the warm-up."""
        return bool(self.held)

    def update(self, observations: Observations) -> list[Posterior]:
        """Learn from a batch, and return the posteriors of the batches that can now be told.

        None while the warm-up gathers rows; those of every held batch, in order, once the start is made; then always
        exactly one. Posteriors are made with the parameters before the batch's update.

        Raises
        ------
        DataError
            Rows of other columns, or a value that the model cannot give rise to. The learner is as it was.
        ModelError
            The start or the update degenerates. The learner is as it was.
        """
        self.check(observations)
        if self.snapshot is None:
            return self.warm_up(observations)
        sequence = observations.segments().sequence
        carried = self.carry.take(sequence)
        snapshot, found = self.step(self.snapshot, observations, carried)
        self.carry.put(sequence, found.carried)
        self.snapshot = snapshot
        return [found.posterior]

    def posterior(self, observations: Observations) -> Posterior:
        """Return what the current parameters say of rows; neither they nor the sequences go on.

        Raises
        ------
        DataError
            Rows of other columns, or a value that the model cannot give rise to.
        ModelError
            There are no parameters yet.
        """
        begun = self.begun()
        self.check(observations)
        carried = self.carry.take(observations.segments().sequence)
        return self.model.posterior(begun.parameters, observations, carried)[0]

    def follow(self, observations: Observations) -> Posterior:
        """Return the same and go on along the sequences, but learn nothing.

        Raises
        ------
        DataError
            Rows of other columns, or a value that the model cannot give rise to.
        ModelError
            There are no parameters yet.
        """
        begun = self.begun()
        self.check(observations)
        return self.carry.follow(self.model, begun.parameters, observations)

    def restart(self) -> None:
        """Let the schedule and the average begin again, as the stream has become another one.

        From here on they count the records of before as `first_window` of them, those that a first estimate needs: a
        growing window is as short as at the beginning, and grows again. Nothing else changes. Before the start was
        made there is nothing to do.
        """
        if self.snapshot is not None:
            counted = min(self.first_window(self.snapshot.columns), self.snapshot.weight_seen)
            self.weight_before = self.snapshot.weight_seen - counted
            self.updates_before = self.snapshot.update

    def first_window(self, columns: int) -> float:
        """Return the window that the model starts with over so many columns."""
        return first_window(self.model.free_parameters(columns), self.model.components, columns)

    def check(self, observations: Observations) -> None:
        """Refuse rows that cannot be those of the model, with a DataError; see `model.check_rows`."""
        columns = self.held[0].values.shape[1] if self.held else None
        check_rows(self.model, observations, columns if self.snapshot is None else self.snapshot.columns)
        if self.model.carries:
            self.carry.check(observations)

    def begun(self) -> Snapshot:
        """Return what was learned. Raises ModelError where there is nothing yet."""
        if self.snapshot is None:
            do = "learn from more records first, or give a start"
            raise ModelError(tell("posterior", found="no parameters yet", wanted="a start", do=do))
        return self.snapshot

    def finish(self) -> None:
        """Say that no more rows come.

        Raises
        ------
        ModelError
            Rows are still held: there were fewer than the warm-up needs. It says whether a start can be made of these.
        """
        if not self.held:
            return
        rows = self.joined(self.held)
        found, wanted = f"{len(rows)} records", f"warmup_records: {self.warmup(rows.values.shape[1])} to start from"
        try:  # what is advised must work, and no count of rows alone says so
            self.model.start(rows, self.rng(0))
        except ModelError as error:
            few = tell("the warm-up", found=found, wanted=wanted, do="give more records")
            raise ModelError(f"{few} With warmup_records: {len(rows)} the error is: {error}") from error
        do = f"set warmup_records to {len(rows)}, or give more records"
        raise ModelError(tell("the warm-up", found=found, wanted=wanted, do=do))

    def joined(self, held: list[Observations]) -> Observations:
        """Return the held batches as one; sequences that end with their batch stay apart."""
        return Observations.concatenate(apart(held) if self.model.sequential and not self.model.carries else held)

    def warmup(self, columns: int) -> int:
        """Return how many rows the start is made from."""
        return default_warmup(self.model, columns) if self.warmup_records is None else self.warmup_records

    def warm_up(self, observations: Observations) -> list[Posterior]:
        """Hold a batch, or make the start when the warm-up is complete."""
        held = [*self.held, observations]
        missing = self.warmup(observations.values.shape[1]) - sum(len(batch) for batch in held)
        if missing > 0:
            self.held = held
            return []
        whole = self.model.sequential and not self.model.carries  # such sequences must not be cut
        rest = observations[len(observations) if whole else len(observations) + missing :]
        held[-1] = observations[: len(observations) - len(rest)]
        rows = self.joined(held)
        parameters = self.model.start(rows, self.rng(0))
        carry = Carry()
        told = [carry.follow(self.model, parameters, batch).of_warmup() for batch in held]
        likelihood = rows.mean(np.concatenate([posterior.log_likelihood for posterior in told]))
        snapshot = Snapshot(self.model, parameters, parameters, len(rows), rows.span().weight, 0, 0.0, likelihood)
        if len(rest):
            sequence = rest.segments().sequence
            snapshot, found = self.step(snapshot, rest, carry.take(sequence))
            carry.put(sequence, found.carried)
            told[-1] = Posterior.concatenate([told[-1], found.posterior])
        self.snapshot, self.carry, self.held = snapshot, carry, []
        return told

    def step(self, old: Snapshot, observations: Observations, carried: Carried | None) -> tuple[Snapshot, Expectation]:
        """Return the snapshot after one online-EM step, and the expectation before it."""
        expectation = self.model.expect(old.parameters, observations, carried)
        span = self.model.span(observations, carried)
        seen = span.weight
        if seen == 0.0:
            return old, expectation
        update = old.update + 1
        before = old.weight_seen - self.weight_before
        window = self.first_window(observations.values.shape[1])
        gamma = self.schedule.step(Moment(before, seen, update - self.updates_before, window))
        statistics, prior = expectation.statistics, self.model.prior(old.parameters)
        if prior is not None:
            # a prior is data that joins the batch: its share of the window is then the same for every batch size
            statistics = statistics + prior.scale(gamma)
            span = span.and_rows(gamma * self.model.prior_records)
        moments = self.moments(old.parameters, span, update)
        parameters = self.model.maximize(moments.blend(statistics, gamma), old.parameters)
        weight = averaging_step(before, seen, self.schedule.half_life_records, self.model.averaging_power)
        averaged = blend_parameters(self.model, old.averaged, parameters, weight)
        certificate = old.certificate
        if self.certified:
            seen_so_far = certificate or Certificate()
            likelihood = expectation.log_likelihood
            certificate = certify(
                self.model, old.parameters, parameters, gamma, observations, carried, likelihood, seen_so_far
            )
        snapshot = Snapshot(
            self.model,
            parameters,
            averaged,
            old.records_seen + len(observations),
            old.weight_seen + seen,
            update,
            gamma,
            observations.mean(expectation.log_likelihood),
            certificate,
        )
        return snapshot, expectation

    def moments(self, parameters: Any, span: Any, update: int) -> Any:
        """Return the inertia: the statistics that the old model expects of `span`, exact or sampled."""
        if isinstance(self.inertia, ExactInertia):
            return self.model.moments(parameters, span)
        return self.model.sampled(parameters, span, self.inertia.samples, self.rng(update))

    def rng(self, update: int) -> np.random.Generator:
        """Return the random numbers of one update: they depend on nothing but the seed and its number."""
        return np.random.Generator(np.random.Philox(key=np.array([self.seed, update], np.uint64)))


def check_start(start: Snapshot, model: Model) -> None:
    """Refuse a start that is no snapshot, or one whose parameters are not those of the model, with a ConfigError."""
    do = "give a snapshot of this model: learner.snapshot, or Snapshot.from_json"
    if not isinstance(start, Snapshot):
        raise ConfigError(tell("OnlineEM: start", found=f"a {type(start).__name__}", wanted="a Snapshot", do=do))
    try:
        for parameters in (start.parameters, start.averaged):
            model.assemble(nested(parameters, np.asarray))
    except SnapshotError as error:
        raise ConfigError(f"OnlineEM: start: {error}") from error


def apart(batches: list[Observations]) -> list[Observations]:
    """Return batches of complete sequences so that no two batches have a sequence in common."""
    out, first = [], 0
    for batch in batches:
        sequence = np.zeros(len(batch), np.intp) if batch.sequence is None else batch.sequence
        out.append(replace(batch, sequence=sequence + first))
        first += int(sequence.max(initial=0)) + 1
    return out


def default_warmup(model: Model, columns: int) -> int:
    """Return the rows to start from where nobody says: six for each learned number, between 1,000 and 4,000.

    Wide data needs ten for each mean's number, even where that is more; states that last need twice as many rows, or
    some are never seen.
    """
    learned = model.free_parameters(columns)
    records = max(1000, min(4000, 6 * learned), min(2 * learned, 10 * model.components * (columns + 1)))
    return 2 * records if model.sequential and model.components > 1 else records
