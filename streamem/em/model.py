"""What a model is: three functions of the one rule, and what a learner, a pipeline and a snapshot ask besides.

    online update      Θ' = maximize( (1-γ) moments(Θ, span of batch) + γ expect(Θ, batch), Θ )
    batch EM           Θ' = maximize( expect(Θ, all), Θ )                                (γ = 1)
    combine            Θ' = maximize( Σ α_m moments(Θ_m, unit) / Σ α_m )

A model is a frozen description without state. Θ is a frozen dataclass of arrays.

References
----------
Amid and Warmuth (2020), section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from streamem.em.observations import Array, Flags, Labels, Observations
from streamem.em.posterior import Kind, Posterior
from streamem.errors import DataError, ModelError, tell

__all__ = ["Carried", "Expectation", "Model", "check_finite", "check_rows"]

Carried = Mapping[str, Array]
"""What segments take up from the batch before, or leave to the next: arrays of shape (S, ...), one row a segment.

`known` (S,) is 0 for a sequence seen for the first time; the rest of its row then means nothing.
"""


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the E-step gives.

    Parameters
    ----------
    statistics : Statistics
        Sums over the rows.
    posterior : Posterior
        Of the rows, as they came, each given itself and what was before it.
    carried : Carried or None
        What each segment of ``observations.segments()`` leaves to the next batch; None for a model without carry.
    """

    statistics: Any
    posterior: Posterior
    carried: Carried | None = None

    @property
    def log_likelihood(self) -> Array:
        """Of each row given those before it, shape (N,)."""
        return self.posterior.log_likelihood


class Model(Protocol):
    """A declared model: a frozen dataclass of its settings. Its docstring's first line is what ``list`` shows."""

    @property
    def type(self) -> str:
        """Its name in a pipeline file."""

    @property
    def components(self) -> int:
        """K: components or states, 1 for a tracker."""

    @property
    def prior_records(self) -> float:
        """Pseudo-rows that join the data at every update."""

    @property
    def averaging_power(self) -> float:
        """How soon the average of the parameters forgets its start; see `schedule.averaging_step`."""

    @property
    def tells(self) -> Mapping[str, Kind]:
        """The columns of its posteriors, log-likelihood apart, in the order in which they are written."""

    @property
    def carries(self) -> bool:
        """Whether its sequences go on from batch to batch, so that each has a carry."""

    @property
    def sequential(self) -> bool:
        """Whether the order of rows means anything."""

    @property
    def gated(self) -> bool:
        """Whether it leaves values out that are too far from their prediction."""

    @property
    def timed(self) -> bool:
        """Whether it needs the time of every row."""

    def wrong(self, values: Array) -> Flags:
        """Return which values cannot have come from the model, shape (N, D); a missing one never is."""

    @property
    def support(self) -> str:
        """What a value must be, in words, for messages."""

    @property
    def combinable(self) -> str:
        """Why models trained apart cannot be combined; empty if they can."""

    @property
    def exposed(self) -> bool:
        """Whether an exposure of each row means anything to it."""

    def free_parameters(self, columns: int) -> int:
        """Return how many numbers are learned from rows of so many columns."""

    def start(self, observations: Observations, rng: np.random.Generator) -> Any:
        """Return parameters fitted to warm-up rows. Raises ModelError where they cannot be."""

    def expect(self, parameters: Any, observations: Observations, carried: Carried | None = None) -> Expectation:
        """Return the expected statistics, posteriors and carry of a batch under `parameters`.

        Parameters
        ----------
        parameters : Θ
        observations : Observations
        carried : Carried, optional
            What the segments take up; None: every sequence begins here.

        Raises
        ------
        ModelError
            A log-likelihood is not finite: a value is too far from everything learned to tell how far.
        """

    def posterior(
        self, parameters: Any, observations: Observations, carried: Carried | None = None
    ) -> tuple[Posterior, Carried | None]:
        """Return posteriors and carry of a batch: `expect` without statistics."""

    def span(self, observations: Observations, carried: Carried | None = None) -> Any:
        """Return how much data rows are: all that the inertia needs of them. It has `weight` and `and_rows`."""

    def unit(self, weight: float) -> Any:
        """Return the span over which models are combined and averaged, `weight` times."""

    def moments(self, parameters: Any, span: Any) -> Any:
        """Return the statistics that the model itself expects of `span`: the inertia of an update."""

    def sampled(self, parameters: Any, span: Any, samples: int, rng: np.random.Generator) -> Any:
        """Return the same estimated from `samples` drawn rows: unbiased."""

    def prior(self, parameters: Any) -> Any | None:
        """Return the pseudo-rows of the prior, or None where there is none."""

    def maximize(self, statistics: Any, previous: Any) -> Any:
        """Return the parameters under which the statistics are most likely; their scale does not matter."""

    def at_floor(self, parameters: Any) -> Flags:
        """Return which components a floor holds up, shape (K,)."""

    def relative_entropy(self, old: Any, new: Any, span: Any) -> float:
        """Return D_RE(old, new) over `span`, in nats for each unit of its weight."""

    def relabel(self, parameters: Any, order: Labels) -> Any:
        """Return the same model with component ``order[k]`` as number k."""

    def mismatch(self, parameters: Any, reference: Any) -> Array:
        """Return what it costs to call component k of one model component l of the other, shape (K, L)."""

    def assemble(self, arrays: Mapping[str, Any]) -> Any:
        """Return the parameters that nested `arrays` hold by their names. Raises SnapshotError where they cannot be."""

    def summary(self, parameters: Any) -> list[dict[str, Any]]:
        """Return what a table of the model shows, one row a component."""


def check_rows(model: Model, observations: Observations, columns: int | None) -> None:
    """Refuse rows that the model cannot have given rise to; those of a pipeline are checked for values already.

    Parameters
    ----------
    model : Model
    observations : Observations
    columns : int or None
        How many the model has learned; None while that is open.

    Raises
    ------
    DataError
        No observations, another number of columns, an exposure that means nothing, or an impossible value.
    """
    if not isinstance(observations, Observations):
        do = "wrap it: Observations(X)"
        raise DataError(tell("rows", found=f"a plain {type(observations).__name__}", wanted="Observations", do=do))
    found = observations.values.shape[1]
    if columns is not None and found != columns:
        many = f"{found} column{'s' * (found != 1)}"
        do = "give the columns that the model learned from"
        raise DataError(tell("values", found=many, wanted=str(columns), do=do))
    if observations.checked:
        return
    if observations.exposure is not None and not model.exposed:
        do = "leave it out, or take a family of counts such as Poisson()"
        raise DataError(tell("exposure", found=f"one for {model.type}", wanted="none", do=do))
    wrong = model.wrong(observations.values)
    if np.count_nonzero(wrong):  # a third of what any() costs
        row, column = np.argwhere(wrong)[0]
        value, do = observations.values[row, column], "mend the row, or leave it out"
        raise DataError(tell(f"values[{row}, {column}]", found=f"{value:g}", wanted=model.support, do=do))


def check_finite(log_likelihood: Array) -> None:
    """Raise ModelError for the first log-likelihood that is not a finite number."""
    if not np.isfinite(log_likelihood.sum()):
        bad = np.flatnonzero(~np.isfinite(log_likelihood))
        raise ModelError(
            tell(
                f"record {bad[0] + 1} of the batch",
                found=f"a log-likelihood of {log_likelihood[bad[0]]:g}",
                wanted="a finite number",
                do="look at the values of this record; they are too far from everything learned so far",
            )
        )
