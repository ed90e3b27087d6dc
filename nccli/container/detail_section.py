"""Fields of the details section. Source: docs/FORMAT.md section 3.4. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from nccli.bounds import STEP_Y_LIMIT
from nccli.container.framing import Reader, unfold, write_varint, zigzag
from nccli.errors import FormatError

CHANNEL_UNIT = 16
"""Channels in use are counted in these."""

CHECKSUM_BYTES = 2


@dataclass(frozen=True)
class DetailFields:
    """A details section.

    Attributes:
        channels: in use, the first ones; a multiple of `CHANNEL_UNIT`.
        offset: of their log2 steps, 1/64 octave.
        checksum: of their symbols, 16 bits.
        stream: range-coded symbols.
    """

    channels: int
    offset: int
    checksum: int
    stream: bytes


def pack_details(fields: DetailFields) -> bytes:
    """Payload of a details section."""
    head = bytes([fields.channels // CHANNEL_UNIT]) + write_varint(zigzag(fields.offset))
    return head + fields.checksum.to_bytes(CHECKSUM_BYTES, "little") + fields.stream


def unpack_details(payload: bytes, most: int) -> DetailFields:
    """Parse a payload; the model has `most` channels.

    Raises:
        FormatError: out of range or cut short.
    """
    reader = Reader(payload, len(payload))
    units = reader.number(1, "channels of details")
    if not 1 <= units <= most // CHANNEL_UNIT:
        raise FormatError(
            "channels of details", found=units, expected=f"1 .. {most // CHANNEL_UNIT} times {CHANNEL_UNIT}"
        )
    offset = unfold(reader.varint("step of details", 2 * STEP_Y_LIMIT))
    checksum = reader.number(CHECKSUM_BYTES, "checksum of details")
    return DetailFields(units * CHANNEL_UNIT, offset, checksum, payload[reader.offset :])
