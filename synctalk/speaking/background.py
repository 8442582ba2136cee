"""Run a stage of the road in its own thread, with a short queue between it and the next."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class _Done:
    """Marks the end of the stream, with the error that ended it if there was one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def in_background(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Yield the same items, made ahead of time in a thread of their own.

    At most `depth` finished items wait, so memory does not grow when the reader is slower. When the
    reader stops early (`close()`, or an error of its own), the thread is told to stop, its own source
    is closed, and the call returns only after the thread has ended: nothing keeps running unseen.

    Args:
        items: what to iterate in the background.
        depth: how many finished items may wait.

    Raises:
        whatever `items` raises, at the place where the item would have been.
    """
    waiting: queue.Queue[Item | _Done] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: "Item | _Done") -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        source = iter(items)
        error: BaseException | None = None
        try:
            for item in source:
                if not put(item):
                    break
        except BaseException as problem:
            error = problem
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            put(_Done(error))

    def read() -> Generator[Item, None, None]:
        thread = threading.Thread(target=work, name="synctalk-stage", daemon=True)
        thread.start()
        try:
            while not isinstance(item := waiting.get(), _Done):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            stopped.set()
            thread.join()

    return read()


def in_parallel(
    items: Iterable[Item], workers: "list[Callable[[Item], Made]]"
) -> Generator[tuple[Item, Made], None, None]:
    """Yield each item with what a worker makes of it, in order; each worker has a thread of its own.

    Args:
        items: what to work on.
        workers: functions that do the same; no two threads run one of them at the same time.

    Raises:
        whatever `items` or a worker raises.
    """
    idle: queue.SimpleQueue[Callable[[Item], Made]] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def work(item: Item) -> Made:
        worker = idle.get()
        try:
            return worker(item)
        finally:
            idle.put(worker)

    waiting: deque[tuple[Item, Future[Made]]] = deque()
    with ThreadPoolExecutor(len(workers), "synctalk-worker") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                while waiting and (len(waiting) > len(workers) or waiting[0][1].done()):
                    done, made = waiting.popleft()
                    yield done, made.result()
            while waiting:
                done, made = waiting.popleft()
                yield done, made.result()
        finally:
            for _, unfinished in waiting:
                unfinished.cancel()
