"""Engine `ray`: workers of a Ray cluster; the only import of ray.

Without a cluster (`RAY_ADDRESS`) one is started on this machine. Machines of a cluster must see the
inputs and outputs under the same paths and have ncc installed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from nccli.engine import QUEUE, Finished, WorkerDied, thread_variables
from nccli.errors import UsageError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class RayEngine:
    """Ray actors, each a process with its own share of the cores.

    Attributes:
        workers: actors.
        threads: CPU threads of each, and so the cores that it asks the cluster for.

    Raises:
        UsageError: ray is not installed.
    """

    workers: int
    threads: int

    def __post_init__(self) -> None:
        _load()

    def run(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[Finished[T, R]]:
        """See `Engine.run`.

        Raises:
            UsageError: the cluster has too few cores.
        """
        ray = _load()
        mine = not ray.is_initialized()
        if mine:
            _connect(ray, self.workers * self.threads)
        try:
            yield from self._run(ray, call, iter(items))
        finally:
            if mine:
                ray.shutdown()

    def _run(self, ray: Any, call: Callable[[T], R], source: Iterator[T]) -> Iterator[Finished[T, R]]:
        needed, found = self.workers * self.threads, int(ray.cluster_resources().get("CPU", 0))
        if needed > found:
            raise UsageError(
                f"the Ray cluster has {found} cores, fewer than {self.workers} workers of "
                f"{self.threads} threads need; lower --jobs or --threads"
            )
        environment = {"env_vars": thread_variables(self.threads)}
        options = {"num_cpus": self.threads, "max_restarts": -1, "runtime_env": environment}
        kind = ray.remote(**options)(Worker)
        free = [kind.remote(os.getcwd()) for _ in range(self.workers)] * QUEUE
        remote_call = ray.put(call)
        busy: dict[Any, tuple[T, Any]] = {}
        end = object()
        while True:
            while free and (item := next(source, end)) is not end:
                actor = free.pop(0)
                busy[actor.do.remote(remote_call, item)] = (item, actor)  # type: ignore[assignment]
            if not busy:
                return
            done, _ = ray.wait(list(busy), num_returns=1)
            for reference in done:
                item, actor = busy.pop(reference)
                free.append(actor)
                yield item, partial(_collect, ray, reference)


class Worker:
    """What runs in a worker process of the cluster."""

    def __init__(self, folder: str) -> None:
        """Begin in the folder that relative paths start from."""
        os.chdir(folder)

    def do(self, call: Callable[[T], R], item: T) -> R:
        """One call."""
        return call(item)


def _load() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs the package ray: pip install 'nccli[ray]'") from None
    return ray


def _connect(ray: Any, cores: int) -> None:
    """Join the cluster of `RAY_ADDRESS`, or start one on this machine that has so many cores."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "num_cpus": max(cores, os.cpu_count() or 1)}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise UsageError(f"cannot reach the Ray cluster: {error}") from error


def _collect(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayActorError:
        raise WorkerDied from None
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
