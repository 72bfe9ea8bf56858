"""Draw the posteriors of examples/freeway.yaml: ``python examples/picture.py POSTERIORS.ndjson PICTURE.svg``.

Each dot is a record as it came out of the pipeline. Its colour is mixed from those of the regimes by their
probabilities, as they were known at that moment. Nothing was smoothed or computed again afterwards.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree as ET

COLOURS = ("#2a9d8f", "#e09f3e", "#c1324f")
NAMES = ("light", "busy", "dense")
INK, PALE, GRID = "#22303c", "#6b7885", "#e3e8ec"
STEPS = 5  # probabilities are drawn in steps of 1/5, so that dots of one colour are one path


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels, with its ticks."""

    low: float
    high: float
    begin: float
    end: float
    ticks: dict[float, str]

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)


def numbers(values: range) -> dict[float, str]:
    """Return ticks that are labelled by themselves."""
    return {float(value): str(value) for value in values}


def main(source: str, target: str) -> None:
    """Read posteriors and write the picture."""
    records = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    times = [datetime.fromisoformat(record["timestamp"]).replace(tzinfo=UTC).timestamp() for record in records]
    by_component = defaultdict(list)
    for record in records:
        by_component[record["regime.component"]].append(record["occupancy_percent"])
    order = sorted(by_component, key=lambda component: fmean(by_component[component]))
    colours = [mixed([record["regime.probabilities"][component] for component in order]) for record in records]

    canvas = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox="0 0 1000 500", width="1000", height="500", role="img"
    )
    canvas.set("font-family", "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif")
    ET.SubElement(canvas, "title").text = "Freeway records coloured by the regime learned online"
    ET.SubElement(canvas, "rect", width="1000", height="500", fill="#ffffff")
    text(canvas, 56, 34, "Traffic regimes, learned while the records passed", size=19, weight="600")
    for index, (name, colour, component) in enumerate(zip(NAMES, COLOURS, order, strict=True)):
        x = 62 + 170 * index
        ET.SubElement(canvas, "circle", cx=str(x), cy="56", r="5", fill=colour)
        text(canvas, x + 11, 61, f"{name}, {len(by_component[component]):,} records", size=13)

    day = 86400.0
    first = times[0] - times[0] % day
    days = {first + day * n: f"{datetime.fromtimestamp(first + day * n, UTC):%-d %b}" for n in range(1, 17, 3)}
    span = (times[0] - 0.2 * day, times[-1] + 0.2 * day)
    occupancy = [record["occupancy_percent"] for record in records]
    speed = [record["speed_mph"] for record in records]
    along = Axis(*span, 56, 640, days)
    plain = Axis(*span, 56, 640, dict.fromkeys(days, ""))
    tall = Axis(0, 25, 278, 100, numbers(range(0, 26, 5)))
    fast = Axis(20, 110, 460, 312, numbers(range(20, 111, 30)))
    warm = [t for t, record in zip(times, records, strict=True) if record["regime.warmup"]]
    for top, bottom in ((100, 278), (312, 460)):
        width = along(warm[-1]) - along(times[0])
        box = {"x": f"{along(times[0]):.0f}", "y": str(top), "width": f"{width:.0f}", "height": str(bottom - top)}
        ET.SubElement(canvas, "rect", box, fill="#f3f5f7")
    text(canvas, along(times[0]) + 6, 114, f"the start is made from the first {len(warm)}", size=11, fill=PALE)
    panel(canvas, (plain, tall), (times, occupancy), colours)
    panel(canvas, (along, fast), (times, speed), colours)
    across = Axis(20, 110, 704, 976, numbers(range(20, 111, 30)))
    up = Axis(0, 25, 460, 100, numbers(range(0, 26, 5)))
    panel(canvas, (across, up), (speed, occupancy), colours)
    text(canvas, 56, 92, "occupancy, %", size=12, fill=PALE)
    text(canvas, 56, 304, "speed, mph", size=12, fill=PALE)
    text(canvas, 704, 92, "occupancy, %, over speed, mph", size=12, fill=PALE)
    ET.ElementTree(canvas).write(target, encoding="unicode")


def panel(
    canvas: ET.Element, axes: tuple[Axis, Axis], values: tuple[list[float], list[float]], colours: list[str]
) -> None:
    """Draw grid, ticks and dots."""
    right, up = axes
    for value, label in up.ticks.items():
        line(canvas, right.begin, up(value), right.end, up(value))
        text(canvas, right.begin - 7, up(value) + 4, label, size=11, fill=PALE, anchor="end")
    for value, label in right.ticks.items():
        line(canvas, right(value), up.begin, right(value), up.begin + 4)
        text(canvas, right(value), up.begin + 17, label, size=11, fill=PALE, anchor="middle")
    dots = defaultdict(list)
    for x, y, colour in zip(*values, colours, strict=True):
        dots[colour].append(f"M{right(x):.1f} {up(min(y, up.high)):.1f}h0")
    for colour, path in sorted(dots.items()):
        style = {"stroke": colour, "stroke-width": "3.2", "stroke-linecap": "round", "opacity": "0.8"}
        ET.SubElement(canvas, "path", style, d="".join(path))


def mixed(probabilities: list[float]) -> str:
    """Return the colour of a posterior."""
    shares = [round(probability * STEPS) for probability in probabilities]
    channels = [[int(colour[i : i + 2], 16) for colour in COLOURS] for i in (1, 3, 5)]
    blended = [sum(s * c for s, c in zip(shares, channel, strict=True)) / sum(shares) for channel in channels]
    return "#" + "".join(f"{round(channel):02x}" for channel in blended)


def line(canvas: ET.Element, *ends: float) -> None:
    """Draw one line of the grid."""
    place = dict(zip(("x1", "y1", "x2", "y2"), (f"{end:.1f}" for end in ends), strict=True))
    ET.SubElement(canvas, "line", place, stroke=GRID)


def text(
    canvas: ET.Element,
    x: float,
    y: float,
    content: str,
    *,
    size: int,
    fill: str = INK,
    anchor: str = "start",
    weight: str = "400",
) -> None:
    """Write a word or a line."""
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "font-size": str(size), "text-anchor": anchor, "font-weight": weight}
    ET.SubElement(canvas, "text", place, fill=fill).text = content


if __name__ == "__main__":
    main(*sys.argv[1:])
