"""The command line: parse, call the API, map errors to exit codes."""

from nccli.cli.group import cli, main

__all__ = ["cli", "main"]
