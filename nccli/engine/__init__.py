"""Where many pieces of work are done: processes of this machine, or a Ray cluster.

Every engine makes the same calls with the same arguments, so that the results do not depend on it.
Standard library only; Ray is loaded when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from nccli.errors import MediaError, UsageError

ENGINES = ("local", "ray")
"""What `--engine` takes."""

QUEUE = 4
"""Calls handed out per worker: enough to keep it busy, few enough for millions of inputs."""

T = TypeVar("T")
R = TypeVar("R")

Finished = tuple[T, Callable[[], R]]
"""An item, and a call that returns its result or raises what went wrong."""


class WorkerDied(MediaError):
    """The process that worked on an item is gone."""

    def __init__(self) -> None:
        super().__init__("not done, since a worker process died (out of memory?)")


class Engine(Protocol):
    """Something that makes calls in workers."""

    def run(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[Finished[T, R]]:
        """Call `call` on every item; pairs come in the order in which they are finished.

        Items are taken as workers become free. An item whose worker died has a call that raises
        `WorkerDied`; the others go on.
        """
        ...


def thread_variables(threads: int) -> dict[str, str]:
    """Environment of a worker that is to use so many CPU threads, whatever library does the work."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: str(threads) for name in names} | {"OMP_WAIT_POLICY": "PASSIVE"}


def make_engine(name: str, workers: int, threads: int) -> Engine:
    """An engine by its name.

    Args:
        name: one of `ENGINES`.
        workers: processes.
        threads: CPU threads of each.

    Raises:
        UsageError: no such engine, or its library is not installed.
    """
    if name == "local":
        from nccli.engine.local import LocalEngine

        return LocalEngine(workers, threads)
    if name == "ray":
        from nccli.engine.cluster import RayEngine

        return RayEngine(workers, threads)
    raise UsageError(f"no engine named {name!r}; there are: {', '.join(ENGINES)}")


__all__ = ["ENGINES", "Engine", "Finished", "WorkerDied", "make_engine", "thread_variables"]
