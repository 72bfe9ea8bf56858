"""Records with text among the features, and the operators that learn from it."""

from dataclasses import replace

import numpy as np
import polars as pl

from streamem.em import Categorical, Gaussian, Mixture, Part, Product
from streamem.stream.batch import ROW
from streamem.stream.operators import Learn
from streamem.stream.protocol import Columns
from streamem.stream.snapshots import snapshot_frame
from tests.stream.fakes import batch_of

COUNT = 600
RNG = np.random.default_rng(7)
LABEL = np.arange(COUNT) // 30 % 2
"""Two regimes of 30 rows each, in turn."""


def drawn(names, shares):
    return [str(RNG.choice(names, p=shares[label])) for label in LABEL]


FRAME = pl.DataFrame(
    {
        "device": RNG.choice(["a", "b"], size=COUNT),
        "x": RNG.normal(LABEL * 5.0, 1.0),
        "colour": drawn(["red", "green", "blue"], [[0.8, 0.1, 0.1], [0.05, 0.15, 0.8]]),
        "valve": drawn(["open", "shut"], [[0.9, 0.1], [0.2, 0.8]]),
        "alarm": RNG.random(COUNT) < np.where(LABEL, 0.8, 0.1),
    }
)


LEARNED = Mixture(components=2, family=Categorical())
NAMED = Mixture(components=2, family=Categorical(categories=("blue", "green", "red")))
MIXED = Product(parts=(Part(Gaussian()), Part(Categorical())))
LEARN = Learn(name="r", features=["colour", "valve"], model=LEARNED, warmup_records=150)
COLOUR = replace(LEARN, features=["colour"])


def batches(size=100, frame=FRAME):
    cuts = [batch_of(frame[at : at + size].to_dict()) for at in range(0, frame.height, size)]
    return [replace(batch, number=number) for number, batch in enumerate(cuts)]


def opened(operator, frame=FRAME, columns=None):
    return operator.open(frame.schema, columns or Columns())


def through(step, cuts):
    return [out for batch in cuts for out in step.process(batch)]


def told(out):
    """Return what an operator added, of all batches."""
    return pl.concat([batch.frame for batch in out]).drop(ROW, "r.batch")


def with_cell(row, value, column="colour", frame=FRAME):
    place = pl.when(pl.int_range(pl.len()) == row)
    return frame.with_columns(place.then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


def numbered(names, *columns, frame=FRAME):
    """Return text columns as an oracle has them: the place of each text in `names`."""
    values = [[np.nan if text is None else float(names.index(text)) for text in frame[column]] for column in columns]
    return np.array(values).T


def first_seen(values):
    """Return different values in the order in which they come, written out."""
    names = []
    for value in values:
        if value is not None and value not in names:
            names.append(value)
    return tuple(names)


def snapshot_file(path, step, features):
    frame = snapshot_frame(step.snapshot, name="p", operator="r", inputs={"features": features}, position={}, time=None)
    path.write_text(frame.write_ndjson())
    return str(path)
