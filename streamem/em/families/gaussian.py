"""Gaussian components, with full, diagonal, spherical or tied covariance, in the centred form.

Statistics are (weight, mean, scatter about that mean), never raw second moments, which lose every digit once the mean
is 1e8 standard deviations from zero. Rows are accumulated about each component's own old mean. A missing value counts
as its conditional expectation given the rest of its row, its conditional covariance joins the scatter.

References
----------
Amid and Warmuth (2020), eq. 7 and 8. Chan, Golub and LeVeque (1979) for the addition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from streamem.em.declaration import Declaration, limited
from streamem.em.families.family import column_moments
from streamem.em.kernels import centred, cholesky, diagonal, full, missing, wide
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.errors import ModelError, SnapshotError, tell

__all__ = ["Gaussian", "GaussianParameters", "GaussianStatistics"]

LOG_TWO_PI = float(np.log(2.0 * np.pi))

WIDE = 160
"""Columns from which BLAS is faster than the loops of `kernels.full`; measured: even at 160, at 128 a tenth slower."""


@dataclass(frozen=True, eq=False)
class GaussianParameters:
    """The parameters of K Gaussian components.

    Parameters
    ----------
    mean : ndarray, shape (K, D)
    covariance : ndarray
        Shape (K, D, D) for full and tied covariance, (K, D) for diagonal and spherical.
    scale : ndarray, shape (D,)
        The variances of the columns in the warm-up: what the covariance floor and the prior are relative to.
    """

    mean: Array
    covariance: Array
    scale: Array

    @property
    def components(self) -> int:
        """K."""
        return len(self.mean)

    @property
    def columns(self) -> int:
        """D."""
        return int(self.mean.shape[1])

    def take(self, order: Labels) -> "GaussianParameters":
        """Return the same components in another order."""
        return GaussianParameters(self.mean[order], self.covariance[order], self.scale)

    @cached_property
    def whitening(self) -> Array:
        """The inverse Cholesky factors of full covariances, shape (K, D, D), lower triangular."""
        inverse, failed = cholesky.whitening(self.covariance)
        if failed >= 0:
            raise ModelError(
                tell(
                    f"component {failed} of {len(self.mean)}",
                    found="a covariance that is not positive definite",
                    wanted="columns that are not multiples of each other",
                    do="leave a column out, use covariance: diagonal, or a larger covariance_floor",
                )
            )
        return inverse

    @cached_property
    def constant(self) -> Array:
        """-D/2 log 2π - log det(Σ_k)/2 of full covariances, shape (K,)."""
        return np.asarray(cholesky.log_determinants(self.whitening) - 0.5 * self.mean.shape[1] * LOG_TWO_PI)


@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """Weighted sums over rows, centred.

    Parameters
    ----------
    weight : ndarray, shape (K,)
    mean : ndarray, shape (K, D)
        Of the rows by their weight; where the weight is zero, the old mean.
    scatter : ndarray, shape (K, D, D) or (K, D)
        Weighted sum of squares about that mean.
    """

    weight: Array
    mean: Array
    scatter: Array

    def __add__(self, other: "GaussianStatistics") -> "GaussianStatistics":
        return self.together(1.0, other, 1.0)

    def blend(self, new: "GaussianStatistics", step: float) -> "GaussianStatistics":
        """Return (1 - step) self + step new."""
        return self.together(1.0 - step, new, step)

    def together(self, times: float, other: "GaussianStatistics", other_times: float) -> "GaussianStatistics":
        """Return the statistics of both sets of rows, each row counted so many times."""
        scatter, other_scatter = matrices(self.scatter), matrices(other.scatter)
        weight, mean, scatter = centred.add(
            self.weight, self.mean, scatter, times, other.weight, other.mean, other_scatter, other_times
        )
        return GaussianStatistics(weight, mean, scatter.reshape(self.scatter.shape))

    def scale(self, factor: float) -> "GaussianStatistics":
        """Return the statistics with every row counted `factor` times."""
        return GaussianStatistics(self.weight * factor, self.mean, self.scatter * factor)


def matrices(scatter: Array) -> Array:
    """Return scatters as the kernels take them, without a copy: (K, D, D) as it is, (K, D) as (K, D, 1)."""
    return scatter if scatter.ndim == 3 else scatter[:, :, None]


@dataclass(frozen=True, kw_only=True)
class Gaussian(Declaration):
    """Real numbers: normal, with full, diagonal, spherical or tied covariance; missing values are marginalised.

    Parameters
    ----------
    covariance : str
        ``full``: one of its own for each component. ``tied``: one for all. ``diagonal``: independent columns.
        ``spherical``: independent columns of one variance.
    covariance_floor : float
        No variance, in any direction, falls below this share of the columns' variances in the warm-up.

    Examples
    --------
    >>> Gaussian(covariance="tied").free_parameters(components=3, columns=2)
    9
    """

    support: ClassVar[str] = "a finite number or a missing value"
    exposed: ClassVar[bool] = False
    type: Literal["gaussian"] = "gaussian"
    covariance: Literal["full", "diagonal", "spherical", "tied"] = "full"
    covariance_floor: float = limited(1e-6, ge=0, lt=1)

    @property
    def correlated(self) -> bool:
        """Whether covariances are matrices."""
        return self.covariance in ("full", "tied")

    def free_parameters(self, components: int, columns: int) -> int:
        """Return how many numbers are learned."""
        variances = {
            "full": components * columns * (columns + 1) // 2,
            "tied": columns * (columns + 1) // 2,
            "diagonal": components * columns,
            "spherical": components,
        }
        return components * columns + variances[self.covariance]

    def wrong(self, values: Array) -> Flags:
        """Return which values are infinite, shape (N, D)."""
        return np.isinf(values)

    def span(self, observations: Observations) -> Span:
        """Return how much data rows are: their weight."""
        return observations.span()

    def coordinates(self, values: Array) -> Array:
        """Return rows as they are clustered for a start: as they are."""
        return values

    def broad(self, observations: Observations, components: int) -> GaussianParameters:
        """Return `components` equal components as wide as the data: what a start begins from.

        Raises
        ------
        ModelError
            A column has no observed value, or always the same.
        """
        weight = np.ones(len(observations)) if observations.weight is None else observations.weight
        mean, scale = column_moments(observations.values, weight)
        covariance = np.diag(scale) if self.correlated else scale
        return GaussianParameters(
            np.tile(mean, (components, 1)), np.tile(covariance, (components,) + (1,) * covariance.ndim), scale
        )

    def log_density(self, parameters: GaussianParameters, observations: Observations) -> Array:
        """Return the log density of every row's observed part under every component, shape (K, N)."""
        values = observations.values
        if not self.correlated:
            out = np.empty((parameters.components, len(values)))
            diagonal.log_density(values, parameters.mean, parameters.covariance, out)
            return out
        incomplete = incomplete_rows(values)
        if incomplete is None:
            return complete_density(parameters, values)
        order, complete = incomplete
        out = np.empty((parameters.components, len(values)))
        out[:, complete] = complete_density(parameters, np.ascontiguousarray(values[complete]))
        part = np.empty((len(out), len(order)))
        missing.log_density(values[order], parameters.mean, parameters.covariance, part)
        out[:, order] = part
        return out

    def expect(
        self, parameters: GaussianParameters, observations: Observations, responsibility: Array
    ) -> GaussianStatistics:
        """Return the expected statistics of rows that belong to components by shares.

        Parameters
        ----------
        parameters : GaussianParameters
            Whose means the rows are centred at, and who fill in missing values.
        observations : Observations
        responsibility : ndarray, shape (K, N)
            Row weights are in it.
        """
        values, mean, covariance = observations.values, parameters.mean, parameters.covariance
        weight, shift, scatter = np.zeros(len(mean)), np.zeros(mean.shape), np.zeros(covariance.shape)
        if not self.correlated:
            diagonal.accumulate(values, responsibility, mean, covariance, weight, shift, scatter)
        else:
            incomplete = incomplete_rows(values)
            if incomplete is not None:
                order, complete = incomplete
                share = np.ascontiguousarray(responsibility[:, order])
                missing.accumulate(values[order], share, mean, covariance, weight, shift, scatter)
                values = np.ascontiguousarray(values[complete])
                responsibility = np.ascontiguousarray(responsibility[:, complete])
            kernel = wide if values.shape[1] >= WIDE else full
            kernel.accumulate(values, responsibility, mean, weight, shift, scatter)
        moved = centred.settle(weight, shift, mean, matrices(scatter))
        return GaussianStatistics(weight, moved, scatter)

    def moments(self, parameters: GaussianParameters, weight: Array, span: Span) -> GaussianStatistics:  # noqa: ARG002
        """Return the statistics that the components themselves expect of so much data, `weight` of shape (K,)."""
        shape = (-1,) + (1,) * (parameters.covariance.ndim - 1)
        return GaussianStatistics(weight, parameters.mean, weight.reshape(shape) * parameters.covariance)

    def prior(self, parameters: GaussianParameters, weight: float) -> GaussianStatistics:
        """Return pseudo-rows, `weight` a component: at its own mean, as wide as a K-th of the data's volume.

        They hold covariances open without moving means.
        """
        components, columns = parameters.mean.shape
        variance = parameters.scale * components ** (-2.0 / columns)
        scatter = weight * (np.diag(variance) if self.correlated else variance)
        return GaussianStatistics(
            np.full(components, weight), parameters.mean, np.broadcast_to(scatter, parameters.covariance.shape).copy()
        )

    def maximize(self, statistics: GaussianStatistics, previous: GaussianParameters) -> GaussianParameters:
        """Return the parameters under which the statistics are most likely.

        A component of no weight keeps its `previous` parameters; the covariance floor holds afterwards.

        Raises
        ------
        ModelError
            A covariance is not positive definite and there is no floor.
        """
        mean, covariance = centred.normalise(
            statistics.weight,
            statistics.mean,
            matrices(statistics.scatter),
            previous.mean,
            matrices(previous.covariance),
            self.covariance == "tied",
            self.covariance == "spherical",
        )
        covariance = covariance.reshape(statistics.scatter.shape)
        return self.lift(GaussianParameters(mean, covariance, previous.scale))

    def lift(self, parameters: GaussianParameters) -> GaussianParameters:
        """Return the parameters with every variance at least at the floor."""
        scale, covariance, floor = parameters.scale, parameters.covariance, self.covariance_floor
        if not self.correlated:
            least = floor * (np.full_like(scale, scale.mean()) if self.covariance == "spherical" else scale)
            return GaussianParameters(parameters.mean, np.maximum(covariance, least), scale)
        inverse, failed = cholesky.whitening(covariance)
        # no eigenvalue of the scaled covariance is below one over the trace of its inverse
        if failed < 0 and cholesky.largest_trace(inverse, scale) * floor <= 1.0:
            kept = GaussianParameters(parameters.mean, covariance, scale)
            kept.__dict__["whitening"] = inverse
            return kept
        root = np.sqrt(scale)
        values, vectors = np.linalg.eigh(covariance / (root[:, None] * root))
        half = vectors * np.sqrt(np.maximum(values, floor))[:, None, :]
        lifted = half @ half.transpose(0, 2, 1)
        touched = (values[:, 0] < floor)[:, None, None]
        return GaussianParameters(
            parameters.mean, np.where(touched, lifted * (root[:, None] * root), covariance), scale
        )

    def at_floor(self, parameters: GaussianParameters) -> Flags:
        """Return for each component whether the covariance floor holds it up, shape (K,), bool."""
        scale, covariance, least = parameters.scale, parameters.covariance, self.covariance_floor * (1.0 + 1e-6)
        if self.covariance == "spherical":
            return np.asarray(covariance[:, 0] <= least * scale.mean())
        if self.covariance == "diagonal":
            return np.asarray((covariance <= least * scale).any(axis=1))
        root = np.sqrt(scale)
        return np.asarray(np.linalg.eigvalsh(covariance / (root[:, None] * root))[:, 0] <= least)

    def sample(
        self,
        parameters: GaussianParameters,
        component: Labels,
        rng: np.random.Generator,
        exposure: float = 1.0,  # noqa: ARG002
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D)."""
        noise = rng.standard_normal((len(component), parameters.mean.shape[1]))
        if not self.correlated:
            return np.asarray(parameters.mean[component] + np.sqrt(parameters.covariance)[component] * noise)
        factor = np.linalg.cholesky(parameters.covariance)
        out = np.empty_like(noise)
        for k in range(len(factor)):
            rows = component == k
            out[rows] = parameters.mean[k] + noise[rows] @ factor[k].T
        return out

    def relative_entropy(
        self,
        one: GaussianParameters,
        other: GaussianParameters,
        exposure: float = 1.0,  # noqa: ARG002
    ) -> Array:
        """Return KL(N_k of `one` || N_l of `other`) in nats for every pair, shape (K, L)."""
        columns = one.mean.shape[1]
        matrices = [np.stack([np.diag(v) for v in p.covariance]) if p.covariance.ndim == 2 else p.covariance
                    for p in (one, other)]  # fmt: skip
        inverse = cholesky.whitening(matrices[1])[0]
        _, one_log = np.linalg.slogdet(matrices[0])
        other_log = -2.0 * cholesky.log_determinants(inverse)
        out = np.empty((len(one.mean), len(other.mean)))
        for index, white in enumerate(inverse):
            gap = (one.mean - other.mean[index]) @ white.T
            trace = ((white @ matrices[0]) * white).sum(axis=(1, 2))
            out[:, index] = 0.5 * (trace - columns + (gap**2).sum(axis=1) + other_log[index] - one_log)
        return out

    def mean(self, parameters: GaussianParameters) -> Array:
        """Return the means, shape (K, D)."""
        return parameters.mean

    def spread(self, parameters: GaussianParameters) -> Array:
        """Return the standard deviation of every column in every component, shape (K, D)."""
        covariance = parameters.covariance
        return np.sqrt(covariance if covariance.ndim == 2 else np.diagonal(covariance, axis1=1, axis2=2))

    def beside(self, one: GaussianParameters, other: GaussianParameters) -> GaussianParameters:
        """Return the components with the columns of both, those of `one` independent of those of `other`."""
        mean, scale = np.hstack([one.mean, other.mean]), np.append(one.scale, other.scale)
        if self.correlated:
            covariance = np.zeros((*mean.shape, mean.shape[1]))
            covariance[:, : one.columns, : one.columns] = one.covariance
            covariance[:, one.columns :, one.columns :] = other.covariance
        else:
            covariance = np.hstack([one.covariance, other.covariance])
        if self.covariance == "spherical":
            covariance = np.repeat(covariance.mean(axis=1, keepdims=True), mean.shape[1], axis=1)
        return GaussianParameters(mean, covariance, scale)

    def assemble(self, arrays: Mapping[str, Array]) -> GaussianParameters:
        """Return the parameters that `arrays` hold under the names of `GaussianParameters`.

        Raises
        ------
        SnapshotError
            An array is missing or its shape, or a covariance, is impossible.
        """
        mean, covariance, scale = (arrays.get(name, np.empty(0)) for name in ("mean", "covariance", "scale"))
        components, columns = mean.shape if mean.ndim == 2 else (0, 0)
        wanted = (components, columns, columns) if self.correlated else (components, columns)
        if 0 in (components, columns) or covariance.shape != wanted or scale.shape != (columns,):
            raise SnapshotError(
                tell(
                    "parameters of the gaussian family",
                    found=f"mean {mean.shape}, covariance {covariance.shape}, scale {scale.shape}",
                    wanted=f"(K, D), {'(K, D, D)' if self.correlated else '(K, D)'} and (D,), none of them zero",
                    do="use a snapshot of a model with this covariance",
                )
            )
        symmetric = not self.correlated or np.allclose(covariance, covariance.transpose(0, 2, 1), rtol=1e-9, atol=0.0)
        positive = cholesky.whitening(covariance)[1] < 0 if self.correlated else bool((covariance > 0.0).all())
        if not (symmetric and positive and (scale > 0.0).all() and np.isfinite(covariance).all()):
            raise SnapshotError(
                tell(
                    "parameters of the gaussian family",
                    found="a covariance or scale that is not symmetric and positive definite",
                    wanted="covariances of a distribution",
                    do="use a snapshot as streamem wrote it",
                )
            )
        return GaussianParameters(mean, covariance, scale)


def complete_density(parameters: GaussianParameters, values: Array) -> Array:
    """Return the log density of rows without missing values under full covariances, shape (K, N)."""
    out = np.empty((parameters.components, len(values)))
    kernel = wide if values.shape[1] >= WIDE else full
    kernel.log_density(values, parameters.mean, parameters.whitening, parameters.constant, out)
    return out


def incomplete_rows(values: Array) -> tuple[Labels, Labels] | None:
    """Return the rows with missing values, equal patterns side by side, and the complete rows; None if all are."""
    if not np.isnan(np.vdot(values, values)):  # a sum of squares: NaN only from NaN
        return None
    absent = np.isnan(values)
    some = absent.any(axis=1)
    rows = np.flatnonzero(some)
    patterns = np.packbits(absent[rows], axis=1)
    return rows[np.lexsort(patterns.T)], np.flatnonzero(~some)
