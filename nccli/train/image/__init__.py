"""Training of the image models."""
