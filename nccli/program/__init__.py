"""A command over its inputs: options, jobs, workers, reports."""
