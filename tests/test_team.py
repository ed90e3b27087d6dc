from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from nccli.train.loop import Plan, Trainer
from nccli.train.team import ALONE, Team, run_together

PLAN = Plan(batch=2, crop=64, warmup=1, z_warmup=0)


def test_batches_are_shared_evenly() -> None:
    assert ALONE.share(5) == 5
    assert Team(1, 4).share(12) == 3
    with pytest.raises(ValueError, match="10 crops"):
        Team(0, 4).share(10)


def test_alone_nothing_changes() -> None:
    x = torch.tensor([1.0, 2.0])
    ALONE.average([x])
    ALONE.agree([x])
    assert x.tolist() == [1, 2]


def results(work: Callable[[Path, Team], Any], folder: Path) -> list[Any]:
    """What two processes found."""
    run_together(partial(_noted, work, folder), 2)
    return [json.loads((folder / str(rank)).read_text()) for rank in range(2)]


def _noted(work: Callable[[Path, Team], Any], folder: Path, team: Team) -> None:
    (folder / str(team.rank)).write_text(json.dumps(work(folder, team)))


def _meeting(folder: Path, team: Team) -> Any:
    matrix, number = torch.full((2, 2), float(team.rank)), torch.tensor(4.0 + team.rank)
    team.average([matrix, number])
    own = torch.tensor([7.0 - team.rank])
    team.agree([own])
    return [matrix.tolist(), float(number), own.tolist(), team.leads]


def test_means_and_agreement(tmp_path: Path) -> None:
    first, second = results(_meeting, tmp_path)
    assert first[:3] == second[:3] == [[[0.5, 0.5], [0.5, 0.5]], 4.5, [7]]
    assert [first[3], second[3]] == [True, False]


def _steps(folder: Path, team: Team) -> Any:
    torch.set_num_threads(1)
    torch.manual_seed(team.rank)
    trainer = Trainer(PLAN, torch.device("cpu"), team)
    team.agree(trainer.model.state_dict().values())
    before = float(trainer.model.g_s.patch.weight.norm())
    for _ in range(3):
        trainer.step(torch.rand(1, 3, 64, 64))
    sums = [float(p.double().sum()) for p in trainer.model.parameters()]
    return [sums, before != float(trainer.model.g_s.patch.weight.norm()), trainer.progress.images]


def test_processes_keep_the_same_weights(tmp_path: Path) -> None:
    """Each sees crops and noise of its own."""
    first, second = results(_steps, tmp_path)
    assert first == second
    assert first[1:] == [True, 6]
