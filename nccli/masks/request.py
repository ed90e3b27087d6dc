"""What users say about regions of interest. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from nccli.errors import UsageError


@dataclass(frozen=True)
class RoiOptions:
    """A mask or a model that makes one, and how far quality falls outside it.

    Attributes:
        roi_mask: path of a picture, a folder of pictures with the inputs' names, or boxes `x,y,w,h[;...]`.
        roi_model: what makes the mask instead, see `models`.
        roi_gain: how much more an error inside counts than one outside.
        roi_background: wanted PSNR outside, dB, instead of a gain.
        roi_feather: pixels over which quality falls off outside.
        roi_resize: stretch masks of another aspect.
        roi_out: where to keep the mask that was used; a folder when there are several inputs.
    """

    roi_mask: str | None = None
    roi_model: str | None = None
    roi_gain: float | None = None
    roi_background: float | None = None
    roi_feather: float | None = None
    roi_resize: bool = False
    roi_out: str | None = None

    @property
    def wanted(self) -> bool:
        """There is to be a region."""
        return self.roi_mask is not None or self.roi_model is not None

    def check(self) -> None:
        """Raise UsageError unless the options make sense together."""
        if self.roi_mask is not None and self.roi_model is not None:
            raise UsageError("give either --roi or --roi-model")
        if self.roi_gain is not None and self.roi_background is not None:
            raise UsageError("give either --roi-gain or --roi-background")
        rest = (self.roi_gain, self.roi_background, self.roi_feather, self.roi_out)
        if not self.wanted and (self.roi_resize or any(value is not None for value in rest)):
            raise UsageError("the other --roi options need --roi or --roi-model")
