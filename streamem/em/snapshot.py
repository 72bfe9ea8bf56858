"""What a learner has learned, as one immutable value, and its two written forms.

JSON (`to_json`) is for people and other programs, arrays (`to_arrays`) for checkpoints. Both give back the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from streamem.em.certificate import Certificate
from streamem.em.combine import average, match
from streamem.em.description import build, describe, unreadable
from streamem.em.hmm import HMM
from streamem.em.kalman import Kalman
from streamem.em.lds import LDS
from streamem.em.mixture import Mixture
from streamem.em.model import Model, check_rows
from streamem.em.observations import Array, Observations
from streamem.em.posterior import Posterior
from streamem.errors import ConfigError, SnapshotError, tell

__all__ = ["FORMAT", "MODELS", "Snapshot", "combine"]

FORMAT = "streamem.snapshot/1"

MODELS: dict[str, type[Any]] = {"mixture": Mixture, "hmm": HMM, "kalman": Kalman, "lds": LDS}

COUNTERS = ("records_seen", "weight_seen", "update", "step_size", "log_likelihood")

IN_USE = 0.001
"""A component is in use when its share is at least this."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model with what it has learned so far.

    Parameters
    ----------
    model : Model
    parameters : Θ
        The current ones, which learning goes on from.
    averaged : Θ
        Their running average, less noisy: what is shown, scored and combined.
    records_seen : int
        Rows, the warm-up included.
    weight_seen : float
        The sum of their weights.
    update : int
        How many updates were made.
    step_size : float
        γ of the last one, 0 before the first.
    log_likelihood : float
        Mean of the last batch under the parameters before its update, nats a record.
    certificate : Certificate or None
        Of all updates so far, where the learner was asked for it.

    Examples
    --------
    >>> from streamem.em import Mixture, Observations, OnlineEM
    >>> learner = OnlineEM(Mixture(components=2), warmup_records=4)
    >>> _ = learner.update(Observations(np.array([[0.0], [1.0], [8.0], [9.0]])))
    >>> again = Snapshot.from_json(learner.snapshot.to_json())
    >>> again.records_seen
    4
    """

    model: Model
    parameters: Any
    averaged: Any
    records_seen: int
    weight_seen: float
    update: int
    step_size: float
    log_likelihood: float
    certificate: Certificate | None = None

    @property
    def columns(self) -> int:
        """How many columns a row has."""
        return int(self.parameters.columns)

    def posterior(self, observations: Observations) -> Posterior:
        """Return what the averaged model says of rows; every sequence in them begins there.

        Raises
        ------
        DataError
            Rows of other columns, or a value that the model cannot give rise to.
        """
        check_rows(self.model, observations, self.columns)
        return self.model.posterior(self.averaged, observations)[0]

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as plain JSON values; every number is written so that it reads back as the same bits."""
        return {
            "format": FORMAT,
            "model": describe(self.model),
            "parameters": nested(self.parameters, np.ndarray.tolist),
            "averaged": nested(self.averaged, np.ndarray.tolist),
            **self.counters(),
        }

    def counters(self) -> dict[str, Any]:
        """Return the plain numbers, those of the certificate where there is one."""
        found: dict[str, Any] = {name: getattr(self, name) for name in COUNTERS}
        return found if self.certificate is None else found | {"certificate": asdict(self.certificate)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Snapshot":
        """Return the snapshot that `record` is; keys that are not a snapshot's are ignored.

        Raises
        ------
        SnapshotError
            Another format, a model this version does not know, or parameters that are not of that model.
        """
        if not isinstance(record, Mapping):
            do = "read it first: Snapshot.from_json(json.loads(text))"
            found = "text" if isinstance(record, str) else f"a {type(record).__name__}"
            raise SnapshotError(tell("snapshot", found=found, wanted="a mapping, as to_json gives it", do=do))
        if record.get("format") != FORMAT:
            raise SnapshotError(
                tell(
                    "snapshot: format",
                    found=repr(record.get("format")),
                    wanted=repr(FORMAT),
                    do="use a snapshot written by this version of streamem",
                )
            )
        try:
            model = build(record["model"], MODELS)
            parts = [model.assemble(arrays_of(record[name])) for name in ("parameters", "averaged")]
            counters = {name: number(name, record[name]) for name in COUNTERS}
            certificate = certificate_of(record.get("certificate"))
        except KeyError as error:
            raise unreadable(f"no {error}", "every key of a snapshot") from error
        return cls(model, parts[0], parts[1], **counters, certificate=certificate)

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the plain values and the named arrays that a checkpoint holds."""
        values = {"format": FORMAT, "model": describe(self.model), **self.counters()}
        arrays: dict[str, Array] = {}
        for name in ("parameters", "averaged"):
            flatten(name, nested(getattr(self, name), np.asarray), arrays)
        return values, arrays

    @classmethod
    def from_arrays(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "Snapshot":
        """Return the snapshot that `to_arrays` took apart.

        Raises
        ------
        SnapshotError
            As `from_json`.
        """
        record: dict[str, Any] = dict(values)
        for name, array in arrays.items():
            *folders, leaf = name.split(".")
            place = record
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = array
        return cls.from_json(record)

    def summary(self) -> dict[str, Any]:
        """Return what a table of the averaged model shows: a row for each component, and how many are in use."""
        components = self.model.summary(self.averaged)
        return {
            "components": components,
            "in_use": sum(row.get("share", 1.0) >= IN_USE for row in components),
            "at_floor": int(self.model.at_floor(self.parameters).sum()),
        }


def combine(snapshots: Sequence[Snapshot], weights: Sequence[float] | None = None) -> Snapshot:
    """Return one model from several, trained apart: components are matched, then complete-data moments averaged.

    Parameters
    ----------
    snapshots : sequence of Snapshot
        Of one kind of model; their averaged parameters are combined.
    weights : sequence of float, optional
        α >= 0, by default the weight of the records that each has seen.

    Raises
    ------
    ConfigError
        No snapshots, something else, or weights that are not one number >= 0 for each.
    SnapshotError
        The models differ.

    References
    ----------
    Amid and Warmuth (2020), section 4.

    Examples
    --------
    >>> from streamem.em import Mixture, Observations, OnlineEM
    >>> day, night = (OnlineEM(Mixture(components=1), warmup_records=2) for _ in range(2))
    >>> _ = day.update(Observations([[1.0], [3.0]])), night.update(Observations([[0.0], [2.0]]))
    >>> combine([day.snapshot, night.snapshot]).averaged.components.mean.round(2).tolist()
    [[1.5]]
    """
    if isinstance(snapshots, Snapshot):
        found, do = "a Snapshot", "write combine([a, b])"
        raise ConfigError(tell("combine", found=found, wanted="a list of them", do=do))
    for place, one in enumerate(snapshots, start=1):
        if not isinstance(one, Snapshot):
            do = "leave it out; what a learner in its warm-up has for a snapshot is None"
            found = "None" if one is None else f"a {type(one).__name__}"
            raise ConfigError(tell(f"combine: snapshot {place}", found=found, wanted="a Snapshot", do=do))
    if not snapshots:
        raise ConfigError(tell("combine", found="no snapshots", wanted="at least one", do="name snapshots"))
    alphas = [snapshot.weight_seen for snapshot in snapshots] if weights is None else list(weights)
    if len(alphas) != len(snapshots) or not all(0.0 <= a < np.inf for a in alphas) or not sum(alphas) > 0.0:
        raise ConfigError(
            tell(
                "combine: weights",
                found=str(alphas),
                wanted=f"{len(snapshots)} numbers >= 0, not all of them 0",
                do="give one weight for each snapshot",
            )
        )
    first = snapshots[0]
    for index, other in enumerate(snapshots[1:], start=2):
        check_same(f"combine: snapshot {index}", other, first)
    if first.model.combinable and len(snapshots) > 1:
        wanted = "coordinates that mean the same in all of them: transition and observation given"
        do = "give them, or train one model on all of the data"
        raise SnapshotError(tell("combine", found=first.model.combinable, wanted=wanted, do=do))
    matched = match(first.model, [snapshot.averaged for snapshot in snapshots], alphas)
    parameters = average(first.model, matched, alphas)
    total = sum(snapshot.records_seen for snapshot in snapshots)
    likelihood = sum(a * s.log_likelihood for a, s in zip(alphas, snapshots, strict=True)) / sum(alphas)
    weight_seen = sum(snapshot.weight_seen for snapshot in snapshots)
    update = max(snapshot.update for snapshot in snapshots)
    return Snapshot(first.model, parameters, parameters, total, weight_seen, update, 0.0, likelihood)


ASIDE = ("gate_sigma", "horizon_seconds", "horizon_steps", "smoothed")
"""Settings of a model that are no part of its probabilities: they may differ in what is combined."""


def check_same(place: str, one: Snapshot, first: Snapshot) -> None:
    """Refuse a snapshot whose model is not that of the first, with a SnapshotError that names what differs."""
    mine, theirs = (leaves(describe(each.model)) | {"columns": each.columns} for each in (one, first))
    for name in [*theirs, *(mine.keys() - theirs.keys())]:
        found, wanted = mine.get(name), theirs.get(name)
        if found == wanted or name in ASIDE:
            continue
        do = "combine snapshots of one kind of model"
        if name.endswith("categories") and sorted(found or ()) == sorted(wanted or ()):
            do = "learn them with the same order: name `categories` in the settings"
        raise SnapshotError(tell(place, found=f"{name}: {found}", wanted=f"{wanted}, as the first one", do=do))


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the plain settings of a described model under dotted names."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def nested(value: Any, leaf: Any) -> Any:
    """Return parameters as a nested dictionary, `leaf` applied to each array; a tuple by its places, from "0" on."""
    if is_dataclass(value):
        return {field.name: nested(getattr(value, field.name), leaf) for field in fields(value)}
    if isinstance(value, tuple):
        return {str(place): nested(part, leaf) for place, part in enumerate(value)}
    return leaf(value)


def flatten(prefix: str, tree: Mapping[str, Any], out: dict[str, Array]) -> None:
    """Write the arrays of a nested dictionary to `out` under dotted names."""
    for name, value in tree.items():
        if isinstance(value, dict):
            flatten(f"{prefix}.{name}", value, out)
        else:
            out[f"{prefix}.{name}"] = value


def arrays_of(tree: Any) -> dict[str, Any]:
    """Return a nested dictionary of lists as one of float64 arrays.

    Raises
    ------
    SnapshotError
        Something in it is not a finite number.
    """
    if not isinstance(tree, Mapping):
        raise unreadable(f"parameters that are {type(tree).__name__}", "a mapping of names to numbers")
    out: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            out[name] = arrays_of(value)
            continue
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise unreadable(f"{name} that is not an array of numbers", "equally long rows of numbers") from error
        if not np.isfinite(array).all():
            raise unreadable(f"a number in {name} that is not finite", "finite numbers")
        out[name] = array
    return out


def number(name: str, value: Any) -> Any:
    """Return a counter of a snapshot, checked."""
    whole = name in ("records_seen", "update", "updates", "violations")
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    # an integer beyond 2^63 has no place in a counter, and numpy no name for it
    if not right or not abs(value) < 2**63:
        raise unreadable(f"{name}: {value!r}", "a whole number" if whole else "a finite number")
    if name not in ("log_likelihood", "slack") and value < 0:
        raise unreadable(f"{name}: {value!r}", "a number of at least 0")
    return value if whole else float(value)


def certificate_of(record: Any) -> Certificate | None:
    """Return the certificate in a snapshot record, checked; None where there is none."""
    if record is None:
        return None
    if not isinstance(record, Mapping) or set(record) != {one.name for one in fields(Certificate)}:
        raise unreadable(f"certificate: {record!r}", "slack, updates and violations")
    return Certificate(**{name: number(name, value) for name, value in record.items()})
