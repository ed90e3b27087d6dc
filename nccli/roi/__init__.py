"""Regions of interest: masks, their place in the bitstream, and models that find them."""
