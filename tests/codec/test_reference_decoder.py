from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nccli.catalogue.entries import models_folder
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import decode_stored, encode_picture, model_of
from nccli.coding.payload import read_payload
from nccli.coding.sender import Latents, send
from nccli.container.framing import Section
from nccli.container.image_file import ImageHeader, read_image, write_image
from nccli.container.section_ids import SectionId
from nccli.container.sections import stored_setting
from nccli.entropy.coder import SymbolDecoder, SymbolEncoder, Tables
from nccli.entropy.grid import Grid
from nccli.entropy.rate import lambda_to_rate
from nccli.entropy.region import Region
from nccli.entropy.setting import Setting
from nccli.errors import FormatError
from nccli.media.picture import Picture
from nccli.networks.weights import ImageWeights
from tests import reference_coder
from tests import reference_decoder as reference
from tests.make_vectors import FOLDER
from tests.support import ROOT, Pixels, encode, resealed, with_crc

ESCAPED = [5, -5, 127, 128, -129, 10**5, -(10**5), 2**31 - 1, -(2**31)]
SMALL = Tables(
    frequencies=np.array([1, 2**24 - 2, 1, 2**22, 2**23, 2**22 - 77, 77], np.int32),
    starts=np.array([0, 3, 7], np.int32),
    lowest=np.array([0, -1], np.int32),
)
SMALL_ROWS = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1, *[1] * len(ESCAPED)])
SMALL_SYMBOLS = np.array([-1, 1, 0, 1, 0, 1, -1, 1, 0, *ESCAPED])
SMALL_WORDS = [
    0x0000012E,
    0x5E10FFFD,
    0xFFFFFFFF,
    0xFFAA9FFF,
    0xFFA299FF,
    0xFFB696FF,
    0xAC81B7E6,
    0xACF66965,
    0x30E94486,
    0xC1002243,
    0xABBFFFFF,
    0xFFFFFFEB,
]


def decoded_by_nccli(weights: ImageWeights, data: bytes) -> NDArray[np.int32]:
    container = read_image(data)
    header = container.header
    setting = stored_setting(container)
    grid = Grid.of(header.height, header.width)
    return read_payload(weights, grid, setting, container.section(SectionId.LATENTS)).y_hat


def agree(weights: ImageWeights, data: bytes) -> bool:
    return np.array_equal(reference.decode_y_hat(data, models_folder()), decoded_by_nccli(weights, data))


def test_details_agree() -> None:
    files = [path.read_bytes() for path in sorted(FOLDER.glob("details*.ncc"))]
    assert len(files) >= 3
    for data in files:
        container = read_image(data)
        ours = decode_stored(container, model_of(container, "cpu")).stream
        y_hat, details = reference.decode_image(data, models_folder())
        assert np.array_equal(y_hat, ours.y_hat)
        assert ours.details is not None
        assert details is not None
        assert np.array_equal(details, ours.details.symbols)


def reference_tables(tables: Tables) -> reference.Tables:
    parts = {f"t.{name}": getattr(tables, name) for name in ("frequencies", "starts", "lowest")}
    return reference.Tables.of({name: np.asarray(part, np.int64) for name, part in parts.items()}, "t")


@pytest.mark.parametrize("lmbda", [0.0005, 0.01, 0.15])
@pytest.mark.parametrize("size", [(75, 100), (18, 37), (1, 1)])
def test_the_reference_decoder_agrees(
    weights: ImageWeights, astronaut: Pixels, size: tuple[int, int], lmbda: float
) -> None:
    pixels = np.ascontiguousarray(astronaut[100 : 100 + size[0], 200 : 200 + size[1]])
    assert agree(weights, encode(pixels, lmbda))


def test_the_reference_decoder_agrees_across_bands(weights: ImageWeights, astronaut: Pixels) -> None:
    strips = [astronaut[:, left : left + 20] for left in range(0, 500, 100)]
    pixels = np.concatenate(strips)[:2070]
    assert len(Grid.of(*pixels.shape[:2]).bands()) == 3
    assert agree(weights, encode(pixels, 0.01))


@pytest.mark.parametrize(
    ("rate", "step_y", "step_z", "scale"),
    [
        (0, 1024, 0, 1.0),
        (16000, 0, 1, 3.0),
        (16000, 0, 2, 1e9),
        (20000, -700, 3, 1e4),
        (5000, -1024, 4, 1e9),
        (30000, -300, 5, 30.0),
        (65535, -1024, 6, 1e3),
    ],
)
def test_the_reference_decoder_agrees_at_the_limits(
    weights: ImageWeights, rate: int, step_y: int, step_z: int, scale: float
) -> None:
    """Latents far outside what pictures give: escapes, clamps, every step of z."""
    random = np.random.default_rng(1)
    grid = Grid.of(75, 107)
    y, z = (
        (random.standard_normal(size) ** 5 * scale).astype(np.float32)
        for size in (
            (weights.config.M, grid.height, grid.width),
            (weights.config.hyper_channels, *grid.hyper),
        )
    )
    stream = send(weights, Latents(grid, y, z), Setting(rate, step_y, step_z))
    header = ImageHeader(weights.entry.id, weights.entry.tag, 107, 75, rate, step_y, step_z)
    data = write_image(header, [Section(SectionId.LATENTS, stream.payload)])
    assert np.array_equal(reference.decode_y_hat(data, models_folder()), stream.y_hat)
    assert agree(weights, data)


