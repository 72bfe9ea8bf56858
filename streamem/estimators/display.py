"""A learned model as an HTML table, for notebooks."""

from collections.abc import Sequence
from html import escape
from typing import Any

from streamem.em import Snapshot

__all__ = ["html_table"]

SHOWN = 12
"""Features in a table at most."""

OF_FEATURES = ("noise", "observation_sd")
"""What a state space has one number for each feature of."""


def html_table(snapshot: Snapshot | None, names: Sequence[Any], gathered: int) -> str:
    """Return a table of what was learned, a row a component: mean and standard deviation of every feature.

    Examples
    --------
    >>> html_table(None, [], 3)
    '<p>nothing learned yet: 3 records gathered for the start</p>'
    """
    if snapshot is None:
        return f"<p>nothing learned yet: {gathered} records gathered for the start</p>"
    model, rows = snapshot.model, snapshot.model.summary(snapshot.averaged)
    kept = list(names)[:SHOWN]
    plain = [name for name in rows[0] if name not in ("mean", "sd")]
    spread = "mean" in rows[0]
    titles = [*plain, *kept] if spread else ["", *kept]
    head = "".join(f"<th>{escape(str(title))}</th>" for title in titles)
    body = "".join(row_of(row, plain, len(kept)) for row in rows) if spread else noise_rows(rows[0], len(kept))
    more = f"<p>and {len(names) - SHOWN} features more</p>" if len(names) > SHOWN else ""
    caption = f"{model.type} after {snapshot.records_seen:,} records, {snapshot.update:,} updates"
    return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>{more}"


def row_of(row: dict[str, Any], plain: Sequence[str], columns: int) -> str:
    """Return the row of a component."""
    cells = [f"{row[name]:.4g}" for name in plain]
    cells += [f"{mean:.4g} ± {sd:.2g}" for mean, sd in zip(row["mean"][:columns], row["sd"][:columns], strict=True)]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def noise_rows(row: dict[str, Any], columns: int) -> str:
    """Return the rows of a state space: what belongs to features a cell each, all else in one cell across them."""
    body = ""
    for name, values in row.items():
        title, of_features = name.replace("_", " "), name in OF_FEATURES
        for line in values if name == "noise" else [values]:  # a kind of noise is a line of its own
            cells = [f"{value:.4g}" for value in line]
            shown = [f"<td>{cell}</td>" for cell in cells[:columns]] if of_features else [across(cells, columns)]
            body += f"<tr><td>{title}</td>{''.join(shown)}</tr>"
    return body


def across(cells: Sequence[str], columns: int) -> str:
    """Return numbers in one cell."""
    return f'<td colspan="{columns}">{", ".join(cells)}</td>'
