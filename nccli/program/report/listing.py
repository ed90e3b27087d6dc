"""What became of a job, and what is in a file, as flat objects in the field names that users see.

Standard library only.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nccli.container.colour_section import unpack_colour
from nccli.container.image_file import ImageContainer
from nccli.container.section_ids import SectionId
from nccli.entropy.rate import rate_to_lambda
from nccli.networks.entry import Entry
from nccli.program.job import MaskReport, Outcome


def one_or_all(paths: tuple[str, ...]) -> Any:
    """A path by itself, several as a list, an empty text for none."""
    return list(paths) if len(paths) > 1 else "".join(paths)


def outcome_rows(outcome: Outcome) -> dict[str, Any]:
    """An outcome as one flat object, in the field names that users see."""
    rows = {"input": one_or_all(outcome.job.sources), "output": one_or_all(outcome.job.outputs)}
    if outcome.error is not None:
        return rows | {"status": "failed", "error": outcome.error, "exit_code": int(outcome.exit_code)}
    if outcome.report is None:
        return rows | {"status": "skipped"}
    if isinstance(outcome.report, MaskReport):
        return rows | {"status": "done"} | asdict(outcome.report)
    report = asdict(outcome.report)
    measured = ("width", "height", "bytes", "bpp", "psnr", "ms_ssim")
    rows |= {"status": "done"} | {name: report[name] for name in measured}
    rows |= report["roi"] or {}
    rest = {"lambda": report["lmbda"], "model": report["model"], "device": report["device"]}
    return rows | rest | {"seconds": report["seconds"]}


def section_name(number: int) -> str:
    """Name of a section id."""
    known = {int(s): s.name.lower() for s in SectionId}
    return known.get(number, f"unknown 0x{number:02x}")


def info_rows(source: str, container: ImageContainer, entry: Entry | None) -> dict[str, Any]:
    """Every header field and section of a file."""
    header, colour = container.header, container.find(SectionId.COLOUR)
    return {
        "input": source,
        "format": f"{container.version[0]}.{container.version[1]}",
        "kind": container.kind.name.lower(),
        "bytes": container.size,
        "width": header.width,
        "height": header.height,
        "channels": 1 if header.gray else 3,
        "alpha": container.find(SectionId.ALPHA) is not None,
        "depth": header.depth,
        "colour": None if colour is None else str(unpack_colour(colour)),
        "bpp": container.size * 8 / header.pixels,
        "model_id": header.model_id,
        "model": entry.name if entry else None,
        "weights": header.weights_tag.hex(),
        "rate": header.rate,
        "lambda": rate_to_lambda(header.rate),
        "step_y": header.step_y,
        "step_z": header.step_z,
        "sections": [
            {
                "name": section_name(s.id),
                "id": s.id,
                "offset": s.offset,
                "size": s.size,
                "payload": len(s.payload),
            }
            for s in container.sections
        ],
    }
