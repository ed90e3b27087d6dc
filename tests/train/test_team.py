from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from nccli.train.image.course import Plan
from nccli.train.image.loop import Trainer
from nccli.train.optimise.team import ALONE, Team, run_together
from tests.support.training import batch_of

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


def _endless(folder: Path, team: Team) -> None:
    (folder / str(team.rank)).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


def _parent(folder: Path) -> None:
    """Ignores interrupts, as what a script starts in the background does; so do its members."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run_together(partial(_endless, folder), 2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_team_ends_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    parent = get_context("spawn").Process(target=_parent, args=(tmp_path,))
    parent.start()
    notes = [tmp_path / str(rank) for rank in range(2)]
    wait_until(lambda: all(note.exists() and note.read_text() for note in notes))
    members = [int(note.read_text()) for note in notes]
    assert parent.pid is not None
    os.kill(parent.pid, number)
    wait_until(lambda: not any(runs(member) for member in members))


def runs(number: int) -> bool:
    """There is such a process, and it is more than an entry that nobody has collected yet."""
    try:
        return bool(Path(f"/proc/{number}/cmdline").read_bytes())
    except OSError:
        return False


def wait_until(true: Callable[[], bool]) -> None:
    """Raise AssertionError if it takes more than a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def _steps(folder: Path, team: Team) -> Any:
    torch.set_num_threads(1)
    torch.manual_seed(team.rank)
    trainer = Trainer(PLAN, torch.device("cpu"), team)
    team.agree(trainer.model.state_dict().values())
    before = float(trainer.model.g_s.patch.weight.norm())
    for _ in range(3):
        trainer.step(batch_of(torch.rand(1, 3, 64, 64)))
    sums = [float(p.double().sum()) for p in trainer.model.parameters()]
    return [sums, before != float(trainer.model.g_s.patch.weight.norm()), trainer.progress.images]


def test_processes_keep_the_same_weights(tmp_path: Path) -> None:
    """Each sees crops and noise of its own."""
    first, second = results(_steps, tmp_path)
    assert first == second
    assert first[1:] == [True, 6]
