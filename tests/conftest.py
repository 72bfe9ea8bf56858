"""What holds for all tests.

Where CI runs, hypothesis draws the same examples every time: what fails there fails for everyone. Linear algebra has
one thread: with more, each waits for the others at every small product, which takes many times as long where something
else wants the cores too.
"""

import os

from hypothesis import settings

# before numpy is imported, and for the processes that tests start too
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
