"""Counts over several columns whose shares differ from row to row: compound Dirichlet, or Dirichlet-multinomial.

A row draws shares h ~ Dir(α), then its N counts from them. The counts' distribution given h holds no parameter, so the
inertia is exactly KL(Dir(α) || Dir(α')), and the expected statistics are those of log h.

References
----------
Amid and Warmuth (2020), section 3.4. Minka (2000), *Estimating a Dirichlet distribution*, for the Newton step, whose
Hessian is a diagonal plus a matrix of rank one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from streamem.em.declaration import Declaration
from streamem.em.families.family import column_moments, not_counts
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.em.statistics import Sums
from streamem.errors import ModelError, SnapshotError, tell

__all__ = ["CompoundDirichlet", "CompoundDirichletParameters", "CompoundDirichletStatistics"]

ROUNDS = 100
"""Newton steps at most; about seven are needed, sixteen at worst."""


ROUNDING = 64.0 * float(np.finfo(float).eps)
"""Times the sum of the pseudo-counts: what rounding leaves of a step, so that none gets smaller."""


@dataclass(frozen=True, eq=False)
class CompoundDirichletParameters:
    """The parameters of K components.

    Parameters
    ----------
    alpha : ndarray, shape (K, D)
        Pseudo-counts of the columns, above 0.
    centre : ndarray, shape (D,)
        The shares of the columns in the warm-up: what the prior is.
    """

    alpha: Array
    centre: Array

    @property
    def components(self) -> int:
        """K."""
        return len(self.alpha)

    @property
    def columns(self) -> int:
        """D."""
        return int(self.alpha.shape[1])

    def take(self, order: Labels) -> "CompoundDirichletParameters":
        """Return the same components in another order."""
        return CompoundDirichletParameters(self.alpha[order], self.centre)


@dataclass(frozen=True, eq=False)
class CompoundDirichletStatistics(Sums):
    """Weighted sums over rows: rows (K,), expected logarithms of the shares (K, D)."""

    weight: Array
    log_share: Array


@dataclass(frozen=True, kw_only=True)
class CompoundDirichlet(Declaration):
    """Counts over several columns with shares of their own in every row: Dirichlet-multinomial. Rows are whole.

    Examples
    --------
    >>> CompoundDirichlet().wrong(np.array([[3.0, 0.0], [1.0, np.nan]])).tolist()
    [[False, False], [False, True]]
    """

    support: ClassVar[str] = "a whole number of at least 0 in every column, none of them missing"
    exposed: ClassVar[bool] = False
    type: Literal["compound_dirichlet"] = "compound_dirichlet"

    def free_parameters(self, components: int, columns: int) -> int:
        """Return how many numbers are learned."""
        return components * columns

    def wrong(self, values: Array) -> Flags:
        """Return which values are no counts; a missing one is none either."""
        return not_counts(values) | np.isnan(values)

    def span(self, observations: Observations) -> Span:
        """Return how much data rows are: their weight."""
        return observations.span()

    def coordinates(self, values: Array) -> Array:
        """Return the square roots of the shares of a row, whose variance is about the same everywhere."""
        return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1.0)))

    def broad(self, observations: Observations, components: int) -> CompoundDirichletParameters:
        """Return `components` equal components with the data's shares and a pseudo-count of 1 a column.

        Raises
        ------
        ModelError
            A column is always the same.
        """
        weight = np.ones(len(observations)) if observations.weight is None else observations.weight
        column_moments(observations.values, weight)
        centre = weight @ observations.values
        centre = centre / centre.sum()
        return CompoundDirichletParameters(np.tile(len(centre) * centre, (components, 1)), centre)

    def log_density(self, parameters: CompoundDirichletParameters, observations: Observations) -> Array:
        """Return the log probability of every row under every component, shape (K, N)."""
        values = observations.values
        trials = values.sum(axis=1)
        ways = gammaln(trials + 1.0) - gammaln(values + 1.0).sum(axis=1)
        out = np.empty((parameters.components, len(values)))
        for k, alpha in enumerate(parameters.alpha):
            total = alpha.sum()
            out[k] = gammaln(values + alpha).sum(axis=1) - gammaln(trials + total)
            out[k] += gammaln(total) - gammaln(alpha).sum() + ways
        return out

    def expect(
        self, parameters: CompoundDirichletParameters, observations: Observations, responsibility: Array
    ) -> CompoundDirichletStatistics:
        """Return the expected statistics of rows that belong to components by shares, shape (K, N)."""
        values = observations.values
        trials = values.sum(axis=1)
        weight, log_share = responsibility.sum(axis=1), np.empty(parameters.alpha.shape)
        for k, alpha in enumerate(parameters.alpha):
            share = responsibility[k]
            log_share[k] = share @ digamma(values + alpha) - share @ digamma(trials + alpha.sum())
        return CompoundDirichletStatistics(weight, log_share)

    def moments(
        self,
        parameters: CompoundDirichletParameters,
        weight: Array,
        span: Span,  # noqa: ARG002
    ) -> CompoundDirichletStatistics:
        """Return the statistics that the components expect of so much data, `weight` of shape (K,)."""
        return CompoundDirichletStatistics(weight, weight[:, None] * mean_logarithm(parameters.alpha))

    def prior(self, parameters: CompoundDirichletParameters, weight: float) -> CompoundDirichletStatistics:
        """Return pseudo-rows with the data's shares and a pseudo-count of 1 a column, `weight` a component."""
        shares = np.tile(parameters.columns * parameters.centre, (parameters.components, 1))
        return self.moments(
            CompoundDirichletParameters(shares, parameters.centre), np.full(len(shares), weight), Span(weight)
        )

    def maximize(
        self, statistics: CompoundDirichletStatistics, previous: CompoundDirichletParameters
    ) -> CompoundDirichletParameters:
        """Return the pseudo-counts, by Newton from the `previous` ones; a component of no weight keeps these.

        Raises
        ------
        ModelError
            Newton does not come to rest.
        """
        alive = statistics.weight > np.finfo(float).tiny
        alpha = previous.alpha.copy()
        alpha[alive] = fitted(statistics.log_share[alive] / statistics.weight[alive, None], alpha[alive])
        return CompoundDirichletParameters(alpha, previous.centre)

    def at_floor(self, parameters: CompoundDirichletParameters) -> Flags:
        """Return that no floor holds any component up, shape (K,)."""
        return np.zeros(parameters.components, np.bool_)

    def sample(
        self,
        parameters: CompoundDirichletParameters,
        component: Labels,
        rng: np.random.Generator,
        exposure: float = 1.0,
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D), of `exposure` trials."""
        shares = rng.standard_gamma(parameters.alpha[component])
        shares = np.maximum(shares, np.finfo(float).tiny)
        return rng.multinomial(round(exposure), shares / shares.sum(axis=1, keepdims=True)).astype(float)

    def relative_entropy(
        self,
        one: CompoundDirichletParameters,
        other: CompoundDirichletParameters,
        exposure: float = 1.0,  # noqa: ARG002
    ) -> Array:
        """Return KL(Dir(α_k) || Dir(α'_l)), that of a row with its shares, in nats for every pair, shape (K, L)."""
        logarithm = mean_logarithm(one.alpha)
        mine = log_normaliser(one.alpha) + (one.alpha * logarithm).sum(axis=1)
        return np.asarray(mine[:, None] - log_normaliser(other.alpha) - logarithm @ other.alpha.T)

    def mean(self, parameters: CompoundDirichletParameters) -> Array:
        """Return the mean share of every column in every component, shape (K, D)."""
        return np.asarray(parameters.alpha / parameters.alpha.sum(axis=1, keepdims=True))

    def spread(self, parameters: CompoundDirichletParameters) -> Array:
        """Return the standard deviation of a share from row to row, shape (K, D)."""
        share, total = self.mean(parameters), parameters.alpha.sum(axis=1, keepdims=True)
        return np.asarray(np.sqrt(share * (1.0 - share) / (total + 1.0)))

    def assemble(self, arrays: Mapping[str, Array]) -> CompoundDirichletParameters:
        """Return the parameters that `arrays` hold under the names of `CompoundDirichletParameters`.

        Raises
        ------
        SnapshotError
            An array is missing, or its shape or a number is impossible.
        """
        alpha, centre = (arrays.get(name, np.empty(0)) for name in ("alpha", "centre"))
        fits = alpha.ndim == 2 and 0 not in alpha.shape and centre.shape == alpha.shape[1:]
        if not fits or not (alpha > 0.0).all() or not (centre > 0.0).all():
            raise SnapshotError(
                tell(
                    "parameters of the compound_dirichlet family",
                    found=f"alpha {alpha.shape} from {alpha.min(initial=np.inf):g}, centre {centre.shape}",
                    wanted="(K, D) and (D,), none of them zero, all numbers above 0",
                    do="use a snapshot as streamem wrote it",
                )
            )
        return CompoundDirichletParameters(alpha, centre)


def mean_logarithm(alpha: Array) -> Array:
    """Return E log h = ψ(α) - ψ(Σα), shape (K, D)."""
    return np.asarray(digamma(alpha) - digamma(alpha.sum(axis=1, keepdims=True)))


def log_normaliser(alpha: Array) -> Array:
    """Return log Γ(Σα) - Σ log Γ(α), shape (K,)."""
    return np.asarray(gammaln(alpha.sum(axis=1)) - gammaln(alpha).sum(axis=1))


def fitted(target: Array, alpha: Array) -> Array:
    """Return the α with ψ(α) - ψ(Σα) = `target` in every row, by Newton's method from `alpha`.

    Raises
    ------
    ModelError
        It does not come to rest within 100 steps.
    """
    for _ in range(ROUNDS):
        total = alpha.sum(axis=1, keepdims=True)
        gradient = digamma(total) - digamma(alpha) + target
        diagonal, rank_one = -polygamma(1, alpha), polygamma(1, total)
        shift = (gradient / diagonal).sum(axis=1, keepdims=True) / (
            1.0 / rank_one + (1.0 / diagonal).sum(axis=1, keepdims=True)
        )
        step = (gradient - shift) / diagonal
        while (alpha - step <= 0.0).any():
            step = np.where((alpha - step <= 0.0).any(axis=1, keepdims=True), 0.5 * step, step)
        alpha = alpha - step
        # the sum of pseudo-counts is told by differences of logarithms that are as small as its inverse
        if (np.abs(step) <= np.maximum(1e-13, ROUNDING * total) * alpha).all():
            return alpha
    raise ModelError(
        tell(
            "a compound Dirichlet",
            found=f"no rest after {ROUNDS} Newton steps",
            wanted="pseudo-counts that fit",
            do="look whether all rows have the same shares: then a multinomial fits better",
        )
    )
