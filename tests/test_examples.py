"""What users call has an example in its docstring. That each runs is pytest's own check: it collects doctests."""

import ast
import builtins
import doctest
import importlib
from types import FunctionType

import pytest

MODULES = ["em", "estimators", "sklearn", "connect", "stream.operators"]
PIPELINES = [  # `streamem.stream` itself exports nothing: what a pipeline written in Python is made of
    ("stream.pipeline", "Pipeline"),
    ("stream.home", "Checkpoints"),
    ("stream.outputs", "Output"),
    ("stream.protocol", "Columns"),
    ("stream.protocol", "Cuts"),
    ("stream.protocol", "World"),
    ("stream.rejections", "Errors"),
]
METHODS = (FunctionType, classmethod, staticmethod, property)


def exported():
    """Return classes and functions that users call, by name; tables such as FAMILIES are no such things."""
    names = [(module, name) for module in MODULES for name in importlib.import_module(f"streamem.{module}").__all__]
    found = {
        f"{module}.{name}": getattr(importlib.import_module(f"streamem.{module}"), name)
        for module, name in names + PIPELINES
    }
    return {name: thing for name, thing in found.items() if callable(thing)}


def members():
    """Return public methods and properties of the estimators' classes by where they are defined, if in streamem."""
    found = {}
    for name, kind in exported().items():
        if name.split(".")[0] not in ("estimators", "sklearn"):
            continue
        for owner in kind.__mro__:
            if owner.__module__.split(".")[0] != "streamem":
                continue
            for member, value in vars(owner).items():
                if not member.startswith("_") and isinstance(value, METHODS):
                    found[f"{owner.__module__.removeprefix('streamem.')}.{owner.__name__}.{member}"] = value
    return found


EXPORTED, MEMBERS = exported(), members()


def examples(thing):
    return doctest.DocTestParser().get_examples(thing.__doc__ or "")


def test_the_names_are_found():
    assert len(EXPORTED) > 50
    assert len(MEMBERS) > 50
    assert {"em.combine", "connect.FilesSource", "stream.operators.Learn"} <= EXPORTED.keys()
    assert {"estimators.labelled.Labelled.centers", "sklearn.learner.Online.from_snapshot"} <= MEMBERS.keys()


@pytest.mark.parametrize("name", EXPORTED | MEMBERS)
def test_it_has_an_example_that_shows_something(name):
    found = examples((EXPORTED | MEMBERS)[name])
    assert found, f"{name} has no example (>>>) in its docstring"
    called = name.rsplit(".", 1)[1]
    assert any(called in example.source for example in found), f"no example of {name} writes {called}"


@pytest.mark.parametrize("name", EXPORTED | MEMBERS)
def test_its_example_stands_alone(name):
    """A user who copies it has the class at hand, and numpy as np; whatever else it uses it imports."""
    tree = ast.parse("".join(example.source for example in examples((EXPORTED | MEMBERS)[name])))
    known = {"np", *vars(builtins), *name.split(".")}
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
        elif isinstance(node, ast.alias):
            known.add(node.asname or node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
    assert used <= known, f"the example of {name} uses {', '.join(sorted(used - known))} out of nowhere"
