"""Linear dynamical systems: state spaces whose matrices are given or learned.

References
----------
Amid and Warmuth (2020), section 3.3. Its printed sums for A begin and end a step too late.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from streamem.em.chain import still_alive
from streamem.em.declaration import limited
from streamem.em.given import NAMES, SURE, Matrix, Part, check_given, check_support, misfit
from streamem.em.linear import (
    LDSParameters,
    LDSStatistics,
    lds_from,
    long_run,
    regressed,
    second_moments,
    started,
)
from streamem.em.model import Carried, Expectation
from streamem.em.observations import Array, Flags, Labels, Observations, Segments
from streamem.em.one_state import OneState
from streamem.em.posterior import Kind, Posterior
from streamem.em.start import batch_em
from streamem.em.state_space import (
    Forward,
    Space,
    StateSpan,
    carried_moment,
    check_finite_part,
    divergence,
    drawn_from,
    floored,
    floors,
    forward,
    gates,
    refused,
    tells,
    told,
)
from streamem.errors import ConfigError, tell

__all__ = ["LDS"]


@dataclass(frozen=True, kw_only=True)
class LDS(OneState):
    """A hidden state that moves linearly, with Gaussian noise, and is observed so; its matrices are given or learned.

    Parameters
    ----------
    state_size : int
        Coordinates of the state, n; 0 where a given matrix says it.
    transition, observation : list of list of float
        A (n, n) and C (m, n). Whatever is left empty is started from the warm-up.
    transition_covariance, observation_covariance : list of list of float
        Q (n, n) and R (m, m).
    initial_mean, initial_covariance : list of float, list of list of float
        m1 (n,) and V1 (n, n).
    learn : list of str
        Which of A, C, Q, R, m1 and V1 are learned; those not given, if left empty.
    diagonal : list of str
        Which of Q and R are held diagonal.
    initial : str
        What m1 and V1 are of: ``first``, the state of the first row, or ``before_first``, the one before it.
    sequences : str
        ``endless``: sequences go on from batch to batch, each key's filtered state is carried. ``complete``: what a
        batch holds of a sequence is all of it.
    horizon_steps : int
        Forecast each record's sequence so many steps ahead; 0 for no forecast.
    gate_sigma : float or None
        A row further from its prediction is an outlier: it is flagged and not used. As likely as so many standard
        deviations of one normal number. The first row of a sequence never is.

    Raises
    ------
    ConfigError
        The size of the state is not known, shapes do not fit, or a covariance is none: asymmetric, indefinite, or
        singular where what is learned needs its inverse.

    Examples
    --------
    >>> LDS(state_size=2).free_parameters(columns=3)
    24
    """

    type: Literal["lds"] = "lds"
    state_size: int = limited(0, ge=0)
    transition: Matrix = ()
    observation: Matrix = ()
    transition_covariance: Matrix = ()
    observation_covariance: Matrix = ()
    initial_mean: tuple[float, ...] = ()
    initial_covariance: Matrix = ()
    learn: tuple[Part, ...] = ()
    diagonal: tuple[Literal["Q", "R"], ...] = ()
    initial: Literal["first", "before_first"] = "first"
    sequences: Literal["endless", "complete"] = "endless"
    horizon_steps: int = limited(0, ge=0)
    gate_sigma: float | None = limited(None, gt=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.states < 1:
            do = "set state_size, or give a matrix"
            raise ConfigError(tell("lds: state_size", found="0", wanted="at least 1", do=do))
        check_given(self.given, self.states, learned=self.learned, diagonal=self.diagonal)

    @property
    def given(self) -> dict[Part, Any]:
        """The matrix of each part, empty where it is not given."""
        return {part: getattr(self, name) for part, name in NAMES.items()}

    @property
    def states(self) -> int:
        """The coordinates of the state, n."""
        columns = len(self.observation[0]) if self.observation else 0
        return self.state_size or len(self.transition) or columns or max(len(self.transition_covariance),
            len(self.initial_mean), len(self.initial_covariance))  # fmt: skip

    @property
    def learned(self) -> frozenset[Part]:
        """Which parts are learned."""
        return frozenset(self.learn or [part for part, matrix in self.given.items() if not matrix])

    @property
    def combinable(self) -> str:
        """Why models trained apart cannot be combined; empty if they can."""
        free = sorted({"A", "C"} & self.learned)
        return f"an lds that learns {' and '.join(free)}, whose state has no coordinates of its own" if free else ""

    timed = False

    @property
    def tells(self) -> Mapping[str, Kind]:
        """The columns of its posteriors."""
        return tells(gated=self.gated, ahead=self.horizon_steps > 0)

    @property
    def second(self) -> bool:
        """Whether the M-step needs second moments of the states."""
        return bool({"A", "C"} & self.learned)

    def free_parameters(self, columns: int) -> int:
        """Return how many numbers are learned from rows of so many columns."""
        n, m = self.states, columns
        sizes = {"A": n * n, "C": m * n, "Q": n * (n + 1) // 2, "R": m * (m + 1) // 2, "m1": n, "V1": n * (n + 1) // 2}
        sizes |= {part: {"Q": n, "R": m}[part] for part in self.diagonal}
        return sum(sizes[part] for part in self.learned)

    def start(self, observations: Observations, rng: np.random.Generator) -> LDSParameters:  # noqa: ARG002
        """Return what is given, the rest from the warm-up rows; then batch EM, if anything is learned.

        Raises
        ------
        ModelError
            The rows do not fit the matrices, are fewer than `linear.least_rows`, none of them follows another where A
            or Q is learned, or no likelihood is finite.
        """
        learned = self.learned
        check_support(
            observations, self.given, self.states, learned=learned, diagonal=self.diagonal,
            first=self.initial == "first",
        )  # fmt: skip
        begun = self.begun(observations)
        if len(observations.segments()) <= self.states:
            # too few to say how sequences begin: V1 would shrink to nothing about those that were seen
            learned -= {"m1", "V1"}
        if not learned:
            return begun
        fitted: LDSParameters = batch_em(replace(self, learn=tuple(sorted(learned))), begun, observations)[0]
        return fitted

    def begun(self, observations: Observations) -> LDSParameters:
        """Return where batch EM begins: A and C from lagged rows, covariances from what they leave."""
        given: dict[str, Array] = {part: np.array(matrix, float) for part, matrix in self.given.items()}
        return started(observations, given, self.states)

    def space(self, parameters: LDSParameters, rows: int) -> Space:
        """Return the state space of a batch of so many rows."""
        return Space(
            parameters.transition[None], parameters.transition_covariance[None], np.zeros(rows, np.intp),
            parameters.observation, parameters.observation_covariance, parameters.initial_mean,
            parameters.initial_covariance, self.initial == "before_first", gates(self.gate_sigma, parameters.columns),
        )  # fmt: skip

    def passed(
        self, parameters: LDSParameters, observations: Observations, carried: Carried | None, *, keep: bool
    ) -> Forward:
        """Return what the filter finds."""
        segments = observations.segments()
        values = np.ascontiguousarray(segments.sorted(observations.values))
        carried = carried if self.carries else None
        return forward(self.space(parameters, len(values)), values, segments, carried, keep=keep)

    def expect(
        self, parameters: LDSParameters, observations: Observations, carried: Carried | None = None
    ) -> Expectation:
        """Return the expected statistics, filtered posteriors and carry of a batch under `parameters`.

        Raises
        ------
        ModelError
            A log-likelihood is not finite, or the rows of a sequence have different weights.
        """
        passed = self.passed(parameters, observations, carried, keep=True)
        found = passed.backward(passed.segments.weights(observations), second=self.second)
        statistics = LDSStatistics(
            parameters, found.begun, float(found.steps[0]), found.rows, found.shift, found.scatter,
            found.S00, found.Swh, found.noise[0], found.Shh, found.Seh, found.See,
        )  # fmt: skip
        return Expectation(statistics, self.told(parameters, passed), passed.left() if self.carries else None)

    def posterior(
        self, parameters: LDSParameters, observations: Observations, carried: Carried | None = None
    ) -> tuple[Posterior, Carried | None]:
        """Return the filtered posteriors and the carry of a batch: the E-step without statistics."""
        passed = self.passed(parameters, observations, carried, keep=False)
        return self.told(parameters, passed), passed.left() if self.carries else None

    def smooth(
        self, parameters: LDSParameters, observations: Observations, carried: Carried | None = None
    ) -> tuple[Array, Array]:
        """Return mean and covariance of the states given all rows of each segment, shapes (N, n) and (N, n, n)."""
        passed = self.passed(parameters, observations, carried, keep=True)
        found = passed.backward(np.ones(len(passed.segments)), second=False, rows=True)
        segments: Segments = passed.segments
        return segments.restored(found.mean), segments.restored(found.covariance)

    def told(self, parameters: LDSParameters, passed: Forward) -> Posterior:
        """Return the posteriors of the rows as they came."""
        ahead = None
        if self.horizon_steps:
            A, Q = np.eye(parameters.states), np.zeros((parameters.states, parameters.states))
            for _ in range(self.horizon_steps):
                A = parameters.transition @ A
                Q = parameters.transition @ Q @ parameters.transition.T + parameters.transition_covariance
            ahead = A, Q
        columns = told(passed, gated=self.gated, ahead=ahead)
        return Posterior(passed.segments.restored(passed.log_likelihood), columns)

    def span(self, observations: Observations, carried: Carried | None = None) -> StateSpan:
        """Return how much data rows are: their weight, sequences that begin, and what the others go on from."""
        segments = observations.segments()
        each = segments.weights(observations)
        lengths = np.diff(segments.bounds)
        weight = float(each @ lengths)
        if not self.carries:
            begun = float(each.sum())
            steps = weight if self.initial == "before_first" else weight - begun
            return StateSpan(weight, begun, steps, still_alive(lengths, each))
        known = np.zeros(len(each)) if carried is None else carried["known"]
        begun = float((each * (1.0 - known)).sum())
        steps = weight if self.initial == "before_first" else weight - begun
        return StateSpan(weight, begun, steps, None, carried_moment(carried, each), int(lengths.max(initial=0)))

    def unit(self, weight: float) -> StateSpan:
        """Return the span over which models are combined: a first row, and one of a sequence that goes on."""
        return StateSpan(2.0 * weight, weight, weight if self.initial == "first" else 2.0 * weight)

    def seconds(self, parameters: LDSParameters, span: StateSpan) -> tuple[Array, Array]:
        """Return what the model expects of Σ h_t h_tᵀ over the transitions of `span`, and over its rows; (n, n)."""
        return second_moments(parameters, span, before_first=self.initial == "before_first")

    def moments(self, parameters: LDSParameters, span: StateSpan) -> LDSStatistics:
        """Return the statistics that the model itself expects of `span`: the inertia of an update."""
        n, m = parameters.states, parameters.columns
        S00, Shh = self.seconds(parameters, span) if self.second else (np.zeros((n, n)), np.zeros((n, n)))
        return LDSStatistics(
            parameters, span.begun, span.steps, span.weight,
            np.zeros(n), span.begun * parameters.initial_covariance,
            S00, np.zeros((n, n)), span.steps * parameters.transition_covariance,
            Shh, np.zeros((m, n)), span.weight * parameters.observation_covariance,
        )  # fmt: skip

    def maximize(self, statistics: LDSStatistics, previous: LDSParameters) -> LDSParameters:
        """Return the parameters under which the statistics are most likely; what is known stays.

        Raises
        ------
        ModelError
            One of them is not finite.
        """
        check_finite_part("an expected sum", np.concatenate([np.ravel(one) for one in statistics.sums]))
        about, scale, n = statistics.about, previous.scale, previous.states
        learned = self.learned
        found = {part: getattr(previous, name) for part, name in NAMES.items()}
        if statistics.steps > 0.0:
            Sww = statistics.Sww
            if "A" in learned:
                change = regressed(statistics.Swh, statistics.S00)
                found["A"], Sww = about.transition + change, Sww - change @ statistics.Swh.T
            if "Q" in learned:
                found["Q"] = self.held("Q", Sww / statistics.steps, scale[:n])
        if statistics.rows > 0.0:
            See = statistics.See
            if "C" in learned:
                change = regressed(statistics.Seh, statistics.Shh)
                found["C"], See = about.observation + change, See - change @ statistics.Seh.T
            if "R" in learned:
                found["R"] = self.held("R", See / statistics.rows, scale[n:])
        if statistics.begun > 0.0:
            shift = statistics.shift / statistics.begun
            if "m1" in learned:
                found["m1"] = about.initial_mean + shift
            if "V1" in learned:
                rest = np.outer(shift, shift) if "m1" in learned else 0.0
                found["V1"] = floored(statistics.scatter / statistics.begun - rest, scale[:n])
        for part in learned:
            check_finite_part(part, found[part])
        return LDSParameters(**{NAMES[part]: found[part] for part in NAMES}, scale=scale)

    def held(self, part: str, covariance: Array, scale: Array) -> Array:
        """Return a learned covariance in the form that it is held to."""
        return floored(np.diag(np.diagonal(covariance)) if part in self.diagonal else covariance, scale)

    def at_floor(self, parameters: LDSParameters) -> Flags:
        """Return whether a floor holds up a learned covariance, shape (1,)."""
        n, scale = parameters.states, parameters.scale
        units = {"Q": scale[:n], "R": scale[n:], "V1": scale[:n]}
        return np.array([any(floors(getattr(parameters, NAMES[p]), units[p]) for p in self.learned & units.keys())])

    def relative_entropy(self, old: LDSParameters, new: LDSParameters, span: StateSpan) -> float:
        """Return D_RE(old, new) over `span`, in nats a row."""
        learned, total = self.learned, 0.0
        S00, Shh = self.seconds(old, span) if self.second else (0.0, 0.0)
        pairs: list[tuple[Part, Part, float, Any]] = [("A", "Q", span.steps, S00), ("C", "R", span.weight, Shh)]
        for matrix, noise, count, hh in pairs:
            was, now = getattr(old, NAMES[noise]), getattr(new, NAMES[noise])
            if noise in learned:
                total += count * divergence(was, now)
            if matrix in learned:
                change = getattr(new, NAMES[matrix]) - getattr(old, NAMES[matrix])
                total += 0.5 * float(np.trace(np.linalg.solve(now, change @ hh @ change.T)))
        if span.begun > 0.0 and {"m1", "V1"} & learned:
            shift = new.initial_mean - old.initial_mean
            squared = float(shift @ np.linalg.solve(new.initial_covariance, shift))
            total += span.begun * (divergence(old.initial_covariance, new.initial_covariance) + 0.5 * squared)
        return total / span.weight

    def sampled(
        self, parameters: LDSParameters, span: StateSpan, samples: int, rng: np.random.Generator
    ) -> LDSStatistics:
        """Return the moments estimated from drawn rows, about `samples` of them: unbiased.

        Complete sequences have lengths of the batch's; rows of those that go on are drawn one by one.
        """
        free = replace(self, gate_sigma=None)
        if span.alive is not None:
            count = max(1, round(samples * span.begun / span.weight))
            ending = span.alive - np.append(span.alive[1:], 0.0)
            lengths = rng.choice(len(ending), size=count, p=ending / ending.sum()) + 1
            drawn, _ = self.sample(parameters, rng, lengths)
            statistics: LDSStatistics = free.expect(parameters, drawn).statistics
            return statistics.scale(span.begun / count)
        anywhere = long_run(parameters, span)
        n, each = parameters.states, np.ones(samples, np.intp)
        elsewhere = replace(parameters, initial_mean=np.zeros(n), initial_covariance=anywhere)
        drawn, _ = replace(self, initial="before_first").sample(elsewhere, rng, each)
        left = {
            "known": np.ones(samples),
            "mean": np.zeros((samples, n)),
            "covariance": np.tile(anywhere, (samples, 1, 1)),
        }
        going_on: LDSStatistics = free.expect(parameters, drawn, left).statistics
        going_on = going_on.scale((span.weight - span.begun) / samples)
        if span.begun == 0.0:
            return going_on
        begin: LDSStatistics = free.expect(parameters, self.sample(parameters, rng, each)[0]).statistics
        return going_on + begin.scale(span.begun / samples)

    def sample(
        self, parameters: LDSParameters, rng: np.random.Generator, lengths: Labels
    ) -> tuple[Observations, Array]:
        """Return sequences of so many rows drawn from the model, and the state of each row, shape (N, n)."""
        return drawn_from(self.space(parameters, int(lengths.sum())), rng, lengths)

    def assemble(self, arrays: Mapping[str, Any]) -> LDSParameters:
        """Return the parameters that `arrays` hold under the names of `LDSParameters`.

        Raises
        ------
        SnapshotError
            They are not parameters of this model.
        """
        theta = lds_from(arrays, self.states)
        for part in SURE:
            if wrong := misfit(part, getattr(theta, NAMES[part]), learned=self.learned, diagonal=self.diagonal):
                raise refused("lds", f"{NAMES[part]}: {wrong[0]}", wrong[1])
        return theta

    def summary(self, parameters: LDSParameters) -> list[dict[str, Any]]:
        """Return the sizes of the eigenvalues of A, and the standard deviations of the noise."""
        return [
            {
                "eigenvalues": np.sort(np.abs(np.linalg.eigvals(parameters.transition)))[::-1].tolist(),
                "state_sd": np.sqrt(np.diagonal(parameters.transition_covariance)).tolist(),
                "observation_sd": np.sqrt(np.diagonal(parameters.observation_covariance)).tolist(),
            }
        ]
