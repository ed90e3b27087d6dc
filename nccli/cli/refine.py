"""`ncc refine`, and the refinement options of `ncc encode`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import click

from nccli.cli.common import (
    PATH,
    Decorator,
    common_options,
    encoding_options,
    gathered,
    input_options,
    joined,
    report_options,
)
from nccli.cli.examples import REFINE_EXAMPLES
from nccli.cli.failures import attempt
from nccli.cli.roi import check_roi, roi_options
from nccli.codec.encoding import Encoding
from nccli.codec.refining import PRESETS, Method, RefineOptions, parse_metrics, preset
from nccli.errors import UsageError
from nccli.masks.request import RoiOptions
from nccli.media.formats import PICTURE_SUFFIXES
from nccli.program.options import Common, EncodeOptions
from nccli.program.plan import NCC_SUFFIXES, plan
from nccli.program.work import Deed, Manner, work

POSITIVE = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True)
class Tuning:
    """The options of a refinement as a user gives them; None for what preset or method say."""

    preset: str
    steps: int | None
    seconds: float | None
    method: str
    classes: int
    a: float | None
    r: float | None
    n: float | None
    lr: float | None
    tau_max: float | None
    tau_rate: float | None
    seed: int
    step_z: str
    naive: bool
    base_lambda: float | None
    metrics: tuple[str, ...]
    lpips_weights: str | None

    def options(self) -> RefineOptions:
        """What they amount to."""
        base = preset(self.preset)
        options = replace(
            base,
            steps=base.steps if self.steps is None else self.steps,
            seconds=self.seconds,
            method=Method(self.method),
            classes=self.classes,
            a=self.a,
            r=self.r,
            n=self.n,
            lr=base.lr if self.lr is None else self.lr,
            tau_max=self.tau_max,
            tau_rate=self.tau_rate,
            seed=self.seed,
            search_step_z=self.step_z == "search",
            naive=self.naive,
            base_lambda=self.base_lambda,
            metrics=parse_metrics(self.metrics),
            lpips_weights=self.lpips_weights,
        )
        options.check()
        return options


tuning_options: Decorator = joined(
    click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        default="default",
        show_default=True,
        help="100, 500 or 2000 steps and what goes with them.",
    ),
    click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps."),
    click.option("--time", "seconds", type=POSITIVE, metavar="SECONDS", help="Finish in this time instead."),
    click.option(
        "--method",
        type=click.Choice([method.value for method in Method]),
        default=Method.SSL.value,
        show_default=True,
        help="Stand-in for rounding.",
    ),
    click.option(
        "--classes",
        type=click.IntRange(2, 3),
        default=2,
        show_default=True,
        help="Neighbours that are mixed.",
    ),
    click.option("--a", type=POSITIVE, help="Slope of ssl. [default: 4/3; 1.4 with three classes]"),
    click.option("--r", type=POSITIVE, help="Reach of three classes, 0 .. 1."),
    click.option("--n", type=POSITIVE, help="Power of three classes."),
    click.option("--lr", type=POSITIVE, help="Learning rate, quantiser steps per optimiser step."),
    click.option("--tau-max", type=POSITIVE, help="Highest temperature. [default: 1; atanh 0.5]"),
    click.option("--tau-rate", type=float, help="Temperature exp(-C t). [default: ends at 0.15]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the random roundings."),
    click.option(
        "--step-z",
        type=click.Choice(["search", "fixed"]),
        default="search",
        show_default=True,
        help="Try all steps of z, or keep the model's.",
    ),
    click.option("--naive", is_flag=True, help="Leave all steps alone, for comparison."),
    click.option(
        "--base-lambda", type=POSITIVE, help="Keep the rate point of this lambda; steps make up for it."
    ),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME=WEIGHT",
        help="mse, ms-ssim, lpips or features; may be repeated. [default: mse=1]",
    ),
    click.option(
        "--lpips-weights", type=PATH, metavar="FILE", help="Backbone of lpips, torchvision's AlexNet."
    ),
)
"""The fields of `Tuning`."""


@click.command(epilog=REFINE_EXAMPLES)
@input_options
@encoding_options
@roi_options
@tuning_options
@click.option(
    "--original", metavar="IMG", type=PATH, help="Refine the ncc file IN, which was made of this picture."
)
@click.option("--trace", metavar="FILE.csv", type=click.Path(), help="Write a table of the run.")
@click.option("--plot", metavar="FILE", type=click.Path(), help="Draw the run, .png or .svg.")
@common_options
@report_options
@gathered(manner=Manner, roi=RoiOptions, tuning=Tuning, common=Common, encoding=Encoding)
@click.pass_obj
def refine(
    show_trace: bool,
    sources: tuple[str, ...],
    manner: Manner,
    encoding: Encoding,
    roi: RoiOptions,
    tuning: Tuning,
    common: Common,
    original: str | None,
    trace: str | None,
    plot: str | None,
) -> None:
    """Encode pictures and spend time on making the files smaller at equal quality.

    Or take the latents of an ncc file and its --original as the start. Ctrl-C writes the best so far.
    The result is never worse than the plain encode in bpp + lambda * 255^2 * MSE.
    """
    encoding.rate.check()
    wanted = NCC_SUFFIXES if original else PICTURE_SUFFIXES
    todo = plan(sources, manner.output, manner.out_dir, manner.recursive, wanted, ".ncc")
    if len(todo) > 1 and any((original, trace, plot)):
        raise UsageError("--original, --trace and --plot take a single input")
    check_roi(roi, len(todo))
    if roi.roi_background is not None:
        raise UsageError("refine goes with --roi-gain, not with --roi-background")
    if plot and not plot.lower().endswith((".png", ".svg")):
        raise UsageError(f"plots are .png or .svg, not {plot}")
    encoding = replace(encoding, device=common.device, refine=tuning.options())
    options = EncodeOptions(common, encoding, roi, original, trace, plot)
    work(todo, options, manner, Deed("refined"), show_trace, attempt)
