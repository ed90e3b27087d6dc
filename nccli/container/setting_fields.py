"""Where on the rate axis a picture is coded, as fields of a file. Source: docs/FORMAT.md section 2.

Standard library only.
"""

from __future__ import annotations

from nccli.bounds import STEP_Y_LIMIT
from nccli.container.framing import Reader, unfold, write_varint, zigzag
from nccli.entropy.setting import Setting
from nccli.errors import FormatError

STEPS_OF_Z = 7
RATE_POINTS = 2**16


def check_setting(rate: int, step_y: int, step_z: int) -> None:
    """Raise ValueError for what no file can hold (a defect of the caller, never of user input)."""
    fits = 0 <= rate < RATE_POINTS and abs(step_y) <= STEP_Y_LIMIT and 0 <= step_z < STEPS_OF_Z
    if not fits:
        raise ValueError(f"setting out of range: rate {rate}, step_y {step_y}, step_z {step_z}")


def write_rate(rate: int, step_y: int) -> bytes:
    """Rate point and step of y."""
    return rate.to_bytes(2, "little") + write_varint(zigzag(step_y))


def read_rate(reader: Reader) -> tuple[int, int]:
    """Rate point and step of y."""
    rate = reader.number(2, "rate")
    return rate, unfold(reader.varint("step_y", 2 * STEP_Y_LIMIT))


def checked_step_z(value: int, offset: int) -> int:
    """An index into the steps of z, found at this byte of a file."""
    if value >= STEPS_OF_Z:
        raise FormatError("step_z", offset=offset, found=value, expected=f"less than {STEPS_OF_Z}")
    return value


def write_setting(setting: Setting) -> bytes:
    """A setting less its region of interest, which is a section of its own."""
    check_setting(setting.rate, setting.step_y, setting.step_z)
    return bytes([setting.step_z]) + write_rate(setting.rate, setting.step_y)


def read_setting(reader: Reader) -> Setting:
    """A setting without a region.

    Raises:
        FormatError: it is cut short or out of range.
    """
    step_z = checked_step_z(reader.number(1, "step_z"), reader.place - 1)
    return Setting(*read_rate(reader), step_z)
