"""What a picture may lean on when it is coded: something that both sides have already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.networks.interface import Context


@dataclass(frozen=True, eq=False)
class Condition:
    """What encoder and decoder know of a picture beforehand.

    Attributes:
        pixels: (c, h, w) pictures or features in floats, of the picture's own size. Machines may differ in
            their last bits, so g_a and g_s alone see them.
        context: integers, the same on every machine: the only thing beside z and what has been coded
            before that probabilities may depend on.
    """

    pixels: NDArray[np.float32] | None = None
    context: Context | None = None


ALONE = Condition()
"""Nothing: the picture stands for itself."""
