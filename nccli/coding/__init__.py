"""The schedule of symbols, and the encoder's choices along it."""
