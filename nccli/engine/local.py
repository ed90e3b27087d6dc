"""Engine `local`: worker processes of this machine. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from types import FrameType
from typing import Any, NoReturn, TypeVar

from nccli.engine import QUEUE, Finished, WorkerDied, thread_variables

GRACE_SECONDS = 5
"""What a worker that lost its parent has to clean up."""

T = TypeVar("T")
R = TypeVar("R")

_END = object()


@dataclass(frozen=True)
class LocalEngine:
    """Processes that are started afresh, each with its own share of the cores.

    Attributes:
        workers: processes.
        threads: CPU threads of each.
    """

    workers: int
    threads: int

    def run(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[Finished[T, R]]:
        """See `Engine.run`. After a crash what was in flight is tried again, each item alone."""
        source, suspects = iter(items), deque[T]()
        busy: dict[Future[R], T] = {}
        pool = self._pool()
        try:
            while True:
                whole = self._fill(pool, call, busy, source, suspects)
                if not busy and whole:
                    return
                done = wait_for(busy, return_when=FIRST_COMPLETED).done if busy else set()
                alone = len(busy) == 1
                if not whole or any(_broken(future) for future in done):
                    done = wait_for(busy).done
                    pool.shutdown()
                    pool = self._pool()
                for future in done:
                    item = busy.pop(future)
                    if not _broken(future):
                        yield item, future.result
                    elif alone:
                        yield item, _died
                    else:
                        suspects.append(item)
        except BaseException:
            for child in active_children():
                child.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.workers, get_context("spawn"), start_worker, (thread_variables(self.threads),)
        )

    def _fill(
        self,
        pool: ProcessPoolExecutor,
        call: Callable[[T], R],
        busy: dict[Future[R], T],
        source: Iterator[T],
        suspects: deque[T],
    ) -> bool:
        """Hand out calls: many at a time, but those that may kill a worker one by one.

        Returns:
            False when the pool has lost a worker; the item that met it waits in `suspects`.
        """
        limit = 1 if suspects else QUEUE * self.workers
        while len(busy) < limit:
            item: Any = suspects.popleft() if suspects else next(source, _END)
            if item is _END:
                break
            try:
                busy[pool.submit(call, item)] = item
            except BrokenProcessPool:
                suspects.appendleft(item)
                return False
        return True


def _broken(future: Future[Any]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _died() -> NoReturn:
    raise WorkerDied


def start_worker(environment: dict[str, str]) -> None:
    """Leave Ctrl-C to the parent, clean up when told to stop, and do not outlive the parent."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    follow_parent()


def follow_parent() -> None:
    """Let this process end, by SIGTERM, when its parent does."""
    threading.Thread(target=_watch_parent, daemon=True).start()


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Signal handler: unwind, so that temporary files go, then exit."""
    raise SystemExit(128 + number)


def _watch_parent() -> None:
    parent = parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    with contextlib.suppress(ValueError):
        signal.raise_signal(signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
