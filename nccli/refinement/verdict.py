"""Real files compared: the refined one is kept only where it is no worse."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nccli.coding.sender import Stream
from nccli.coding.tiles import Shape, reconstruct
from nccli.entropy.grid import Grid
from nccli.media.metrics import psnr
from nccli.networks.weights import ImageWeights
from nccli.refinement.descent.aims import Control, Fixed, Measured, Quality, Size
from nccli.refinement.descent.metric import Source
from nccli.refinement.windows import windows


class Verdict:
    """Measures streams of one picture as the files and samples they become."""

    def __init__(
        self, weights: ImageWeights, source: Source, pack: Callable[[Stream], bytes], control: Control
    ) -> None:
        self._weights, self._source, self._pack, self._control = weights, source, pack, control
        self._lmbda = control.lmbda
        height, width, channels = source.pixels.shape
        self._shape = Shape(height, width, channels == 1, 8 * source.pixels.dtype.itemsize)
        self._grid = Grid.of(height, width)

    @property
    def targeted(self) -> bool:
        """There is a target that real files must meet."""
        return not isinstance(self._control, Fixed)

    @property
    def finer_until(self) -> bool:
        """A size is met by coarser steps: the finest that meets it is sought. A PSNR the other way round."""
        return isinstance(self._control, Size)

    def size(self, stream: Stream) -> int:
        """Bytes of the file."""
        return len(self._pack(stream))

    def measure(self, stream: Stream) -> Measured:
        """The file and its decoded samples."""
        field = stream.setting.field(self._grid)
        decoded = reconstruct(self._weights, stream.y_hat, field, self._shape)
        squared = self._source.squared(decoded)
        perceptual = 0.0
        if self._source.others and len(windows(self._grid)) == 1:
            shown = Source(decoded).distortion(slice(None), slice(None), self._weights.device).x
            whole = self._source.distortion(slice(None), slice(None), self._weights.device)
            with torch.no_grad():
                perceptual = float(whole.perceptual(shown))
        return Measured(self.size(stream), psnr(self._source.pixels, decoded), squared, perceptual)

    def objective(self, measured: Measured) -> float:
        """bpp + distortion at the lambda of the start."""
        pixels = self._shape.height * self._shape.width
        distortion = self._lmbda * self._source.mse_weight * measured.squared + measured.perceptual
        return measured.bytes * 8 / pixels + distortion

    def meets(self, measured: Measured) -> bool:
        """The target, with real bytes."""
        if isinstance(self._control, Size):
            return measured.bytes <= self._control.size
        return self._control.meets(measured)

    def better(self, measured: Measured, before: Measured) -> bool:
        """The refined file is worth keeping."""
        if not self.meets(measured):
            return False
        if not self.meets(before):
            return True
        if isinstance(self._control, Fixed):
            return self.objective(measured) < self.objective(before)
        if isinstance(self._control, Quality):
            return measured.bytes < before.bytes
        pixels = self._shape.height * self._shape.width
        rate = 8 / pixels
        return self.objective(measured) - measured.bytes * rate < self.objective(before) - before.bytes * rate
