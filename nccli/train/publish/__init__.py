"""A checkpoint into a model of the catalogue, and its figures."""
