"""Transforms and the networks that predict densities."""
