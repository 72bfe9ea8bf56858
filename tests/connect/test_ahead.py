"""Reading ahead: one item, in order, and nothing left behind."""

import threading

import pytest

from streamem.connect import ahead as module
from streamem.connect.ahead import ahead


def numbers(stop, made):
    for number in range(stop):
        made.append(number)
        yield number
    raise ValueError("the end")


def test_an_exception_comes_where_its_item_would_have_come():
    found = []
    with pytest.raises(ValueError, match="the end"):
        found.extend(ahead(numbers(3, [])))
    assert found == [0, 1, 2]


def test_no_more_than_one_item_is_made_ahead_and_the_thread_ends_on_close(monkeypatch):
    monkeypatch.setattr(module, "processors", lambda: 2)
    before, made = threading.active_count(), []
    items = ahead(numbers(9, made))
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert made == [0, 1, 2]
    assert threading.active_count() == before


def test_with_one_processor_each_item_is_made_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(module, "processors", lambda: 1)
    made = []
    items = ahead(numbers(9, made))
    assert [next(items), next(items)] == [0, 1]
    assert made == [0, 1]
    items.close()
