"""Latent refinement: spend encoder time on a better file for the same decoder (docs/refine.md)."""
