"""Which files a command works on, and where their outputs go. Standard library only."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nccli.errors import UsageError
from nccli.files import STREAM
from nccli.program.job import Job

NCC_SUFFIXES = (".ncc",)


def default_output(source: str, suffix: str) -> str:
    """The input's path with another suffix; stdout for stdin."""
    return source if source == STREAM else str(Path(source).with_suffix(suffix))


def plan(
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    recursive: bool,
    wanted: tuple[str, ...],
    suffix: str,
) -> list[Job]:
    """The jobs of a command that takes its inputs one by one, see `plan_together`."""
    return plan_together((sources,), output, out_dir, recursive, wanted, suffix)


def plan_together(
    sides: tuple[tuple[str, ...], ...],
    output: str | None,
    out_dir: str | None,
    recursive: bool,
    wanted: tuple[str, ...],
    suffix: str,
) -> list[Job]:
    """The jobs for what a user asked for.

    Inputs that differ only in their suffix, such as a.png and a.jpg, keep it: a.png.ncc, a.jpg.ncc.

    Args:
        sides: files, folders, patterns, or `-`; a job has one input of every side, the first of one with
            the first of the others, and its output is named after that of the first side.
        output: the one output, for one job.
        out_dir: folder of the outputs; those of a folder keep its tree.
        recursive: descend into folders.
        wanted: suffixes taken from folders.
        suffix: of the outputs.

    Raises:
        UsageError: the request makes no sense.
    """
    if output and out_dir:
        raise UsageError("give either --output or --out-dir")
    found = [[pair for source in side for pair in _expand(source, recursive, wanted)] for side in sides]
    counts = [len(side) for side in found]
    if len(set(counts)) > 1:
        raise UsageError(f"inputs go together, but there are {' and '.join(map(str, counts))} of them")
    if sum(map(len, found)) > 1 and any(source == STREAM for side in found for source, _ in side):
        raise UsageError("standard input cannot be one of several inputs")
    groups = [tuple(source for source, _ in group) for group in zip(*found, strict=True)]
    if output:
        if len(groups) > 1:
            raise UsageError(f"{len(groups)} inputs cannot share the output {output}; use --out-dir")
        return [Job(groups[0], (output,))]
    bases = [
        source if source == STREAM else _base(source, relative, out_dir) for source, relative in found[0]
    ]
    return list(dict.fromkeys(_with_outputs(groups, bases, suffix)))


def _with_outputs(groups: list[tuple[str, ...]], bases: list[str], suffix: str) -> Iterator[Job]:
    """Jobs whose outputs all differ; one that would share another's is refused."""
    sharing: dict[str, set[str]] = {}
    for base in bases:
        sharing.setdefault(default_output(base, suffix), set()).add(Path(base).name)
    taken: dict[str, Job] = {}
    for group, base in zip(groups, bases, strict=True):
        short = default_output(base, suffix)
        output = short if len(sharing[short]) == 1 else base + suffix
        job = Job(group, (output,))
        other = taken.setdefault(output, job)
        if other != job:
            job = replace(job, refused=f"{job.name} and {other.name} would both be written to {output}")
        yield job


def _base(source: str, relative: Path, out_dir: str | None) -> str:
    """Where an output goes, with the input's suffix still on."""
    return str(Path(out_dir, relative) if out_dir else Path(source))


def _expand(source: str, recursive: bool, wanted: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Paths behind one argument, each with the part that an output folder keeps."""
    path = Path(source)
    if source != STREAM and not path.exists() and glob.has_magic(source):
        hits = sorted(glob.glob(source, recursive=True))
        if not hits:
            raise UsageError(f"nothing matches {source}")
        return [pair for hit in hits for pair in _expand(hit, recursive, wanted)]
    if source == STREAM or not path.is_dir():
        return [(source, Path(path.name))]
    inside = sorted(path.rglob("*") if recursive else path.iterdir())
    chosen = [p for p in inside if p.suffix.lower() in wanted and p.is_file() and not p.name.startswith(".")]
    if not chosen:
        hint = "" if recursive else " (--recursive looks into its folders)"
        raise UsageError(f"no {' '.join(wanted)} files in {source}{hint}")
    return [(str(p), p.relative_to(path)) for p in chosen]
