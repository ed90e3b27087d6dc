"""Recorded steps, as far as a machine without an accelerator can tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nccli.train.optimise.graph import WARM, Replayed

ACCELERATOR = torch.device("cuda")


class Counted:
    """Doubles a tensor, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 2 * x


@pytest.fixture(autouse=True)
def _no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replayed, "_aside", lambda self, inputs: self._work(*inputs))


def forget() -> None:
    raise AssertionError("nothing is recorded")


def results(replayed: Replayed, count: int) -> list[float]:
    return [float(replayed(torch.tensor(float(i)))) for i in range(count)]


def test_on_a_cpu_calls_go_through() -> None:
    work = Counted()
    replayed = Replayed(work, torch.device("cpu"), forget)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert results(replayed, 8) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert work.calls == 8
    assert not replayed.recorded


def test_what_cannot_be_recorded_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    work, tries = Counted(), []

    def fail(self: Replayed) -> Callable[[], None]:
        tries.append(1)
        raise RuntimeError("operation not permitted")

    monkeypatch.setattr(Replayed, "_record", fail)
    replayed = Replayed(work, ACCELERATOR, forget)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results(replayed, WARM)
    with pytest.warns(UserWarning, match="steps are not recorded: operation not permitted"):
        assert float(replayed(torch.tensor(3.0))) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert results(replayed, 4) == [0, 2, 4, 6]
    assert work.calls == WARM + 5
    assert len(tries) == 1
    assert not replayed.recorded


def test_a_recording_sees_new_values_and_keeps_old_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that always works on the memory it was made with."""

    def record(self: Replayed) -> Callable[[], None]:
        self._output = self._work(*self._inputs)
        (given,), output = self._inputs, self._output

        def replay() -> None:
            output.copy_(2 * given)

        return replay

    monkeypatch.setattr(Replayed, "_record", record)
    work = Counted()
    replayed = Replayed(work, ACCELERATOR, forget)
    found = [replayed(torch.tensor(float(i))) for i in range(WARM + 5)]
    assert [float(x) for x in found] == [2.0 * i for i in range(WARM + 5)]
    assert work.calls == WARM + 1
    assert replayed.recorded
