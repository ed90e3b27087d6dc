"""The last step of a large picture towards its target: the step of y moved by a little."""

from __future__ import annotations

from dataclasses import replace

from nccli.coding.sender import Stream, send
from nccli.networks.weights import ImageWeights
from nccli.refinement.large import Optimised
from nccli.refinement.verdict import Verdict

REACH = 64
"""Furthest move of step_y, 1/64 octave."""


def trim(weights: ImageWeights, refined: Optimised, stream: Stream, verdict: Verdict) -> Stream:
    """The refined picture at the largest step that reaches a PSNR, or the smallest that fits a size.

    Without a target, the stream as it is.
    """
    if not verdict.targeted:
        return stream
    finer = verdict.finer_until
    low, high = -REACH, REACH
    best: Stream | None = None
    while high - low > 1:
        middle = (low + high) // 2
        setting = replace(refined.setting, step_y=refined.setting.step_y + middle)
        trial = send(weights, refined.latents, setting)
        met = verdict.meets(verdict.measure(trial))
        if met:
            best = trial
        if met == finer:
            high = middle
        else:
            low = middle
    return stream if best is None else best
