"""How pictures are to be encoded: one request, made by whoever asks and passed whole. Standard library only."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from nccli.catalogue.entries import DEFAULT_MODEL, own_lambda
from nccli.codec.refining import RefineOptions
from nccli.entropy.rate import DEFAULT_QUALITY, quality_to_lambda
from nccli.errors import UsageError

if TYPE_CHECKING:
    from nccli.coding.search import Target
    from nccli.entropy.region import Region


@dataclass(frozen=True)
class Rate:
    """What decides the rate; at most one is set.

    With none, a network that was trained for one rate is used at that, others at the default quality.

    Attributes:
        lmbda: trade-off of loss = bpp + lambda * 255^2 * MSE, 0.0005 .. 0.15.
        quality: 0 .. 100, log-linear in lambda.
        bpp: at most this many bits per pixel.
        size: at most this many bytes.
        psnr: at least this PSNR in dB; with a region of interest, inside it.
    """

    lmbda: float | None = None
    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None

    @property
    def given(self) -> int:
        """How many are set."""
        return sum(value is not None for value in astuple(self))

    def check(self) -> None:
        """Raise UsageError if more than one is set."""
        if self.given > 1:
            raise UsageError(f"give only one of {', '.join(RATE_OPTIONS)}")

    def target(self, pixels: int, model: str) -> Target:
        """What it means for a picture of so many pixels and a model.

        Raises:
            UsageError: more than one is set, or a value is out of range.
        """
        from nccli.coding.search import Target

        self.check()
        if self.psnr is not None:
            return Target(psnr=self.psnr)
        if self.size is not None or self.bpp is not None:
            size = self.size if self.size is not None else int((self.bpp or 0) * pixels / 8)
            if size < 1:
                raise UsageError(f"a file of {size} bytes is impossible")
            return Target(size=size)
        return Target(lmbda=self._lambda(model))

    def _lambda(self, model: str) -> float:
        """lambda, where nothing else decides the rate."""
        if self.lmbda is not None:
            return self.lmbda
        own = own_lambda(model)
        if self.quality is None and own is not None:
            return own
        quality = DEFAULT_QUALITY if self.quality is None else self.quality
        if not 0 <= quality <= 100:
            raise UsageError(f"quality {quality:g} is outside 0 .. 100")
        return quality_to_lambda(quality)


RATE_OPTIONS = tuple("lambda" if field.name == "lmbda" else field.name for field in fields(Rate))
"""The fields of `Rate` as users know them."""


@dataclass(frozen=True)
class Encoding:
    """How a picture is to be encoded.

    Attributes:
        rate: what decides the rate.
        model: catalogue name.
        device: `auto`, `cpu` or `cuda`.
        measure: decode again and report PSNR and MS-SSIM.
        region: where the picture is to be better than elsewhere; a wanted PSNR then counts inside it.
        background: wanted PSNR outside the region in dB, which its drop is changed for.
        refine: spend time on a smaller file, in this way; None for not at all.
    """

    rate: Rate = Rate()
    model: str = DEFAULT_MODEL
    device: str = "auto"
    measure: bool = True
    region: Region | None = None
    background: float | None = None
    refine: RefineOptions | None = None
