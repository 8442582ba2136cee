import threading
import time

import pytest

from synctalk.speaking.background import in_background


def test_items_arrive_in_order_and_complete():
    assert list(in_background(range(100), depth=3)) == list(range(100))


def test_only_a_few_items_are_made_ahead_of_a_slow_reader():
    made = []

    def source():
        for i in range(50):
            made.append(i)
            yield i

    reader = in_background(source(), depth=2)
    assert next(reader) == 0
    time.sleep(0.2)
    assert len(made) <= 5
    reader.close()


def test_an_error_is_raised_where_the_item_would_have_been():
    def source():
        yield 1
        raise ValueError("no more")

    reader = in_background(source())
    assert next(reader) == 1
    with pytest.raises(ValueError, match="no more"):
        next(reader)


def test_closing_early_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    reader = in_background(source())
    next(reader)
    reader.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_closing_the_last_of_several_stages_closes_them_all():
    closed = []

    def stage(items, name):
        try:
            yield from items
        finally:
            closed.append(name)

    def endless():
        while True:
            yield 0

    chain = in_background(stage(in_background(stage(endless(), "first")), "second"))
    next(chain)
    chain.close()
    assert sorted(closed) == ["first", "second"]
