"""Samples that Pillow cannot hold, or mistakes."""
