"""How weights are changed: the optimiser, recorded steps, processes that share the work."""
