import threading
import time

import pytest

from synctalk.speaking.background import in_background, in_parallel


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


def test_workers_side_by_side_give_their_results_in_order():
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return -item

    assert list(in_parallel(range(30), [slow, slow])) == [(i, -i) for i in range(30)]


def test_no_two_threads_run_one_worker_at_the_same_time():
    busy = [threading.Lock(), threading.Lock()]

    def worker(lock: threading.Lock):
        def work(item: int) -> int:
            assert lock.acquire(blocking=False)
            time.sleep(0.001)
            lock.release()
            return item

        return work

    assert len(list(in_parallel(range(40), [worker(lock) for lock in busy]))) == 40


def test_only_as_many_items_as_workers_wait_for_a_slow_reader():
    taken = []

    def items():
        for i in range(50):
            taken.append(i)
            yield i

    reader = in_parallel(items(), [abs, abs])
    assert next(reader) == (0, 0)
    time.sleep(0.05)
    assert len(taken) <= 4
    reader.close()


def test_an_error_of_a_worker_reaches_the_reader():
    def fails(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    reader = in_parallel(range(10), [fails])
    assert [next(reader)[1] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(reader)
