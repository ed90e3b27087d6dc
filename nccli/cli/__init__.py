"""The command line: parse, call the API, map errors to exit codes."""

from nccli.cli.program import cli, main

__all__ = ["cli", "main"]
