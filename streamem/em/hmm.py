"""Hidden Markov models: regimes that follow one another.

Forward and backward passes run over all sequences of a batch in one compiled call. What a record is told with is
filtered: it uses the records up to this one and none after it. What is learned from is smoothed over the segment.

References
----------
Amid and Warmuth (2020), section 3.2; Rabiner (1989).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from streamem.em.chain import (
    RESTART,
    ChainParameters,
    ChainSpan,
    ChainStatistics,
    Usage,
    absorbed,
    chain_from,
    divergences,
    repeated,
    stationary,
    still_alive,
    walked,
)
from streamem.em.chain_start import candidates
from streamem.em.declaration import Declaration, check_instance, limited
from streamem.em.families import FAMILIES, Family, Gaussian
from streamem.em.mask import check_mask, possible
from streamem.em.mixture import Mixture
from streamem.em.model import Carried, Expectation
from streamem.em.observations import Array, Flags, Labels, Observations, Segments, Span
from streamem.em.passes import Passes, forward
from streamem.em.posterior import Kind, Posterior
from streamem.em.start import check_support, likeliest

__all__ = ["HMM"]

TINY = np.finfo(float).tiny


@dataclass(frozen=True, kw_only=True)
class HMM(Declaration):
    """Every record comes from a hidden state, and the states follow one another: regimes with memory.

    Parameters
    ----------
    states : int
        How many, at least 1.
    family : Family
        What each state gives rise to.
    sequences : str
        ``endless``: sequences go on from batch to batch, each key's filtered state is carried. ``complete``: what a
        batch holds of a sequence is all of it. ``absorbing``: so too, and each ends because the chain does.
    transitions : str
        ``full``: from every state to every other. ``left_to_right``: to the same state or a later one.
    mask : list of list of int
        Which transitions are possible, one row a state: 0 never, 1 perhaps. Empty: all that `transitions` allows.
    prior_records : float
        Pseudo-rows, spread over the states, that join the data at every update. 0 is maximum likelihood.
    smoothed : bool
        Tell two columns more: ``smoothed``, the probabilities of the states given all records of the micro-batch, and
        ``path``, the likeliest sequence of states over it. They know later records, up to the end of the micro-batch.

    Raises
    ------
    ConfigError
        The mask has a wrong shape or a state that nothing follows, or another setting is beyond its limits.

    Examples
    --------
    >>> HMM(states=2).free_parameters(columns=1)
    7
    """

    type: Literal["hmm"] = "hmm"
    states: int = limited(2, ge=1)
    family: Family = field(default_factory=Gaussian)
    sequences: Literal["endless", "complete", "absorbing"] = "endless"
    transitions: Literal["full", "left_to_right"] = "full"
    mask: tuple[tuple[int, ...], ...] = ()
    prior_records: float = limited(0.0, ge=0)
    smoothed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_instance("hmm: family", self.family, FAMILIES, "log_density")
        check_mask(self.mask, self.states, ordered=self.ordered, absorbing=self.sequences == "absorbing")

    @property
    def ordered(self) -> bool:
        """Whether states are numbered by when they come."""
        return self.transitions == "left_to_right"

    @property
    def allowed(self) -> Flags:
        """Which transitions are possible, shape (K, K)."""
        return possible(self.mask, self.states, ordered=self.ordered)

    @property
    def components(self) -> int:
        """The states."""
        return self.states

    @property
    def tells(self) -> Mapping[str, Kind]:
        """The columns of its posteriors."""
        told: dict[str, Kind] = {"state": "label", "probabilities": "vector"}
        if self.smoothed:
            told |= {"smoothed": "vector", "path": "index"}
        return told

    @property
    def carries(self) -> bool:
        """Whether sequences go on from batch to batch."""
        return self.sequences == "endless"

    sequential = True
    averaging_power = 3.0
    gated = False
    timed = False
    combinable = ""

    def wrong(self, values: Array) -> Flags:
        """Return which values no state can have given rise to, shape (N, D)."""
        return self.family.wrong(values)

    @property
    def support(self) -> str:
        """What a value must be, in words."""
        return self.family.support

    @property
    def exposed(self) -> bool:
        """Whether rows may have an exposure."""
        return self.family.exposed

    def free_parameters(self, columns: int) -> int:
        """Return how many numbers are learned from rows of so many columns."""
        chain_alone = self.states - 1 + int(self.allowed.sum()) - (0 if self.sequences == "absorbing" else self.states)
        return chain_alone + self.family.free_parameters(self.states, columns)

    def start(self, observations: Observations, rng: np.random.Generator) -> ChainParameters:
        """Return parameters fitted to warm-up rows: mixtures, their transitions, then batch EM of the likeliest.

        States are numbered by their shares, largest first; those of a chain from left to right by their order.

        Raises
        ------
        ModelError
            Fewer rows than the states need, or fewer different ones, a constant column, or a likelihood that is not
            finite.
        """
        mixture = Mixture(components=self.states, family=self.family, prior_records=self.prior_records)
        broad = self.family.broad(observations, self.states)
        check_support(self, self.family, observations)
        begun = candidates(
            mixture, observations, rng, broad=broad, allowed=self.allowed, ordered=self.ordered,
            absorbing=self.sequences == "absorbing",
        )  # fmt: skip
        best = self.opened(likeliest(self, begun, observations), observations)
        if not self.allowed.all():
            return best
        return self.relabel(best, np.argsort(-self.usage(best, self.unit(1.0)).visits, kind="stable"))

    def opened(self, parameters: ChainParameters, observations: Observations) -> ChainParameters:
        """Return the states with the chain that the rows and a pseudo-row show: EM never again leaves a 0."""
        found: ChainStatistics = self.expect(parameters, observations).statistics
        found = found + self.pseudo_rows(parameters, max(1.0, self.prior_records))
        return replace(self.maximize(found, parameters), states=parameters.states)

    def expect(
        self, parameters: ChainParameters, observations: Observations, carried: Carried | None = None
    ) -> Expectation:
        """Return the expected statistics, filtered posteriors and carry of a batch under `parameters`.

        Raises
        ------
        ModelError
            A log-likelihood is not finite, or the rows of a sequence have different weights.
        """
        segments = observations.segments()
        rows = segments.sorted(observations)
        weight = segments.weights(observations)
        passed = self.passed(parameters, rows, segments, carried)
        gamma, first, pairs, ends = passed.backward(weight)
        share = gamma if rows.weight is None else gamma * rows.weight
        leaving = ends if self.sequences == "absorbing" else np.zeros(self.states)
        states = self.family.expect(parameters.states, rows, share)
        seen = share.sum(axis=1) if self.sequences == "complete" else np.zeros(0)
        statistics = ChainStatistics(first, pairs, leaving, states, seen)
        return Expectation(statistics, self.told(segments, passed, gamma), self.left(passed))

    def posterior(
        self, parameters: ChainParameters, observations: Observations, carried: Carried | None = None
    ) -> tuple[Posterior, Carried | None]:
        """Return the filtered posteriors and the carry of a batch: the E-step without statistics."""
        segments = observations.segments()
        passed = self.passed(parameters, segments.sorted(observations), segments, carried)
        gamma = passed.backward()[0] if self.smoothed else None
        return self.told(segments, passed, gamma), self.left(passed)

    def smooth(self, parameters: ChainParameters, observations: Observations, carried: Carried | None = None) -> Array:
        """Return the probabilities of the states given all rows of each segment, shape (N, K)."""
        segments = observations.segments()
        passed = self.passed(parameters, segments.sorted(observations), segments, carried)
        return np.asarray(segments.restored(np.ascontiguousarray(passed.backward()[0].T)))

    def decode(
        self, parameters: ChainParameters, observations: Observations, carried: Carried | None = None
    ) -> tuple[Labels, Array]:
        """Return the likeliest path of every segment (Viterbi).

        Returns
        -------
        path : ndarray of int, shape (N,)
            The state of each row, as the rows came.
        log_probability : ndarray, shape (S,)
            Of path and rows of each segment of ``observations.segments()``.
        """
        segments = observations.segments()
        path, log_probability = self.passed(parameters, segments.sorted(observations), segments, carried).likeliest()
        return np.asarray(segments.restored(path)), log_probability

    def passed(
        self, parameters: ChainParameters, rows: Observations, segments: Segments, carried: Carried | None
    ) -> Passes:
        """Return what the forward pass finds of rows in the order of their segments."""
        log_density = self.family.log_density(parameters.states, rows)
        ending = parameters.leaving if self.sequences == "absorbing" else np.ones(self.states)
        return forward(parameters, ending, log_density, segments, carried if self.carries else None)

    def left(self, passed: Passes) -> Carried | None:
        """Return what the segments leave to the next batch."""
        return passed.left() if self.carries else None

    def told(self, segments: Segments, passed: Passes, gamma: Array | None) -> Posterior:
        """Return the posteriors of the rows as they came."""
        columns = {"probabilities": segments.restored(passed.alpha)}
        if gamma is not None and self.smoothed:
            columns["smoothed"] = segments.restored(np.ascontiguousarray(gamma.T))
            columns["path"] = segments.restored(passed.likeliest()[0])
        return Posterior(segments.restored(passed.log_likelihood), columns)

    def span(self, observations: Observations, carried: Carried | None = None) -> ChainSpan:
        """Return how much data rows are: their weight, the sequences that begin, and the lengths of complete ones."""
        segments = observations.segments()
        each = segments.weights(observations)
        of_rows = self.family.span(observations)
        if self.carries:
            known = 0.0 if carried is None else carried["known"]
            return ChainSpan(of_rows.weight, float((each * (1.0 - known)).sum()), of_rows.exposure)
        alive = still_alive(np.diff(segments.bounds), each)
        return ChainSpan(of_rows.weight, float(each.sum()), of_rows.exposure, alive)

    def unit(self, weight: float) -> ChainSpan:
        """Return the span over which models are combined: one row of chains that do not end, or one until its end."""
        return ChainSpan(weight, weight if self.sequences == "absorbing" else RESTART * weight)

    def shares(self, parameters: ChainParameters) -> Array:
        """Return the share of rows in each state where no lengths are known, shape (K,)."""
        known = self.sequences == "complete" and parameters.share.size > 0
        return parameters.share if known else stationary(parameters)

    def usage(self, parameters: ChainParameters, span: ChainSpan) -> Usage:
        """Return how often the chain is where in `span`; without lengths, complete sequences are as in learning."""
        initial = span.begun * parameters.initial
        if self.sequences == "absorbing":
            visits = span.begun * absorbed(parameters)
            return Usage(initial, visits, visits)
        shares = self.shares(parameters)
        if span.alive is None:
            return Usage(initial, span.weight * shares, (span.weight - span.begun) * shares)
        visits, departures = repeated(parameters, span.alive)
        # pseudo-rows are no sequences: they go where all rows are
        pseudo = span.weight - span.alive.sum()
        return Usage(initial, visits + pseudo * shares, departures + pseudo * shares)

    def moments(self, parameters: ChainParameters, span: ChainSpan) -> ChainStatistics:
        """Return the statistics that the model itself expects of `span`: the inertia of an update."""
        usage = self.usage(parameters, span)
        return ChainStatistics(
            usage.initial,
            usage.departures[:, None] * parameters.transition,
            usage.departures * parameters.leaving,
            self.family.moments(parameters.states, usage.visits, Span(float(usage.visits.sum()), span.exposure)),
            self.remembered(parameters, span),
        )

    def remembered(self, parameters: ChainParameters, span: ChainSpan) -> Array:
        """Return the rows of `span` by the shares of complete sequences so far, shape (K,); else of length 0."""
        return span.weight * self.shares(parameters) if self.sequences == "complete" else np.zeros(0)

    def prior(self, parameters: ChainParameters) -> ChainStatistics | None:
        """Return the pseudo-rows of the prior, or None where there is none."""
        return None if self.prior_records == 0.0 else self.pseudo_rows(parameters, self.prior_records)

    def pseudo_rows(self, parameters: ChainParameters, count: float) -> ChainStatistics:
        """Return the statistics of so many rows, spread over the states and over all that may follow them."""
        each = count / self.states
        leaving = np.full(self.states, 1.0 if self.sequences == "absorbing" else 0.0)
        out = each / (self.allowed.sum(axis=1) + leaving)
        return ChainStatistics(
            np.full(self.states, each),
            self.allowed * out[:, None],
            leaving * out,
            self.family.prior(parameters.states, each),
            np.zeros(self.states if self.sequences == "complete" else 0),
        )

    def maximize(self, statistics: ChainStatistics, previous: ChainParameters) -> ChainParameters:
        """Return the parameters under which the statistics are most likely; what nothing is known of stays."""
        begun = statistics.initial.sum()
        initial = statistics.initial / begun if begun > TINY else previous.initial
        out = statistics.transition.sum(axis=1) + statistics.leaving
        used = out > TINY
        inverse = 1.0 / np.where(used, out, 1.0)
        transition = np.where(used[:, None], statistics.transition * inverse[:, None], previous.transition)
        leaving = np.where(used, statistics.leaving * inverse, previous.leaving)
        states, share = self.family.maximize(statistics.states, previous.states), previous.share
        if (rows := statistics.share.sum()) > TINY:
            share = statistics.share / rows
        return ChainParameters(initial, transition, leaving, states, share)

    def at_floor(self, parameters: ChainParameters) -> Flags:
        """Return which states a floor holds up, shape (K,)."""
        return self.family.at_floor(parameters.states)

    def relative_entropy(self, old: ChainParameters, new: ChainParameters, span: ChainSpan) -> float:
        """Return D_RE(old, new) over `span`, in nats a row."""
        usage = self.usage(old, span)
        after = divergences(old.transition, new.transition).sum(axis=1) + divergences(old.leaving, new.leaving)
        between = np.diagonal(self.family.relative_entropy(old.states, new.states, span.exposure))
        total = (
            span.begun * divergences(old.initial, new.initial).sum() + usage.departures @ after + usage.visits @ between
        )
        return float(total) / span.weight

    def relabel(self, parameters: ChainParameters, order: Labels) -> ChainParameters:
        """Return the same model with state ``order[k]`` as number k."""
        return parameters.take(order)

    def mismatch(self, parameters: ChainParameters, reference: ChainParameters) -> Array:
        """Return what it costs to call state k of one model state l of the other, by what they give rise to.

        Where not every transition is possible a state is told by its place, so only the same numbers fit.
        """
        if not self.allowed.all():
            return np.asarray(np.where(np.eye(self.states), 0.0, np.inf))
        mine, theirs = (self.usage(one, self.unit(1.0)).visits for one in (parameters, reference))
        theirs = np.maximum(theirs / theirs.sum(), TINY)
        cross = self.family.relative_entropy(parameters.states, reference.states)
        return np.asarray((mine / mine.sum())[:, None] * (cross - np.log(theirs)))

    def sampled(
        self, parameters: ChainParameters, span: ChainSpan, samples: int, rng: np.random.Generator
    ) -> ChainStatistics:
        """Return the moments estimated from drawn rows, about `samples` of them: unbiased.

        Chains that go on are drawn as pairs of rows from anywhere in them, complete ones with lengths of the batch's.
        """
        if self.sequences == "endless" or span.alive is None:
            return self.sampled_pairs(parameters, span, samples, rng)
        usage = self.usage(parameters, span)
        count = max(1, round(samples * span.begun / max(usage.visits.sum(), 1.0)))
        lengths = None
        if self.sequences == "complete":
            ending = span.alive - np.append(span.alive[1:], 0.0)
            lengths = rng.choice(len(ending), size=count, p=ending / ending.sum()) + 1
        drawn, _ = self.sample(parameters, count, rng, lengths, span.exposure)
        statistics: ChainStatistics = self.expect(parameters, drawn).statistics
        return replace(statistics.scale(span.begun / count), share=self.remembered(parameters, span))

    def sampled_pairs(
        self, parameters: ChainParameters, span: ChainSpan, samples: int, rng: np.random.Generator
    ) -> ChainStatistics:
        """Return the moments of a chain that goes on, estimated from pairs of consecutive rows."""
        usage = self.usage(parameters, span)
        anywhere = replace(parameters, initial=usage.visits / usage.visits.sum())
        pairs, _ = self.sample(anywhere, samples, rng, np.full(samples, 2), span.exposure)
        segments = pairs.segments()
        gamma, _, transition, _ = self.passed(anywhere, pairs, segments, None).backward()
        gamma[:, 1::2] = 0.0  # the second of a pair is not quite where the chain is in the long run
        states = self.family.expect(parameters.states, pairs, gamma).scale(usage.visits.sum() / samples)
        transition *= usage.departures.sum() / samples
        share = self.remembered(parameters, span)
        return ChainStatistics(usage.initial, transition, np.zeros(self.states), states, share)

    def sample(
        self,
        parameters: ChainParameters,
        sequences: int,
        rng: np.random.Generator,
        lengths: Labels | None = None,
        exposure: float = 1.0,
    ) -> tuple[Observations, Labels]:
        """Return sequences drawn from the model, and the state of each row.

        Parameters
        ----------
        parameters : ChainParameters
        sequences : int
        rng : numpy.random.Generator
        lengths : ndarray of int, shape (sequences,), optional
            Rows of each; left out for chains that absorb.
        exposure : float
            Of every row.
        """
        sequence, states = walked(parameters, sequences, rng, lengths)
        values = self.family.sample(parameters.states, states, rng, exposure)
        exposures = None if exposure == 1.0 else np.full(len(values), exposure)
        return Observations(values, None, exposures, sequence), states

    def assemble(self, arrays: Mapping[str, Any]) -> ChainParameters:
        """Return the parameters that nested `arrays` hold under the names of `ChainParameters`.

        Raises
        ------
        SnapshotError
            They are not parameters of this model.
        """
        states = self.family.assemble(arrays.get("states", {}))
        return chain_from(arrays, states, self.allowed, absorbing=self.sequences == "absorbing")

    def summary(self, parameters: ChainParameters) -> list[dict[str, Any]]:
        """Return share, stay, mean and standard deviation of each state.

        The share is of all rows: in the long run of an endless chain, until the end of one that absorbs, and in the
        batches learned from where sequences are complete.
        """
        visits = self.usage(parameters, self.unit(1.0)).visits
        mean, spread = self.family.mean(parameters.states), self.family.spread(parameters.states)
        stays = np.diagonal(parameters.transition)
        return [
            {
                "state": k,
                "share": float(visits[k] / visits.sum()),
                "stays": float(stays[k]),
                "mean": mean[k].tolist(),
                "sd": spread[k].tolist(),
            }
            for k in range(self.states)
        ]
