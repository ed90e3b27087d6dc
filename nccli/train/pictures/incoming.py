"""Training pictures that arrive while a run goes on."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from nccli.train.pictures.data import TILE, Tiles, load_tiles

INTERVAL = 10.0
"""Seconds between looks."""


class Incoming:
    """Looks for new files in the folders of a run and decodes them beside it.

    Args:
        paths: what the run was given.
        workers: threads that decode.
    """

    def __init__(self, paths: list[Path], workers: int) -> None:
        self._folders = [path for path in paths if path.is_dir()]
        self._workers = workers
        self._seen = self._files()
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[Tiles] | None = None
        self._next = time.monotonic() + INTERVAL

    def poll(self) -> Tiles | None:
        """Tiles of files that have come since, once they are decoded; does not wait."""
        if self._running is not None:
            if not self._running.done():
                return None
            done, self._running = self._running, None
            try:
                return done.result()
            except ValueError:  # no picture among them
                return None
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL
            new = sorted(self._files() - self._seen)
            if new:
                self._seen |= set(new)
                self._running = self._pool.submit(load_tiles, new, TILE, self._workers)
        return None

    def _files(self) -> set[Path]:
        """Whole files; one that is being written has another name until it is done."""
        return {
            item
            for folder in self._folders
            for item in folder.rglob("*")
            if item.is_file() and item.suffix != ".part"
        }
