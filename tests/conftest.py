"""Where CI runs, hypothesis draws the same examples every time: what fails there fails for everyone."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
