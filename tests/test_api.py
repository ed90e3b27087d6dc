from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import nccli
from nccli.api import to_picture
from nccli.codec.encoding import Rate
from tests.support import Pixels, run_python


def test_every_kind_of_image_object_is_the_same_picture(small: Pixels) -> None:
    expected = nccli.encode(small).data
    same = [
        Image.fromarray(small),
        small / np.float32(255),
        torch.tensor(small).permute(2, 0, 1),
        torch.tensor(small).permute(2, 0, 1) / 255,
        np.dstack([small, np.full(small.shape[:2], 255, np.uint8)]),
        small[:, ::-1][:, ::-1],
    ]
    for image in same:
        assert nccli.encode(image).data == expected


def test_round_trip(photo: Pixels) -> None:
    encoded = nccli.encode(photo, lmbda=0.05, measure=True)
    decoded = nccli.decode_array(encoded.data)
    assert decoded.shape == photo.shape
    assert np.abs(decoded.astype(int) - photo).mean() < 6
    assert encoded.report.bytes == len(encoded.data)
    assert (encoded.report.psnr or 0) > 30
    image = nccli.decode(encoded.data)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), decoded)


def test_gray_and_alpha(small: Pixels) -> None:
    gray, alpha = small[..., 0], small[..., 1]
    assert nccli.decode(nccli.encode(gray).data).mode == "L"
    assert nccli.decode_array(nccli.encode(gray).data).shape == gray.shape
    both = nccli.encode(np.dstack([gray, alpha])).data
    assert nccli.decode(both).mode == "LA"
    assert np.array_equal(nccli.decode_array(both)[..., 1], alpha)
    colour = nccli.encode(torch.tensor(np.dstack([small, alpha])).permute(2, 0, 1)).data
    assert nccli.decode(colour).mode == "RGBA"
    assert np.array_equal(nccli.decode_array(colour)[..., 3], alpha)


def test_gray_costs_less_than_its_copy_in_colour(photo: Pixels) -> None:
    gray = photo[..., 1]
    assert len(nccli.encode(gray).data) == len(nccli.encode(np.dstack([gray] * 3)).data)


def test_sixteen_bits(photo: Pixels) -> None:
    deep = photo.astype(np.uint16) * 257
    data = nccli.encode(deep, lmbda=0.15).data
    decoded = nccli.decode_array(data)
    assert decoded.dtype == np.uint16
    assert len(np.unique(decoded % 257)) > 100
    assert nccli.decode(data).mode == "RGB"
    assert nccli.decode(nccli.encode(deep[..., 0]).data).mode == "I;16"
    assert nccli.decode_array(nccli.encode(photo / 255.0, depth=16).data).dtype == np.uint16


def test_alpha_of_sixteen_bits_is_lossless(small: Pixels) -> None:
    deep = np.dstack([small, small[..., 0]]).astype(np.uint16) * 250
    assert np.array_equal(nccli.decode_array(nccli.encode(deep).data)[..., 3], deep[..., 3])


def test_metadata_goes_along(small: Pixels) -> None:
    image = Image.fromarray(small)
    image.info |= {"icc_profile": bytes(16) + b"RGB " + bytes(200), "xmp": b"<x/>"}
    info = nccli.decode(nccli.encode(image).data).info
    assert info == {"icc_profile": image.info["icc_profile"], "xmp": b"<x/>"}


@pytest.mark.parametrize(
    "image",
    [
        "photo.png",
        np.zeros((4, 4), np.int64),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.full((4, 4), 1.5),
        np.full((4, 4), -0.1),
        np.full((4, 4), np.nan),
        torch.zeros(4, 4),
        torch.zeros(2, 3, 4, 4),
        None,
    ],
    ids=str,
)
def test_other_objects_are_usage_errors(image: object) -> None:
    with pytest.raises(nccli.UsageError):
        nccli.encode(image)


@pytest.mark.parametrize(
    "options",
    [
        {"lmbda": 1.0},
        {"lmbda": 0.0},
        {"quality": 101},
        {"size": 0},
        {"bpp": 1e-9},
        {"lmbda": 0.01, "size": 100},
        {"psnr": 200.0},
        {"size": 30},
        {"device": "cuda"} if not torch.cuda.is_available() else {"size": 1},
    ],
    ids=str,
)
def test_impossible_requests_are_usage_errors(small: Pixels, options: dict[str, float]) -> None:
    with pytest.raises(nccli.UsageError):
        nccli.encode(small, **options)


def test_size_counts_alpha_and_metadata(photo: Pixels) -> None:
    alpha = np.broadcast_to(np.arange(256, dtype=np.uint8), photo.shape[:2])
    image = Image.fromarray(np.dstack([photo, alpha]))
    image.info["xmp"] = bytes(range(32, 127)) * 10
    encoded = nccli.encode(image, size=8000)
    assert 0.99 * 8000 <= len(encoded.data) <= 8000
    with pytest.raises(nccli.UsageError, match="alpha and metadata alone take"):
        nccli.encode(image, size=900)


def test_targets_of_one_rate_option() -> None:
    assert Rate(bpp=1.0).target(800, "s").size == 100
    assert Rate(psnr=30).target(800, "s").psnr == 30
    assert Rate().target(800, "s").lmbda == Rate(quality=50).target(800, "s").lmbda


def test_a_picture_is_itself(small: Pixels) -> None:
    picture = nccli.Picture(small)
    assert to_picture(picture) is picture


def test_decoding_refuses_what_is_too_large(small: Pixels) -> None:
    data = nccli.encode(small).data
    with pytest.raises(nccli.MediaError, match="limit"):
        nccli.decode(data, max_pixels=small.shape[0] * small.shape[1] - 1)


def test_threads_share_a_model(photo: Pixels) -> None:
    pictures = [photo[top : top + 64, left : left + 64] for top in (0, 64, 128) for left in (0, 64, 128, 192)]
    alone = [nccli.encode(picture).data for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert [encoded.data for encoded in pool.map(nccli.encode, pictures)] == alone
        decoded = list(pool.map(nccli.decode_array, alone))
    for picture, data in zip(decoded, alone, strict=True):
        assert np.array_equal(picture, nccli.decode_array(data))


def test_importing_costs_nothing() -> None:
    code = "import sys, nccli; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules); print(nccli.__all__)"
    done = run_python("-c", code)
    assert "decode_array" in done.stdout
    for name in nccli.__all__:
        assert getattr(nccli, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        nccli.nonsense  # noqa: B018
