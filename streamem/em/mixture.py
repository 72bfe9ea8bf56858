"""Mixtures of an exponential family.

References
----------
Amid and Warmuth (2020), section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from streamem.em.declaration import Declaration, check_instance, limited
from streamem.em.families import FAMILIES, Family, Gaussian, Parameters
from streamem.em.kernels.softmax import softmax
from streamem.em.model import Carried, Expectation, check_finite
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.em.posterior import Kind, Posterior
from streamem.em.start import ROUNDS, STAGES, check_support, coordinates, likeliest, nearest_centres, seed_centres
from streamem.errors import SnapshotError, tell

__all__ = ["Mixture", "MixtureParameters"]

ROWS = 4096
"""Rows a pass of E-step and M-step: their responsibilities stay in the second-level cache in between."""


@dataclass(frozen=True, eq=False)
class MixtureParameters:
    """Shares of the components, shape (K,), and the parameters of the components."""

    weights: Array
    components: Parameters

    @property
    def columns(self) -> int:
        """D."""
        return self.components.columns


@dataclass(frozen=True, kw_only=True)
class Mixture(Declaration):
    """Every record comes from one of several components: clusters, regimes.

    Parameters
    ----------
    components : int
        How many, at least 1.
    family : Family
        What each component is.
    prior_records : float
        Pseudo-rows, spread over the components, that join the data at every update: they keep a component that
        little supports as wide as a share of the data. 0 is maximum likelihood.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits.

    Examples
    --------
    >>> Mixture(components=2).free_parameters(columns=2)
    11
    """

    type: Literal["mixture"] = "mixture"
    components: int = limited(2, ge=1)
    family: Family = field(default_factory=Gaussian)
    prior_records: float = limited(0.0, ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_instance("mixture: family", self.family, FAMILIES, "log_density")

    @property
    def tells(self) -> Mapping[str, Kind]:
        """The columns of its posteriors."""
        return {"component": "label", "probabilities": "vector"}

    carries = False
    sequential = False
    averaging_power = 3.0
    gated = False
    timed = False
    combinable = ""

    def free_parameters(self, columns: int) -> int:
        """Return how many numbers are learned from rows of so many columns."""
        return self.components - 1 + self.family.free_parameters(self.components, columns)

    def span(self, observations: Observations, carried: Carried | None = None) -> Span:  # noqa: ARG002
        """Return how much data rows are: all that the inertia needs to know of them."""
        return self.family.span(observations)

    def unit(self, weight: float) -> Span:
        """Return the span over which models are combined: one row, `weight` times."""
        return Span(weight)

    def wrong(self, values: Array) -> Flags:
        """Return which values no component can have given rise to, shape (N, D)."""
        return self.family.wrong(values)

    @property
    def support(self) -> str:
        """What a value must be, in words."""
        return self.family.support

    @property
    def exposed(self) -> bool:
        """Whether rows may have an exposure."""
        return self.family.exposed

    def start(self, observations: Observations, rng: np.random.Generator) -> MixtureParameters:
        """Return parameters fitted to warm-up rows: k-means++ with restarts, then batch EM until it stands still.

        Components are numbered by their shares, largest first.

        Raises
        ------
        ModelError
            Fewer rows than the components need, or fewer different ones, a constant column, or a likelihood that is not
            finite.
        """
        broad = self.family.broad(observations, self.components)
        check_support(self, self.family, observations)
        scaled = coordinates(self.family, observations)
        draws = range(STAGES[0][0] if self.components > 1 else 1)
        found = [self.clustered(observations, scaled, broad, rng, rounds=ROUNDS[draw % 2]) for draw in draws]
        best = likeliest(self, found, observations)
        # candidates that found the same optimum number it differently, and which of them wins is a matter of rounding
        return self.relabel(best, np.argsort(-best.weights, kind="stable"))

    def clustered(
        self, observations: Observations, scaled: Array, broad: Parameters, rng: np.random.Generator, *, rounds: int
    ) -> MixtureParameters:
        """Return a candidate: one draw of k-means++, some rounds of Lloyd's algorithm, an M-step on the clusters."""
        weight = np.ones(len(observations)) if observations.weight is None else observations.weight
        label = nearest_centres(scaled, seed_centres(scaled, weight, self.components, rng), weight, rounds)
        share = (label == np.arange(self.components)[:, None]) * weight
        candidate = MixtureParameters(np.full(self.components, 1.0 / self.components), broad)
        for _ in range(2):
            # the second time about each cluster's own mean, so that no digits are lost between clusters far apart
            part = self.family.expect(candidate.components, observations, share)
            candidate = self.maximize(part, candidate)
        return candidate

    def expect(
        self,
        parameters: MixtureParameters,
        observations: Observations,
        carried: Carried | None = None,  # noqa: ARG002
    ) -> Expectation:
        """Return the expected statistics, log-likelihoods and posteriors of a batch under `parameters`.

        Raises
        ------
        ModelError
            A log-likelihood is not finite: a value is too far from every component to tell how far.
        """
        rows = len(observations)
        posterior = np.empty((self.components, rows))
        log_likelihood = np.empty(rows)
        statistics: Any | None = None
        for start in range(0, rows, ROWS):
            part = observations if rows <= ROWS else observations[start : start + ROWS]
            share = self.family.log_density(parameters.components, part)
            softmax(share, parameters.weights, log_likelihood[start : start + ROWS])
            posterior[:, start : start + ROWS] = share
            if observations.weight is not None:
                share *= observations.weight[start : start + ROWS]
            found = self.family.expect(parameters.components, part, share)
            statistics = found if statistics is None else statistics + found
        check_finite(log_likelihood)
        if statistics is None:
            statistics = self.moments(parameters, Span(0.0))
        return Expectation(statistics, Posterior(log_likelihood, {"probabilities": posterior.T}))

    def posterior(
        self,
        parameters: MixtureParameters,
        observations: Observations,
        carried: Carried | None = None,  # noqa: ARG002
    ) -> tuple[Posterior, Carried | None]:
        """Return the posteriors of rows: the E-step without statistics."""
        share = self.family.log_density(parameters.components, observations)
        log_likelihood = np.empty(len(observations))
        softmax(share, parameters.weights, log_likelihood)
        check_finite(log_likelihood)
        return Posterior(log_likelihood, {"probabilities": share.T}), None

    def moments(self, parameters: MixtureParameters, span: Span) -> Any:
        """Return the statistics that the model itself expects of `span`: the inertia of an update."""
        return self.family.moments(parameters.components, parameters.weights * span.weight, span)

    def prior(self, parameters: MixtureParameters) -> Any | None:
        """Return the pseudo-rows of the prior, or None where there is none."""
        if self.prior_records == 0.0:
            return None
        return self.family.prior(parameters.components, self.prior_records / self.components)

    def maximize(self, statistics: Any, previous: MixtureParameters) -> MixtureParameters:
        """Return the parameters under which the statistics are most likely; their scale does not matter.

        A component without any weight keeps its `previous` parameters.
        """
        weights = np.maximum(statistics.weight, np.finfo(float).tiny)
        components = self.family.maximize(statistics, previous.components)
        return MixtureParameters(weights / weights.sum(), components)

    def at_floor(self, parameters: MixtureParameters) -> Flags:
        """Return which components a floor holds up, shape (K,)."""
        return self.family.at_floor(parameters.components)

    def relative_entropy(self, old: MixtureParameters, new: MixtureParameters, span: Span) -> float:
        """Return D_RE(old, new) in nats a row: between the joint distributions of component and row."""
        between = np.diagonal(self.family.relative_entropy(old.components, new.components, span.exposure))
        return float(old.weights @ (np.log(old.weights / new.weights) + between))

    def mismatch(self, parameters: MixtureParameters, reference: MixtureParameters) -> Array:
        """Return what it costs to call component k of one model component l of the other, shape (K, K)."""
        cross = self.family.relative_entropy(parameters.components, reference.components)
        return np.asarray(parameters.weights[:, None] * (cross - np.log(reference.weights)))

    def sampled(self, parameters: MixtureParameters, span: Span, samples: int, rng: np.random.Generator) -> Any:
        """Return the moments estimated from `samples` drawn rows: unbiased."""
        drawn, _ = self.sample(parameters, samples, rng, span.exposure)
        return self.expect(parameters, drawn).statistics.scale(span.weight / samples)

    def sample(
        self, parameters: MixtureParameters, rows: int, rng: np.random.Generator, exposure: float = 1.0
    ) -> tuple[Observations, Labels]:
        """Return `rows` of one exposure drawn from the model, and the component of each, shape (rows,)."""
        component = rng.choice(self.components, size=rows, p=parameters.weights)
        values = self.family.sample(parameters.components, component, rng, exposure)
        return Observations(values, exposure=None if exposure == 1.0 else np.full(rows, exposure)), component

    def relabel(self, parameters: MixtureParameters, order: Labels) -> MixtureParameters:
        """Return the same model with component ``order[k]`` as number k."""
        return MixtureParameters(parameters.weights[order], parameters.components.take(order))

    def assemble(self, arrays: Mapping[str, Any]) -> MixtureParameters:
        """Return the parameters that nested `arrays` hold under the names of `MixtureParameters`.

        Raises
        ------
        SnapshotError
            They are not parameters of this model.
        """
        weights = np.asarray(arrays.get("weights", ()), float)
        parts = arrays.get("components", {})
        if weights.shape != (self.components,) or not (weights >= 0.0).all() or abs(weights.sum() - 1.0) > 1e-9:
            raise SnapshotError(
                tell(
                    "parameters of the mixture: weights",
                    found=f"{len(weights)} numbers with the sum {weights.sum():g}",
                    wanted=f"{self.components} shares >= 0 with the sum 1",
                    do="use a snapshot of a model with as many components",
                )
            )
        components = self.family.assemble(parts)
        if components.components != self.components:
            raise SnapshotError(
                tell(
                    "parameters of the mixture: components",
                    found=str(components.components),
                    wanted=str(self.components),
                    do="use a snapshot of a model with as many components",
                )
            )
        return MixtureParameters(weights, components)

    def summary(self, parameters: MixtureParameters) -> list[dict[str, Any]]:
        """Return share, mean and standard deviation of each component."""
        mean, spread = self.family.mean(parameters.components), self.family.spread(parameters.components)
        return [
            {"component": k, "share": float(share), "mean": mean[k].tolist(), "sd": spread[k].tolist()}
            for k, share in enumerate(parameters.weights)
        ]
