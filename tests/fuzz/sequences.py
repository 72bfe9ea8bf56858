"""Chains and systems that cannot be, keys and times that do not serve, and snapshots that no chain can have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.place import ROWS, Attempt, Place
from tests.fuzz.states import done


def hmm(place: Place, **settings: Any) -> None:
    """Learn a hidden Markov model in place of the mixture."""
    place.learn["model"] = {"type": "hmm", "states": 2, "family": {"type": "gaussian"}, **settings}


def kalman(place: Place, **settings: Any) -> None:
    """Learn a tracker over keys k and times t."""
    place.learn["model"] = {"type": "kalman", "dynamics": "constant_position", **settings}
    place.settings.update(key="k", time="t")


def lds(place: Place, **settings: Any) -> None:
    """Learn a linear dynamical system of two coordinates."""
    place.learn["model"] = {"type": "lds", "state_size": 2, **settings}


def tracked(place: Place) -> list[list[str]]:
    """Return good records of three keys with a time, as fields of k, t, x and y."""
    return [[place.rng.choice("abc"), str(1000 + n), *row.split(",")[1:]] for n, row in enumerate(place.rows())]


def write_tracked(place: Place, rows: list[list[str]]) -> None:
    """Write records under the header k,t,x,y."""
    (place.folder / "in.csv").write_text("k,t,x,y\n" + "".join(",".join(row) + "\n" for row in rows))


def counts(place: Place) -> tuple[list[str], list[str]]:
    """Return counts, and what no count can be, each among them once."""
    lines = [f"{n},{place.rng.choice([0, 1, 2, 30, 33])},1.0" for n in range(ROWS)]
    bad = [f"{ROWS + n},{wrong},1.0" for n, wrong in enumerate(("-1", "2.5", "inf"))]
    for record in bad:
        lines.insert(place.rng.randrange(ROWS), record)
    return lines, bad


def hmm_bad_count(place: Place) -> Attempt:
    """A Poisson chain under each policy."""
    lines, bad = counts(place)
    place.write(lines)
    place.learn["features"] = ["x"]
    hmm(place, family={"type": "poisson"})
    if place.rng.random() < 0.5:
        return place.run("DataError", "x", 1)
    place.dead_letters()
    return place.run(None, "", 0, good=ROWS, bad=bad)


def late(place: Place) -> tuple[list[list[str]], list[str]]:
    """Return tracked records, and how those few read that came too late for their key."""
    rows, bad = tracked(place), []
    for row in place.rng.sample(range(200, ROWS), 3):
        rows[row][1] = str(place.rng.randrange(1, 900))
        bad.append(",".join(rows[row]))
    write_tracked(place, rows)
    return rows, bad


def late_without_order(place: Place) -> Attempt:
    late(place)
    kalman(place)
    return place.run("ModelError", "seconds after the record before it", 1)


def late_with_order(place: Place) -> Attempt:
    _, bad = late(place)
    kalman(place)
    policy = place.rng.choice(["error", "drop", "letters"])
    place.settings["operators"].insert(0, {"type": "order", "policy": "drop" if policy == "drop" else "error"})
    if policy == "error":
        return place.run("DataError", "order", 1)
    if policy == "drop":
        return place.run(None, "", 0, good=ROWS - len(bad))
    place.dead_letters()
    return place.run(None, "", 0, good=ROWS - len(bad), bad=bad)


def spoilt_field(place: Place, field: int, wrong: list[str]) -> Attempt:
    """Spoil one field of a few records, with or without `order`, under two policies."""
    rows = tracked(place)
    bad = place.rng.sample(range(ROWS), 3)
    for row in bad:
        rows[row][field] = place.rng.choice(wrong)
    if field == 1:  # text, or it would be the source that refuses them
        for row in set(range(ROWS)) - set(bad):
            rows[row][1] = f"2024-01-01 {row // 3600 + 1:02}:{row // 60 % 60:02}:{row % 60:02}"
    write_tracked(place, rows)
    kalman(place)
    if place.rng.random() < 0.5:
        place.settings["operators"].insert(0, {"type": "order"})
    if place.rng.random() < 0.5:
        return place.run("DataError", f"column {'kt'[field]}", 1)
    place.dead_letters()
    return place.run(None, "", 0, good=ROWS - len(bad), bad=[",".join(rows[row]) for row in bad])


def unreadable_time(place: Place) -> Attempt:
    return spoilt_field(place, 1, ["yesterday", "2024-13-01 00:00:00", ""])


def no_key(place: Place) -> Attempt:
    return spoilt_field(place, 0, [""])


def order_without_time(place: Place) -> Attempt:
    place.write()
    place.settings["operators"].insert(0, {"type": "order"})
    return place.wrong("time")


def wrong_mask(place: Place) -> Attempt:
    """A state that nothing follows, a wrong shape, other numbers than 0 and 1."""
    place.write()
    masks = [[[1, 1], [0, 0]], [[1, 1]], [[1, 1, 1], [1, 1, 1]], [[1, 1], [1]], [[1, 2], [1, 1]], [[-1, 1], [1, 1]]]
    hmm(place, mask=place.rng.choice([*masks, [[0.5, 0.5], [1, 1]]]))
    return place.wrong("mask")


MATRICES: dict[str, list[Any]] = {
    "transition": [[[1.0]], [[1.0, 0.0]], [[1.0, 0.0], [0.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]],
    "observation": [[[1.0], [1.0]], [[1.0, 0.0], [1.0]], [[1.0, 0.0, 0.0]]],
    "transition_covariance": [[[1.0]], [[1.0, 0.0], [0.0]], [[1.0, 0.0]]],
    "initial_mean": [[1.0], [1.0, 2.0, 3.0]],
    "initial_covariance": [[[1.0]], [[1.0, 0.0], [0.0]]],
}
"""Of a state of two coordinates, what its matrices cannot be."""


def wrong_shape(place: Place) -> Attempt:
    place.write()
    name = place.rng.choice(sorted(MATRICES))
    lds(place, **{name: place.rng.choice(MATRICES[name])})
    return place.wrong(name)


def not_positive(place: Place) -> Attempt:
    """A covariance that is none."""
    place.write()
    name = place.rng.choice(["transition_covariance", "observation_covariance", "initial_covariance"])
    learn = {"transition_covariance": "A", "observation_covariance": "C", "initial_covariance": "m1"}[name]
    matrices = [[[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]
    lds(place, learn=[learn], **{name: place.rng.choice(matrices)})
    return place.wrong(name)


def rows_of_observation(place: Place) -> Attempt:
    """More or fewer features than C has rows."""
    place.write()
    lds(place, observation=place.rng.choice([[[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]))
    return place.run("ConfigError", "observation", 2)


def more_states_than_rows(place: Place) -> Attempt:
    """A warm-up with fewer different rows than states."""
    different = [f"{a}.5,{b}.25" for a, b in ((1, 2), (5, 9), (7, 3))]
    place.write([f"{n},{place.rng.choice(different)}" for n in range(ROWS)])
    hmm(place, states=place.rng.randrange(4, 7))
    return place.run("ModelError", "different", 1)


def unknown_model_setting(place: Place) -> Attempt:
    place.write()
    model, settings = place.rng.choice([(hmm, "state"), (hmm, "components"), (kalman, "dynamic"), (lds, "states")])
    model(place, **{settings: 3})
    return place.wrong(settings)


def wrong_choice(place: Place) -> Attempt:
    place.write()
    model, name = place.rng.choice([(hmm, "sequences"), (hmm, "transitions"), (kalman, "dynamics"), (lds, "initial")])
    model(place, **{name: "constant_speed"})
    return place.wrong(name)


def season_without_period(place: Place) -> Attempt:
    place.write()
    kalman(place, dynamics="seasonal", period=place.rng.choice([0, 1]))
    return place.wrong("period")


def no_keys_at_all(place: Place) -> Attempt:
    """`max_keys: 0`, of whichever operator."""
    write_tracked(place, tracked(place))
    kalman(place)
    place.settings["operators"][:0] = [{"type": "order"}, {"type": "lag", "name": "before", "columns": ["x"]}]
    place.rng.choice(place.settings["operators"])["max_keys"] = place.rng.choice([0, -1])
    return place.wrong("max_keys")


def idle_without_time(place: Place) -> Attempt:
    place.write()
    hmm(place)
    place.settings["key"] = "id"
    place.learn["idle_ttl_ms"] = place.rng.randrange(1, 10_000)
    return place.wrong("idle_ttl_ms")


def keys_without_key(place: Place) -> Attempt:
    place.write()
    hmm(place)
    place.learn["max_keys"] = place.rng.randrange(1, 10)
    return place.wrong("max_keys")


def lag_over_text(place: Place) -> Attempt:
    place.write([f"{n},{row.split(',')[1]},word" for n, row in enumerate(place.rows())])
    place.learn["features"] = ["x"]
    place.settings["operators"].insert(0, {"type": "lag", "name": "before", "columns": ["y"]})
    return place.wrong("y")


def unknown_category(place: Place) -> Attempt:
    """A category that the warm-up did not show, and values that number none."""
    lines = [f"{n},{place.rng.randrange(3)},1.0" for n in range(ROWS)]
    wrong = place.rng.choice(["7", "-1", "1.5"])
    lines.insert(place.rng.randrange(250, ROWS), f"{ROWS},{wrong},1.0")
    place.write(lines)
    place.learn["features"] = ["x"]
    place.learn["model"] = {"type": "hmm", "states": 2, "family": {"type": "categorical"}}
    return place.run("ModelError" if wrong == "7" else "DataError", "x", 1)


def snapshot_of(place: Place, change: Callable[[dict[str, Any]], Any]) -> Attempt:
    """Learn an absorbing chain, change its last snapshot, and show or combine it."""
    hmm(place, sequences="absorbing")
    place.settings["key"] = "k"
    (place.folder / "in.csv").write_text(
        "k,x,y\n" + "".join(f"{n // 5},{row.partition(',')[2]}\n" for n, row in enumerate(place.rows()))
    )
    from streamem.config import load

    load(place.file(), []).pipeline().run()
    record = json.loads(place.snapshots.read_text().splitlines()[-1])
    for name in ("parameters", "averaged"):
        change(record[name])
    path = place.folder / "snapshot.json"
    path.write_text(json.dumps(record))
    both = [["show", str(path)], ["combine", str(path), "-o", str(place.folder / "both.json")]]
    return Attempt(place.rng.choice(both), "SnapshotError", "hmm", 2)


def improbable_chain(place: Place) -> Attempt:
    """Probabilities that are negative or do not sum to one."""
    changes: list[Callable[[dict[str, Any]], Any]] = [
        lambda p: p.update(initial=[0.5, 0.4]),
        lambda p: p.update(initial=[1.5, -0.5]),
        lambda p: p["transition"].__setitem__(0, [0.1, 0.1]),
        lambda p: p.update(leaving=[0.0, 0.0]),
        lambda p: p.update(initial=[1.0]),
        lambda p: p.update(transition=[[1.0]]),
        lambda p: p.pop("leaving"),
    ]
    return snapshot_of(place, place.rng.choice(changes))


def endless_absorbing(place: Place) -> Attempt:
    """A chain that can end from no state, or not from one of them."""
    chains = [[[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.5]]]
    chain = place.rng.choice(chains)
    return snapshot_of(place, lambda p: p.update(transition=chain, leaving=[1.0 - sum(row) for row in chain]))


def checkpoint_of_another_model(place: Place) -> Attempt:
    done(place)
    place.rng.choice([hmm, lds])(place)
    return place.run("SnapshotError", "model", 2)


def start_from_another_model(place: Place) -> Attempt:
    done(place)
    place.rng.choice([hmm, lds])(place)
    place.learn["start_from"] = str(place.snapshots)
    place.settings["checkpoint"]["path"] = str(place.folder / "other")
    for number, output in enumerate(place.settings["outputs"]):
        output["sink"]["path"] = str(Path(place.folder / f"{number}.ndjson"))
    return place.run("SnapshotError", "model", 2)


KINDS = [
    hmm_bad_count, late_without_order, late_with_order, unreadable_time, no_key, order_without_time, wrong_mask,
    wrong_shape, not_positive, rows_of_observation, more_states_than_rows, unknown_model_setting, wrong_choice,
    season_without_period, no_keys_at_all, idle_without_time, keys_without_key, lag_over_text, unknown_category,
    improbable_chain, endless_absorbing, checkpoint_of_another_model, start_from_another_model,
]  # fmt: skip
