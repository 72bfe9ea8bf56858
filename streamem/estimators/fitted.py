"""Fitted attributes, as scikit-learn and hmmlearn name them: made of parameters, and read from their fitted models.

Neither library is imported: a fitted model is whatever has the attributes.
"""

from typing import Any

import numpy as np

from streamem.em import HMM, Categorical, Gaussian, LogNormal, Mixture, Multinomial, Poisson, Snapshot
from streamem.em.chain import ChainParameters, stationary
from streamem.em.families import Family
from streamem.em.families.categorical import above_floor
from streamem.em.families.independent import FLOOR
from streamem.em.model import Model
from streamem.em.observations import Array
from streamem.em.online import default_warmup
from streamem.em.rows import numbers
from streamem.errors import ConfigError, DataError, SnapshotError, tell
from streamem.estimators.families import covariance_of

__all__ = ["fitted_attributes", "snapshot_of"]

ROUNDING = 1e-6
"""Probabilities whose sum is no farther from 1 are scaled to it: single precision, or a sum in another order."""


def fitted_attributes(model: Model, parameters: Any) -> dict[str, Array]:
    """Return parameters under the names and in the shapes of scikit-learn and hmmlearn.

    Parameters
    ----------
    model : Mixture or HMM
    parameters : Θ

    Returns
    -------
    dict of str to ndarray
        Copies. Of a mixture ``weights_`` (K,), of a chain ``startprob_`` (K,) and ``transmat_`` (K, K). Of normal
        components ``means_`` (K, D) and ``covariances_``: full (K, D, D), tied (D, D), diag (K, D), spherical (K,);
        of a chain ``covars_`` too, always (K, D, D). Of Poisson ones ``lambdas_`` (K, D), of multinomial ones
        ``emissionprob_`` (K, D), of categorical ones ``emissionprob_`` (K, C), or (K, D, C) for several columns. Of
        every other family ``means_``. Of another model nothing.

    Examples
    --------
    >>> from streamem.em import Observations
    >>> model = Mixture(components=1, family=Gaussian(covariance="spherical"))
    >>> parameters = model.start(Observations([[0.0, 1.0], [2.0, 3.0]]), np.random.default_rng(0))
    >>> {name: array.tolist() for name, array in fitted_attributes(model, parameters).items()}
    {'weights_': [1.0], 'means_': [[1.0, 2.0]], 'covariances_': [1.0]}
    """
    if isinstance(model, Mixture):
        found = {"weights_": parameters.weights} | emitted(model.family, parameters.components)
    elif isinstance(model, HMM):
        found = {"startprob_": parameters.initial, "transmat_": parameters.transition}
        found |= emitted(model.family, parameters.states)
        if "covariances_" in found:
            found["covars_"] = matrices(parameters.states.covariance)
    else:
        found = {}
    return {name: np.array(array) for name, array in found.items()}


def emitted(family: Family, parameters: Any) -> dict[str, Array]:
    """Return the attributes of what components or states give rise to."""
    if isinstance(family, Gaussian) and not isinstance(family, LogNormal):
        covariance = parameters.covariance
        if family.covariance == "tied":
            covariance = covariance[0]
        elif family.covariance == "spherical":
            covariance = covariance[:, 0]
        return {"means_": parameters.mean, "covariances_": covariance}
    if isinstance(family, Categorical):
        one_column = parameters.columns == 1
        return {"emissionprob_": parameters.probability[:, 0] if one_column else parameters.probability}
    if isinstance(family, Multinomial):
        return {"emissionprob_": parameters.mean}
    return {"lambdas_" if isinstance(family, Poisson) else "means_": family.mean(parameters)}


def matrices(covariance: Array) -> Array:
    """Return covariances as matrices, shape (K, D, D)."""
    return covariance if covariance.ndim == 3 else covariance[:, :, None] * np.eye(covariance.shape[1])


def snapshot_of(fitted: Any, *, model: Mixture | HMM | None = None, records: int | None = None) -> Snapshot:
    """Return the snapshot that online learning goes on from after a fit by scikit-learn or hmmlearn.

    Parameters
    ----------
    fitted : GaussianMixture, GaussianHMM, PoissonHMM, CategoricalHMM or MultinomialHMM
        Theirs, fitted, or anything with the same attributes.
    model : Mixture or HMM, optional
        Of the same family and size, where its other settings matter; by default one with the usual settings.
    records : int, optional
        How many records the fit counts for: new ones change it the less the more these are. By default as many as a
        warm-up of this model.

    Raises
    ------
    ConfigError
        It is not fitted, of another kind or size than `model`, or its attributes are no parameters.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> theirs = SimpleNamespace(startprob_=[1.0, 0.0], transmat_=[[0.9, 0.1], [0.5, 0.5]], lambdas_=[[1.0], [20.0]])
    >>> snapshot_of(theirs).parameters.states.mean.tolist()
    [[1.0], [20.0]]
    """
    if records is not None and (isinstance(records, bool) or not isinstance(records, int) or records < 0):
        wanted, do = "a whole number of at least 0", "write 1000, or leave it out"
        raise ConfigError(tell("records", found=repr(records), wanted=wanted, do=do))
    chain = hasattr(fitted, "startprob_") or hasattr(fitted, "transmat_")
    weights = array_of(fitted, "startprob_" if chain else "weights_", 1)
    transition = array_of(fitted, "transmat_", 2) if chain else None
    family = family_of(fitted)
    if model is None:
        size = len(weights)
        model = HMM(states=size, family=family) if chain else Mixture(components=size, family=family)
    check_kind(fitted, model, HMM if chain else Mixture, family)
    shares = weights
    try:
        if transition is not None:
            chained = ChainParameters(weights, transition, np.zeros(len(weights)), None)  # type: ignore[arg-type]
            shares = stationary(chained)
        parts = arrays_of(fitted, family, shares)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise unlike(fitted, f"attributes whose shapes do not fit: {error}") from error
    arrays: dict[str, Any] = {"weights": weights, "components": parts}
    if transition is not None:
        arrays = {"initial": weights, "transition": transition, "leaving": np.zeros(len(weights)), "states": parts}
    try:
        parameters: Any = model.assemble(arrays)
    except SnapshotError as error:
        raise ConfigError(f"{type(fitted).__name__}: {error}") from error
    count = default_warmup(model, parameters.columns) if records is None else records
    return Snapshot(model, parameters, parameters, count, float(count), 0, 0.0, 0.0)


