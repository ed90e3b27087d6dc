"""Training of the network of foregrounds."""