@pytest.mark.parametrize("lmbda", [0.0006, 0.01, 0.12])
@pytest.mark.parametrize(
    "region",
    [
        Region(np.eye(6, 9, dtype=np.uint8), 1, 0, 0, 1024),
        Region(np.arange(54, dtype=np.uint8).reshape(6, 9) % 16, 15, 0, 3, 200),
        Region(np.array([[1, 0, 2], [0, 2, 0]], np.uint8), 2, 2, 7, 1),
    ],
    ids=["diagonal", "levels", "coarse"],
)
def test_the_reference_decoder_agrees_on_regions(
    weights: ImageWeights, astronaut: Pixels, region: Region, lmbda: float
) -> None:
    picture = Picture(np.ascontiguousarray(astronaut[100:190, 200:340]))
    data = encode_picture(
        picture, Encoding(Rate(lmbda=lmbda), device="cpu", measure=False, region=region)
    ).data
    assert agree(weights, data)
    plain = encode_picture(picture, Encoding(Rate(lmbda=lmbda), device="cpu", measure=False)).data
    assert not np.array_equal(decoded_by_nccli(weights, data), decoded_by_nccli(weights, plain))


def test_damage_is_noticed_by_both(weights: ImageWeights, astronaut: Pixels) -> None:
    data = encode(np.ascontiguousarray(astronaut[:33, :47]), 0.01)
    start = data.index(read_image(data).section(SectionId.LATENTS))
    for place in range(start, len(data) - 4, 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x20
        with pytest.raises(reference.CorruptError):
            reference.decode_y_hat(resealed(bytes(damaged)), models_folder())
        with pytest.raises(FormatError):
            decoded_by_nccli(weights, resealed(bytes(damaged)))


def test_examples_of_the_document() -> None:
    text = (ROOT / "docs" / "FORMAT.md").read_text()
    words = " ".join(f"{word:08X}" for word in SMALL_WORDS)
    assert words in " ".join(text.split())
    images = text[text.index("## 3 Images") :]
    line = next(line for line in images.splitlines() if line.strip().startswith("8e 4e 43 43"))
    file = reference.parse(with_crc(bytes.fromhex(line.replace("CRC", ""))))
    assert (file.width, file.height, file.step_y, file.step_z) == (768, 512, 0, 3)
    assert (file.rate, file.latents) == (lambda_to_rate(0.01), b"\0")


def test_golden_words() -> None:
    SMALL.check()
    encoder = SymbolEncoder()
    encoder.code(SMALL, SMALL_ROWS, SMALL_SYMBOLS)
    stream = encoder.finish()
    assert np.frombuffer(stream.ljust(-(-len(stream) // 4) * 4, b"\0"), "<u4").tolist() == SMALL_WORDS
    coder = reference.RangeDecoder(stream)
    symbols = reference.decode_symbols(coder, reference_tables(SMALL), SMALL_ROWS.tolist())
    coder.check_exhausted()
    assert symbols == SMALL_SYMBOLS.tolist()


@pytest.mark.parametrize("name", ["y_tables", "z_tables"])
def test_constriction_codes_with_exactly_our_frequencies(weights: ImageWeights, name: str) -> None:
    """Every entry of every shipped table, and the bits around each boundary."""
    tables: Tables = getattr(weights, name)
    lengths = np.diff(tables.starts) - 1
    rows = np.repeat(np.arange(tables.rows), lengths)
    symbols = np.concatenate(
        [low + np.arange(length) for low, length in zip(tables.lowest, lengths, strict=True)]
    )
    encoder = SymbolEncoder()
    encoder.code(tables, rows, symbols)
    coder = reference.RangeDecoder(encoder.finish())
    decoded = reference.decode_symbols(coder, reference_tables(tables), rows.tolist())
    coder.check_exhausted()
    assert decoded == symbols.tolist()


def test_noise_decodes_to_the_same_symbols() -> None:
    """Also where no encoder wrote the stream: the same symbols, or an error from both."""
    generator = np.random.default_rng(1)
    cumulative = reference_tables(SMALL)
    failures = 0
    for length in range(400):
        stream = generator.bytes(length % 40) if length % 3 else b"\xff" * (length % 40)
        rows = generator.integers(0, 2, length % 60)
        try:
            wanted = reference.decode_symbols(reference.RangeDecoder(stream), cumulative, rows.tolist())
        except reference.CorruptError:
            failures += 1
            with pytest.raises(FormatError):
                SymbolDecoder(stream).code(SMALL, rows, rows)
        else:
            assert SymbolDecoder(stream).code(SMALL, rows, rows).tolist() == wanted
    assert 0 < failures < 200


def test_the_reference_decoder_is_independent() -> None:
    for file in (reference.__file__, reference_coder.__file__):
        tree = ast.parse(Path(file).read_text())
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported -= {"tests.reference_coder"}
        names = {name.split(".")[0] for name in imported}
        assert names - set(sys.stdlib_module_names) <= {"numpy", "safetensors"}
