"""Write docs/ncc.1 from the program's own help: `python tools/make_man.py`."""

from __future__ import annotations

from pathlib import Path

import click

from nccli.cli import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ncc.1"

FILES = """.SH ENVIRONMENT
.TP
.B NCC_DEVICE
where the networks run: auto, cpu or cuda.
.TP
.B NCC_MODEL
the model that encodes.
.TP
.B NCC_CACHE
folder for networks that `ncc models fetch` brings.
.TP
.B NCC_THREADS
CPU threads.
.TP
.B NO_COLOR
when set, no colours on a terminal.
.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
a defect of the program
.TP
.B 2
the request makes no sense or cannot be met
.TP
.B 3
a corrupt file
.TP
.B 4
a file of an unsupported version, or a missing model
.TP
.B 5
a picture or file that cannot be read or written, or is above a limit
.TP
.B 130
interrupted
.PP
With several inputs each failure is reported, the rest goes on, and the first failure's code is returned.
"""


def _plain(text: str) -> str:
    """Text with roff's special characters made harmless."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("\n.", "\n\\&.").strip()


def _options(command: click.Command, context: click.Context) -> str:
    out = ""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            out += f".TP\n.B {_plain(record[0])}\n{_plain(record[1])}\n"
    return out


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"ncc {name}", help_option_names=["-h", "--help"])
    usage = " ".join(command.collect_usage_pieces(context))
    out = f".SS ncc {name} {_plain(usage)}\n{_plain(command.help or '')}\n{_options(command, context)}"
    lines = [
        line for line in (command.epilog or "").splitlines() if line.strip() not in ("", "\b", "Examples:")
    ]
    if lines:
        out += ".PP\nExamples:\n.PP\n.nf\n" + "\n".join(_plain(line) for line in lines) + "\n.fi\n"
    if isinstance(command, click.Group):
        for part, below in sorted(command.commands.items()):
            out += _command(f"{name} {part}", below)
    return out


def man_page() -> str:
    """The manual page in roff."""
    out = '.TH NCC 1 "" "ncc" "User Commands"\n.SH NAME\nncc \\- neural image codec\n'
    out += ".SH SYNOPSIS\n.B ncc\n[\\-\\-version] [\\-\\-traceback] COMMAND [OPTIONS] ARGUMENTS\n"
    out += ".SH DESCRIPTION\nTurns pictures into small files with a neural network, and back. The files decode to "
    out += "the same symbols on every machine.\n.SH COMMANDS\n"
    for name, command in sorted(cli.commands.items()):
        out += _command(name, command)
    return out + FILES


if __name__ == "__main__":
    PAGE.write_text(man_page())
