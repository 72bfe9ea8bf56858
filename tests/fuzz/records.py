"""Records that cannot be used, among good ones, under each policy."""

from collections.abc import Callable
from functools import partial

from tests.fuzz.place import ROWS, Attempt, Place

CSV = {
    "text in a number": lambda n: f"{n},oops,1.0",
    "too few fields": lambda n: f"{n},1.0",
    "too many fields": lambda n: f"{n},1.0,2.0,3.0",
    "an infinite value": lambda n: f"{n},inf,1.0",
    "a huge number": lambda n: f"{n},1e999,1.0",
    "invalid UTF-8": lambda n: f"{n},\udcff\udcfe,1.0",
    "an open quote": lambda n: f'"{n},1.0,2.0',
}
NDJSON = {
    "no JSON": lambda n: f'{{"i": {n}, "x": 1.0, "y":',
    "no object": lambda n: f"[{n}, 1.0]",
    "null": lambda n: "null",
    "text in a JSON number": lambda n: f'{{"i": {n}, "x": "oops", "y": 1.0}}',
    "a list in a number": lambda n: f'{{"i": {n}, "x": [1], "y": 1.0}}',
    "invalid UTF-8 in JSON": lambda n: f'{{"i": {n}, "x": "\udcff", "y": 1.0}}',
    "a JSON number too large": lambda n: f'{{"i": {n}, "x": 1e999, "y": 1.0}}',
    "the token Infinity": lambda n: f'{{"i": {n}, "x": Infinity, "y": 1.0}}',
    "two values on a line": lambda n: f'{{"i": {n}, "x": 1.0, "y": 1.0}} garbage',
}


def spoiled(place: Place, good: list[str], bad: Callable[[int], str], *, last: bool) -> tuple[list[str], list[str]]:
    """Return records with some bad ones among them, and the bad ones."""
    lines, spoilt = list(good), []
    # an open quote takes the rest of its file with it, so it stands at the end
    for number in range(1 if last else place.rng.randint(1, 8)):
        record = bad(ROWS + number)
        lines.insert(len(lines) if last else place.rng.randrange(len(lines) + 1), record)
        spoilt.append(record)
    return lines, spoilt


def bad_records(place: Place, name: str, policy: str) -> Attempt:
    """Write bad records of one sort, and expect what the policy promises."""
    if name in CSV:
        lines, bad = spoiled(place, place.rows(), CSV[name], last=name == "an open quote")
        place.write(lines)
    else:
        lines, bad = spoiled(place, place.objects(), NDJSON[name], last=False)
        place.write_ndjson(lines)
    if policy == "stop":
        return place.run("DataError", "record", 1)
    if policy == "skip":
        place.settings["errors"] = {"policy": "skip"}
        return place.run(None, "", 0, good=ROWS)
    place.dead_letters()
    return place.run(None, "", 0, good=ROWS, bad=bad)


def bad_weight(place: Place) -> Attempt:
    """Weights that are missing or negative."""
    lines = place.rows()
    for row in place.rng.sample(range(ROWS), 5):
        lines[row] = f"{row},1.0,{place.rng.choice(['', 'nan', '-1.5', 'inf'])}"
    place.learn.update(features=["x"], weight="y")
    lines = [
        line if line.split(",")[2] in ("", "nan", "-1.5", "inf") else ",".join([*line.split(",")[:2], "1.5"])
        for line in lines
    ]
    place.write(lines)
    place.settings["errors"] = {"policy": "skip"}
    return place.run(None, "", 0, good=ROWS - 5)


def bad_count(place: Place) -> Attempt:
    """Counts that are negative, not whole or infinite."""
    wrong = ("-1", "2.5", "inf")
    lines = [f"{n},{place.rng.choice([0, 1, 2, 30, 33])},1.0" for n in range(ROWS)]
    for row in place.rng.sample(range(ROWS), 5):
        lines[row] = f"{row},{place.rng.choice(wrong)},1.0"
    place.learn.update(features=["x"])
    place.learn["model"]["family"] = {"type": place.rng.choice(["poisson", "geometric"])}
    place.write(lines)
    place.settings["errors"] = {"policy": "skip"}
    return place.run(None, "", 0, good=ROWS - 5)


def missing_values(place: Place) -> Attempt:
    """Empty fields, NaN, null and absent keys are no mistakes."""
    if place.rng.random() < 0.5:
        place.write([line if n % 9 else f"{n},{place.rng.choice(['', 'NaN', 'nan'])},1.0" for n, line in
                     enumerate(place.rows())])  # fmt: skip
    else:
        missing = ['{"i": 1.0, "y": 2.0}', '{"i": 1.0, "x": null, "y": 2.0}', '{"i": 1.0, "x": NaN, "y": 2.0}']
        place.write_ndjson([o if n % 9 else place.rng.choice(missing) for n, o in enumerate(place.objects())])
    return place.run(None, "", 0, good=ROWS)


def stray_quotes(place: Place) -> Attempt:
    """A quote inside a field is part of it, and swallows nothing."""
    place.write([line if n % 40 else f'{n} 5" pipe,1.0,2.0' for n, line in enumerate(place.rows())])
    place.settings["source"]["schema"] = {"id": "string"}
    return place.run(None, "", 0, good=ROWS)


def too_many_errors(place: Place) -> Attempt:
    """A run gives up over `max_errors`."""
    lines, _ = spoiled(place, place.rows(), CSV["text in a number"], last=False)
    place.write([*lines, "1,oops,1", "2,oops,1"])
    place.settings["errors"] = {"policy": "skip", "max_errors": 1}
    return place.run("DataError", "max_errors", 1)


KINDS = [bad_weight, bad_count, missing_values, stray_quotes, too_many_errors]
for _name in [*CSV, *NDJSON]:
    for _policy in ("stop", "skip", "dead_letter"):
        _kind = partial(bad_records, name=_name, policy=_policy)
        _kind.__name__ = f"{_name}, {_policy}"  # type: ignore[attr-defined]
        KINDS.append(_kind)
