from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Before torch is loaded: threads that spin while waiting slow down fifty times on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from skimage import data
from threadpoolctl import threadpool_limits

from nccli import cli
from nccli.catalogue.entries import DEFAULT_MODEL, find
from nccli.catalogue.load import load_model
from nccli.networks.weights import ImageWeights
from tests.support import Call, Pixels, Sample, encode_sample, frozen


@pytest.fixture(autouse=True, scope="session")
def _interrupts() -> None:
    """A suite that was started in the background would hand ignored interrupts on to its commands."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    with threadpool_limits():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """The command line in this process, in a folder of its own: arguments -> exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NCC_MODEL", raising=False)

    def run(*args: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ncc", *args])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


@pytest.fixture(scope="session")
def weights() -> ImageWeights:
    return load_model(find(DEFAULT_MODEL), "cpu")


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    return frozen(data.astronaut())


@pytest.fixture(scope="session")
def chelsea() -> Pixels:
    return frozen(data.chelsea())


@pytest.fixture(scope="session")
def coffee() -> Pixels:
    return frozen(data.coffee())


@pytest.fixture(scope="session")
def photo(astronaut: Pixels) -> Pixels:
    """192x256, sides multiples of 64: a face, cloth and a sharp background."""
    return frozen(astronaut[32:224, 128:384])


@pytest.fixture(scope="session")
def odd(chelsea: Pixels) -> Pixels:
    """75x101: sides that are multiples of nothing."""
    return frozen(chelsea[90:165, 120:221])


@pytest.fixture(scope="session")
def small(chelsea: Pixels) -> Pixels:
    """33x47: a file of a few hundred bytes."""
    return frozen(chelsea[100:133, 150:197])


@pytest.fixture(scope="session")
def small_sample(weights: ImageWeights, small: Pixels) -> Sample:
    return encode_sample(weights, small, 0.01)


@pytest.fixture(scope="session")
def photo_sample(weights: ImageWeights, photo: Pixels) -> Sample:
    return encode_sample(weights, photo, 0.01)
