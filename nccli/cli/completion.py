"""`ncc completion`: scripts that teach shells the program's options."""

from __future__ import annotations

import click

from nccli.cli.examples import COMPLETION_EXAMPLES


@click.command(epilog=COMPLETION_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that teaches a shell to complete ncc's options."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is not None:
        print(kind(context.find_root().command, {}, "ncc", "_NCC_COMPLETE").source())
