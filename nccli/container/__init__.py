"""Bytes of a file and its sections."""
