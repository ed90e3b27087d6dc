"""What users say about regions of interest. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nccli.errors import UsageError
from nccli.files import STREAM
from nccli.media.formats import PICTURE_SUFFIXES

BOXES = re.compile(r"[-\d\s,;]*[,;][-\d\s,;]*")


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

    def check(self, given: bool = False) -> None:
        """Raise UsageError unless the options make sense together; `given` says that a mask is at hand."""
        masked = given or self.roi_mask is not None
        if masked and self.roi_model is not None:
            raise UsageError("give either --roi or --roi-model")
        if self.roi_gain is not None and self.roi_background is not None:
            raise UsageError("give either --roi-gain or --roi-background")
        rest = (self.roi_gain, self.roi_background, self.roi_feather, self.roi_out)
        if (
            not masked
            and self.roi_model is None
            and (self.roi_resize or any(value is not None for value in rest))
        ):
            raise UsageError("the other --roi options need --roi or --roi-model")


def means_boxes(text: str) -> bool:
    """Whether a text is meant as boxes, well written or not."""
    return bool(BOXES.fullmatch(text))


def mask_file(name: str, source: str) -> str | None:
    """The picture that `--roi` names for an input: a file, or one of a folder; None for boxes.

    Raises:
        UsageError: the folder has none of the input's name, or both come from standard input.
    """
    path = Path(name)
    if means_boxes(name) and not path.exists():
        return None
    if path.is_dir():
        return str(_same_name(path, source))
    if name == source == STREAM:
        raise UsageError("picture and mask cannot both come from standard input")
    return name


def _same_name(folder: Path, source: str) -> Path:
    """The picture in a folder of masks that an input's path ends like: most of its folders first."""
    path = Path("" if source == STREAM else source)
    parts = path.relative_to(path.anchor).with_suffix("").parts if path.name else ()
    for first in range(len(parts)):
        tail = folder.joinpath(*parts[first:])
        for suffix in PICTURE_SUFFIXES:
            found = tail.with_name(tail.name + suffix)
            if found.is_file():
                return found
    raise UsageError(f"no mask for {source} in {folder}")
