"""The operators, one a file. A new one is a file here and a line in `OPERATORS`."""

from streamem.stream.operators.lag import Lag
from streamem.stream.operators.learn import Learn
from streamem.stream.operators.order import Order
from streamem.stream.operators.score import Score
from streamem.stream.operators.transform import Transform
from streamem.stream.operators.where import Where

__all__ = ["OPERATORS", "Lag", "Learn", "Order", "Score", "Transform", "Where"]

OPERATORS: dict[str, type[Transform] | type[Where] | type[Lag] | type[Order] | type[Learn] | type[Score]] = {
    "transform": Transform,
    "where": Where,
    "lag": Lag,
    "order": Order,
    "learn": Learn,
    "score": Score,
}
"""Every operator by its ``type`` in the pipeline file."""
