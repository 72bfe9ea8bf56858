"""The operators, one a file. A new one is a file here and a line in `OPERATORS`."""

from streamem.stream.operators.lag import Lag
from streamem.stream.operators.learn import Learn
from streamem.stream.operators.order import Order
from streamem.stream.operators.river import River
from streamem.stream.operators.score import Score
from streamem.stream.operators.transform import Transform
from streamem.stream.operators.where import Where

__all__ = ["OPERATORS", "Lag", "Learn", "Order", "River", "Score", "Transform", "Where"]

Declared = type[Transform] | type[Where] | type[River] | type[Lag] | type[Order] | type[Learn] | type[Score]

OPERATORS: dict[str, Declared] = {
    "transform": Transform,
    "where": Where,
    "river": River,
    "lag": Lag,
    "order": Order,
    "learn": Learn,
    "score": Score,
}
"""Every operator by its ``type`` in the pipeline file."""
