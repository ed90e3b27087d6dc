"""Steps, rates, densities and the range coder."""
