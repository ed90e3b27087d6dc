"""The card beside a weights file: where it comes from and what it measured."""

from __future__ import annotations

import json
from pathlib import Path

from nccli.networks.entry import Entry
from nccli.train.image.course import plan_of
from nccli.train.publish.evaluate import COMPARED, Measured

CARD = """# Model `{name}` (id {id})

`{file}`, sha256 `{sha256}`

{about}

| | |
|---|---|
| data | {data} |
| command | `{command}` |
| steps | {step:,} of {batch} crops of {crop}x{crop} pixels ({images:,} images seen) |
| time | {minutes:.0f} minutes of training |
| device | {device} |
| licence | MIT, as the project |

{notes}

## Measured on {pictures}

From whole files and 8-bit pixels, averaged over pictures.

| lambda | bpp | PSNR (dB) | MS-SSIM |
|---|---|---|---|
{table}

BD-rate (Akima interpolation, MS-SSIM in decibels; negative is better):

| against | PSNR | MS-SSIM |
|---|---|---|
{bd_rates}

Channels of y that carry nothing, on all of them at the highest rate: {silent}.

## Validation while training

Averaged weights, rounded latents, estimated bits, the central 256x256 pixels of the tiles held back.

| step | {columns} |
|---|{rule}|
{curve}
"""


def write_card(
    folder: Path,
    entry: Entry,
    run: Path,
    measured: Measured,
    facts: dict[str, str],
) -> Path:
    """Write FILE.md beside the weights.

    Args:
        folder: models folder.
        entry: the model.
        run: its run folder, with log.jsonl and its checkpoint.
        measured: what it came to on the pictures.
        facts: data, command, device, pictures, notes.
    """
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    last, plan = log[-1], plan_of(run / "checkpoint.safetensors")
    columns = [_column(v["lmbda"], v["drop"], v["tiles"]) for v in last["validation"]]
    curve = [
        [f"{row['step']}"]
        + [f"{v['bpp']:.4f} / {v['psnr']:.2f} / {v['loss']:.4f}" for v in row["validation"]]
        for row in log
    ]
    text = CARD.format(
        name=entry.name,
        id=entry.id,
        file=entry.file,
        sha256=entry.sha256,
        about=entry.about,
        step=last["step"],
        images=last["images"],
        minutes=last["seconds"] / 60,
        batch=plan.batch,
        crop=plan.crop,
        table="\n".join(
            f"| {p.setting:g} | {p.bpp:.4f} | {p.psnr:.3f} | {p.ms_ssim:.4f} |" for p in measured.points
        ),
        bd_rates="\n".join(_compared(name, found) for name, found in measured.bd_rates.items()),
        silent=f"{measured.silent} of {measured.channels}",
        columns=" | ".join(columns),
        rule="|".join("---" for _ in columns),
        curve="\n".join("| " + " | ".join(row) + " |" for row in curve),
        **facts,
    )
    path = (folder / entry.file).with_suffix(".md")
    path.write_text(text)
    return path


def _compared(anchor: str, found: dict[str, float]) -> str:
    figures = (f"{found[metric]:+.2f} %" if metric in found else "-" for metric in COMPARED)
    return f"| {anchor} | {' | '.join(figures)} |"


def _column(lmbda: float, drop: float, tiles: str) -> str:
    region = f", in a disc, outside {drop:g} octaves less" if drop else ""
    size = {"half": ", half-size tiles", "screens": ", screens"}.get(tiles, "")
    return f"lambda {lmbda:g}{region}{size}: bpp / dB / loss"
