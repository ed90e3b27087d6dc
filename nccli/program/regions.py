"""The region of interest of one input: its mask, and what the encoder is to make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nccli import files
from nccli.codec.encoding import Encoding
from nccli.masks.choose import choose, named_mask
from nccli.masks.mask import Mask, png_of
from nccli.masks.request import RoiOptions
from nccli.media.formats import is_picture
from nccli.media.picture import Picture
from nccli.program.options import EncodeOptions

if TYPE_CHECKING:
    from nccli.refinement.descent.metric import Importance


@dataclass(frozen=True, eq=False)
class FoundRegion:
    """What is known of an input's region.

    Attributes:
        encoding: the request with the region in it.
        mask: in the picture's size, when there is a region.
        remarks: for the user.
    """

    encoding: Encoding
    mask: Mask | None = None
    remarks: tuple[str, ...] = ()

    def importance(self, gain: float | None) -> Importance | None:
        """Weight of every pixel's squared error in a refinement."""
        from nccli.refinement.importance import importance_of

        return None if self.mask is None else importance_of(self.mask, gain)


def find_region(picture: Picture, options: EncodeOptions, source: str) -> FoundRegion:
    """The region of an input; its mask is kept where the user wants it.

    A refinement weighs pixels, so its steps need no feather unless the user wants one.
    """
    roi, common = options.roi, options.common
    if not roi.wanted:
        roi.check()
        return FoundRegion(options.encoding)
    if options.encoding.refine is not None and roi.roi_feather is None:
        roi = replace(roi, roi_feather=0.0)
    kept = mask_path(roi, source)
    if kept is not None:
        files.refuse_overwrite(kept, common.force)
    name = roi.roi_mask
    given = None if name is None else partial(named_mask, picture, name, source, common.max_pixels)
    selection = choose(picture, roi, given)
    if selection is None:
        return FoundRegion(options.encoding)
    if kept is not None:
        files.write_bytes(kept, png_of(selection.mask), common.force)
    remarks = () if selection.remark is None else (f"{source}: {selection.remark}",)
    if selection.region is None:
        return FoundRegion(options.encoding, remarks=remarks)
    encoding = replace(options.encoding, region=selection.region, background=roi.roi_background)
    return FoundRegion(encoding, selection.mask, remarks)


def mask_path(options: RoiOptions, source: str) -> str | None:
    """Where `--roi-out` wants the mask of an input: a name without a picture's suffix is a folder."""
    out = options.roi_out
    if out is None or out == files.STREAM or is_picture(out):
        return out
    return str(Path(out, f"{Path(source).stem}.png"))
