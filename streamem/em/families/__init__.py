"""Exponential families: what a component of a mixture is made of. A new one is a file and a line here."""

from typing import Any

from streamem.em.families.gaussian import Gaussian

__all__ = ["FAMILIES", "Gaussian"]

FAMILIES: dict[str, type[Any]] = {"gaussian": Gaussian}
