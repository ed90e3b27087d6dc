"""What no file may exceed. Standard library only."""

from __future__ import annotations

MAX_SIDE = 2**16

MAX_PIXELS = 2**28
"""Largest picture the format can hold: 268 megapixels."""

DEFAULT_MAX_PIXELS = 2**27
"""Larger pictures are refused unless the user raises the limit: 134 megapixels."""

MAX_DETAIL_POSITIONS = 2**16
"""Latent positions of the largest picture that may have details, 17 megapixels: bounds the memory for them."""

STEP_Y_LIMIT = 1024
"""Largest magnitude of step_y: 16 octaves."""

DROPS_PER_OCTAVE = 64
"""A region's drop counts 1/64 octaves of lambda."""

MAX_DROP = 16 * DROPS_PER_OCTAVE
MAX_FEATHER = 7
MAX_CELL_LOG2 = 7
MAX_DECISIONS = 2**16
"""Cells times levels of a region: bounds the time that a hostile file can ask for."""
