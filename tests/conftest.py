"""What holds for all tests, and how two workers of pytest-xdist share them.

Where CI runs, hypothesis draws the same examples every time: what fails there fails for everyone. Linear algebra has
one thread: with more, each waits for the others at every small product, which takes many times as long where something
else wants the cores too.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# before numpy and numba are imported, and for the processes that tests start too
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # two processes that compile a function for two kinds of arrays at once may give both the same file of the cache
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / f"numba-{worker}"))

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ALONE = ("tests/broker/", "tests/cli/test_kafka.py", "tests/connect/kafka/")
"""What brokers are killed in, or waited for: one worker takes it all, so that it meets only what is computed beside."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each worker whole modules, whose fixtures are then made once, in the order in which they are collected."""
    from xdist.scheduler import LoadScopeScheduling

    class Modules(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "alone" if nodeid.startswith(ALONE) else nodeid.split("::")[0]

    config.option.loadscopereorder = False
    return Modules(config, log)
