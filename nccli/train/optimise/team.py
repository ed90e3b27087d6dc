"""Training in several processes, each with its part of every batch.

On a CPU, processes of one thread each make about half as many steps again as one process with as many
threads: small layers leave threads waiting for each other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from nccli.engine.local import follow_parent


@dataclass(frozen=True)
class Team:
    """The processes of a run, as one of them sees them; by itself, a single process.

    Attributes:
        rank: number of this process; 0 is the one that logs and saves.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """This process logs and saves."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Crops of a batch that this process takes.

        Raises:
            ValueError: a batch that cannot be divided evenly.
        """
        if batch % self.size:
            raise ValueError(f"{self.size} processes cannot share batches of {batch} crops")
        return batch // self.size

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        if self.size == 1:
            return
        parts = list(tensors)
        flat = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(flat)
        flat /= self.size
        means = torch.split(flat, [part.numel() for part in parts])
        for part, mean in zip(parts, means, strict=True):
            part.copy_(mean.view_as(part))

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


ALONE = Team()


def run_together(work: Callable[[Team], None], size: int) -> None:
    """Call `work` in `size` new processes, or in this one when there is to be just one.

    They end with this one, however it ends. `work` and what it holds must survive pickling.
    """
    if size == 1:
        work(ALONE)
        return
    with tempfile.TemporaryDirectory() as folder:
        spawn(_member, (work, size, (Path(folder) / "meeting").as_uri()), size)  # type: ignore[no-untyped-call]


def _member(rank: int, work: Callable[[Team], None], size: int, meeting: str) -> None:
    follow_parent()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    try:
        work(Team(rank, size))
    finally:
        dist.destroy_process_group()
