"""Stills and clips through PyAV: x264, x265, SVT-AV1; files are raw streams without a container's weight."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from nccli.bench.codecs import Codec
from nccli.bench.coders import Frames
from nccli.bench.planes import Layout, Planes, to_pixels, to_planes
from nccli.errors import MediaError

FORMATS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "obu"}
"""Container of each encoder: the bare stream."""

LAYOUTS = {
    "yuv444p": Layout(half=False, depth=8),
    "yuv420p": Layout(half=True, depth=8),
    "yuv420p10le": Layout(half=True, depth=10),
}

MIN_SIDE = 64
"""Smaller pictures are padded: the encoders refuse them."""

FRAME_RATE = 30


@dataclass(frozen=True)
class ClipCoder:
    """A video encoder at a constant quantiser; a setting is a quantiser.

    Attributes:
        encoder: FFmpeg's name.
        preset: speed.
        pixels: FFmpeg's pixel format.
        threads: CPU threads.
    """

    encoder: str
    preset: str
    pixels: str
    threads: int

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.pixels]

    def encode(self, frames: Frames, setting: float) -> bytes:
        import av

        out = io.BytesIO()
        count, height, width = frames.shape[:3]
        grow = ((0, 0), (0, max(MIN_SIDE - height, 0)), (0, max(MIN_SIDE - width, 0)), (0, 0))
        padded = np.pad(frames, grow, "edge")
        with av.open(out, "w", format=FORMATS[self.encoder]) as container:
            stream: Any = container.add_stream(self.encoder, FRAME_RATE)
            first = to_planes(padded[0], self.layout)
            stream.height, stream.width = first[0].shape
            stream.pix_fmt = self.pixels
            stream.codec_context.color_range = 2  # full, as the samples are
            stream.codec_context.colorspace = 5  # BT.601
            stream.codec_context.thread_count = self.threads
            stream.options = self._options(round(setting), count)
            packets = []
            for pixels in padded:
                packets += stream.encode(_frame(to_planes(pixels, self.layout), self.pixels))
            packets += stream.encode(None)
            for packet in _bare(packets, stream, self.encoder):
                container.mux(packet)
        return out.getvalue()

    def _options(self, qp: int, count: int) -> dict[str, str]:
        """Encoder options: constant quantiser, nothing that trades PSNR for looks, no notes in the file."""
        options = {"preset": self.preset}
        if self.encoder == "libsvtav1":
            still = ":avif=1" if count == 1 else ""
            return options | {"svtav1-params": f"rc=0:qp={qp}:tune=1:lp={self.threads}:aq-mode=0{still}"}
        if self.encoder == "libx264":
            return options | {"qp": str(qp), "tune": "psnr"}
        threads = f"pools={self.threads}:frame-threads=1"
        return options | {"tune": "psnr", "x265-params": f"qp={qp}:info=0:log-level=none:{threads}"}

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Frames:
        import av

        frames = np.empty(shape, np.uint8)
        found = 0
        with av.open(io.BytesIO(data), "r", format=FORMATS[self.encoder]) as container:
            container.streams.video[0].codec_context.thread_count = self.threads
            for frame in container.decode(video=0):
                if found < len(frames):
                    frames[found] = to_pixels(_planes(frame, self.layout), self.layout, shape[1], shape[2])
                found += 1
        if found != len(frames):
            raise MediaError(f"{found} frames came back of {len(frames)}")
        return frames


def _bare(packets: list[Any], stream: Any, encoder: str) -> list[Any]:
    """The packets without x264's note about itself, which counts for nothing in a comparison."""
    if encoder != "libx264":
        return packets
    from av.bitstream import BitStreamFilterContext

    remover = BitStreamFilterContext("filter_units=remove_types=6", stream)
    return [kept for packet in [*packets, None] for kept in remover.filter(packet)]


def _frame(planes: Planes, pixels: str) -> Any:
    import av

    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixels)
    for target, plane in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(target), np.uint8).reshape(plane.shape[0], target.line_size)
        rows[:, : plane.shape[1] * plane.itemsize] = plane.view(np.uint8).reshape(plane.shape[0], -1)
    return frame


def _planes(frame: Any, layout: Layout) -> Planes:
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        wide = np.ascontiguousarray(rows[:, : plane.width * np.dtype(layout.dtype).itemsize])
        found.append(wide.view(layout.dtype))
    y, cb, cr = found
    return y, cb, cr


def make(codec: Codec, threads: int, device: str) -> ClipCoder:
    """A coder for a codec whose home is this module."""
    return ClipCoder(codec.option("encoder"), codec.option("preset"), codec.option("pixels"), threads)