def family_of(fitted: Any) -> Family:
    """Return the family of a fitted model, told by its attributes."""
    if hasattr(fitted, "emissionprob_"):
        return Multinomial() if hasattr(fitted, "n_trials") else Categorical()
    if hasattr(fitted, "lambdas_"):
        return Poisson()
    return Gaussian(covariance=covariance_of(getattr(fitted, "covariance_type", "full")))


def check_kind(fitted: Any, model: Model, kind: type[Any], family: Family) -> None:
    """Refuse a `model` of another kind than what was fitted, with a ConfigError."""
    if isinstance(model, kind):
        mine = model.family
        if type(mine) is type(family) and getattr(mine, "covariance", "") == getattr(family, "covariance", ""):
            return
    wanted, do = f"a {kind.__name__} of {family}", "leave model out, or give one like it"
    raise ConfigError(tell(f"the model for a {type(fitted).__name__}", found=str(model), wanted=wanted, do=do))


def array_of(fitted: Any, name: str, dimensions: int) -> Array:
    """Return an attribute as an array of finite numbers; probabilities sum to 1 then, where rounding is all that lacks.

    Raises
    ------
    ConfigError
        There is none, or it is something else.
    """
    try:
        found = numbers(name, getattr(fitted, name))
    except AttributeError as error:
        raise unlike(fitted, f"no {name}") from error
    except DataError as error:
        raise unlike(fitted, f"{name}: {error}") from error
    if found.ndim != dimensions or not found.size or not np.isfinite(found).all():
        raise unlike(fitted, f"{name} of the shape {found.shape}{', not all finite' * (found.ndim == dimensions)}")
    if name in ("weights_", "startprob_", "transmat_", "emissionprob_"):
        off = found.sum(axis=-1, keepdims=True)
        # sums that a snapshot takes stay as they are, to the bit
        found = found / np.where((np.abs(off - 1.0) > 1e-9) & (np.abs(off - 1.0) < ROUNDING), off, 1.0)
    return found


def arrays_of(fitted: Any, family: Family, shares: Array) -> dict[str, Array]:
    """Return the parameters of components that make up `shares` of all rows, as `Family.assemble` takes them."""
    if isinstance(family, Gaussian):
        mean = array_of(fitted, "means_", 2)
        covariance = covariances_of(fitted, family, mean)
        variance = np.diagonal(covariance, axis1=1, axis2=2) if family.correlated else covariance
        # what the columns vary in all: the floor is relative to it
        scale = shares @ (variance + (mean - shares @ mean) ** 2)
        return {"mean": mean, "covariance": covariance, "scale": scale}
    if isinstance(family, Categorical):
        probability = above_floor(array_of(fitted, "emissionprob_", 2))[:, None]
        return {"probability": probability, "centre": np.einsum("k,kdc->dc", shares / shares.sum(), probability)}
    mean = array_of(fitted, "emissionprob_" if isinstance(family, Multinomial) else "lambdas_", 2)
    centre = shares @ mean
    lifted = np.maximum(mean, FLOOR * centre)
    return {"mean": lifted / lifted.sum(axis=1, keepdims=True) if isinstance(family, Multinomial) else lifted,
            "centre": centre}  # fmt: skip


def covariances_of(fitted: Any, family: Gaussian, mean: Array) -> Array:
    """Return covariances as the family keeps them: (K, D, D), or (K, D) where columns are independent."""
    components, columns = mean.shape
    # hmmlearn shows matrices whatever the type, and other numbers to the one that sets them
    name = "covariances_" if hasattr(fitted, "covariances_") else "covars_"
    dimensions = 3
    if name == "covariances_":
        dimensions = {"full": 3, "tied": 2, "diagonal": 2, "spherical": 1}[family.covariance]
    given = array_of(fitted, name, dimensions)
    if dimensions == 3 and not family.correlated:
        given = np.diagonal(given, axis1=1, axis2=2)
        if family.covariance == "spherical":
            # of these hmmlearn 0.3 shows a matrix for every state and column
            given = given[:: max(1, len(given) // components)]
    elif dimensions == 1:
        given = given[:, None]
    shape = (components, columns, columns) if family.correlated else (components, columns)
    covariance = np.array(np.broadcast_to(given, shape))
    if family.correlated and not np.allclose(covariance, covariance.transpose(0, 2, 1), rtol=1e-9, atol=0.0):
        covariance = 0.5 * (covariance + covariance.transpose(0, 2, 1))  # single precision
    return covariance


def unlike(fitted: Any, found: str) -> ConfigError:
    """Return the error for a model whose attributes are not those of a fitted one."""
    wanted = "a fitted mixture of scikit-learn or HMM of hmmlearn"
    return ConfigError(tell(f"a {type(fitted).__name__}", found=found, wanted=wanted, do="fit it first"))
