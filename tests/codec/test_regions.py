"""Regions of interest through the whole codec: rates, reports, maps."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

import nccli
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_picture
from nccli.codec.inside import inside_psnr
from nccli.codec.opened import decode_bytes
from nccli.coding.analysis import Analyser
from nccli.coding.bits import bits_map
from nccli.coding.sender import price
from nccli.container.image_file import read_image
from nccli.container.section_ids import SectionId
from nccli.container.sections import stored_setting
from nccli.entropy.grid import Grid
from nccli.entropy.region import Region
from nccli.errors import UsageError
from nccli.masks.mask import Choice, mask_of_boxes, select
from nccli.media.metrics import psnr
from nccli.media.picture import Picture
from nccli.networks.weights import ImageWeights
from nccli.program.describe import describe
from nccli.program.maps import draw_bits, roi_map
from tests.support import Pixels

LAMBDA = Rate(lmbda=0.02)


def boxed(pixels: Pixels, text: str, gain: float = 30) -> Region:
    region = select(mask_of_boxes(text, *pixels.shape[:2]), Choice(gain)).region
    assert region is not None
    return region


@pytest.fixture(scope="module")
def face(photo: Pixels) -> Region:
    return boxed(photo, "64,32,80,96")


def test_decoders_find_the_encoders_region(photo: Pixels, face: Region) -> None:
    encoded = encode_picture(Picture(photo), Encoding(LAMBDA, device="cpu", region=face))
    decoded = decode_bytes(encoded.data, "cpu", photo)
    assert decoded.report.roi == encoded.report.roi
    assert decoded.report.psnr == encoded.report.psnr
    again = stored_setting(read_image(encoded.data)).region
    assert again is not None
    assert np.array_equal(again.levels, face.levels)


def test_quality_goes_where_the_mask_is(photo: Pixels) -> None:
    size = Rate(size=2500)
    plain = encode_picture(Picture(photo), Encoding(size, device="cpu"))
    for text in ("64,32,80,96", "160,0,96,64", "0,112,96,80"):
        region = boxed(photo, text)
        encoded = encode_picture(Picture(photo), Encoding(size, device="cpu", region=region))
        before = inside_psnr(photo, decode_bytes(plain.data, "cpu").pixels, region)[0]
        assert encoded.report.bytes <= 2500
        assert encoded.report.roi is not None
        assert encoded.report.roi.psnr_roi > before + 2
        assert encoded.report.roi.psnr_background < encoded.report.roi.psnr_roi


def test_report_adds_up(photo: Pixels, face: Region) -> None:
    encoded = encode_picture(Picture(photo), Encoding(LAMBDA, device="cpu", region=face))
    report, x_hat = encoded.report, decode_bytes(encoded.data, "cpu").pixels
    inside = face.inside(12, 16).repeat(16, 0).repeat(16, 1)
    assert report.roi is not None
    flat = [pixels.reshape(1, -1, 3) for pixels in (photo[inside], x_hat[inside])]
    assert report.roi.psnr_roi == pytest.approx(psnr(*flat), abs=1e-6)
    flat = [pixels.reshape(1, -1, 3) for pixels in (photo[~inside], x_hat[~inside])]
    assert report.roi.psnr_background == pytest.approx(psnr(*flat), abs=1e-6)
    assert 0.3 * report.bytes < report.roi.roi_bytes < report.bytes


def test_no_mask_no_report(photo: Pixels) -> None:
    assert encode_picture(Picture(photo), Encoding(LAMBDA, device="cpu")).report.roi is None


def test_bits_of_all_positions_are_the_file(weights: ImageWeights, odd: Pixels) -> None:
    region = boxed(odd, "20,20,30,30")
    encoded = encode_picture(Picture(odd), Encoding(LAMBDA, device="cpu", region=region))
    container = read_image(encoded.data)
    setting = stored_setting(container)
    payload = container.section(SectionId.LATENTS)
    bits = bits_map(weights, Grid.of(*odd.shape[:2]), setting, payload)
    assert bits.shape == (5, 7)
    assert bits.min() > 0
    assert bits.sum() / 8 == pytest.approx(len(payload) - 3, abs=5)
    with torch.inference_mode():
        expected, _ = price(weights, Analyser(weights, odd)(setting), setting)
    assert bits.sum() / 8 + 5.5 == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("size", [1200, 4000])
def test_sizes_hold_with_a_mask(photo: Pixels, face: Region, size: int) -> None:
    report = encode_picture(Picture(photo), Encoding(Rate(size=size), device="cpu", region=face)).report
    assert 0.985 * size <= report.bytes <= size


def test_a_wanted_psnr_is_that_of_the_region(photo: Pixels, face: Region) -> None:
    report = encode_picture(Picture(photo), Encoding(Rate(psnr=34), device="cpu", region=face)).report
    assert report.roi is not None
    assert 34 <= report.roi.psnr_roi <= 34.1
    assert report.psnr is not None
    assert report.psnr < 34


@pytest.mark.parametrize("target", [Rate(lmbda=0.05), Rate(size=4000), Rate(psnr=35)])
def test_a_wanted_background(photo: Pixels, face: Region, target: Rate) -> None:
    encoded = encode_picture(Picture(photo), Encoding(target, device="cpu", region=face, background=25))
    roi = encoded.report.roi
    assert roi is not None
    assert 25 <= roi.psnr_background <= 25.3
    assert roi.psnr_roi > 28
    assert target.size is None or 0.98 * target.size <= encoded.report.bytes <= target.size


def test_a_background_out_of_reach(photo: Pixels, face: Region) -> None:
    with pytest.raises(UsageError, match="the background reaches only"):
        encode_picture(Picture(photo), Encoding(LAMBDA, device="cpu", region=face, background=60))
    low = encode_picture(Picture(photo), Encoding(LAMBDA, device="cpu", region=face, background=1))
    region = stored_setting(read_image(low.data)).region
    assert region is not None
    assert region.drop == 1024


def test_python_interface(photo: Pixels) -> None:
    mask = mask_of_boxes("64,32,80,96", *photo.shape[:2])
    one = nccli.encode(photo, size=2500, roi=mask, device="cpu")
    assert one.data == nccli.encode(photo, size=2500, roi=[(64, 32, 80, 96)], device="cpu").data
    assert one.data == nccli.encode(photo, size=2500, roi=Image.fromarray(mask), device="cpu").data
    assert one.data != nccli.encode(photo, size=2500, roi=mask, roi_gain=100, device="cpu").data
    everywhere = nccli.encode(photo, size=2500, roi=np.ones_like(mask, bool), device="cpu")
    assert everywhere.data == nccli.encode(photo, size=2500, device="cpu").data
    found = nccli.encode(photo, size=2500, roi_model="saliency", roi_background=24, measure=True)
    assert found.report.roi is not None
    with pytest.raises(UsageError):
        nccli.encode(photo, roi=mask, roi_model="seg")
    with pytest.raises(UsageError):
        nccli.encode(photo, roi_gain=5)


def test_sixteen_bits_and_gray(photo: Pixels, face: Region) -> None:
    deep = Picture(photo[..., :1].astype(np.uint16) * 257)
    encoded = encode_picture(deep, Encoding(LAMBDA, device="cpu", region=face))
    assert encoded.report.roi is not None
    assert encoded.report.roi.psnr_roi > encoded.report.roi.psnr_background


def test_maps(photo: Pixels, face: Region) -> None:
    data = encode_picture(Picture(photo), Encoding(LAMBDA, device="cpu", region=face)).data
    container = read_image(data)
    mask = np.asarray(Image.open(io.BytesIO(roi_map(container))))
    assert mask.shape == photo.shape[:2]
    assert np.array_equal(mask[::16, ::16], face.importance(12, 16))
    drawn = draw_bits(container, "cpu")
    picture = np.asarray(Image.open(io.BytesIO(drawn.png))).astype(int).sum(2)
    inside = face.inside(12, 16).repeat(16, 0).repeat(16, 1)
    assert picture.shape == photo.shape[:2]
    assert picture[inside].mean() > picture[~inside].mean()
    assert drawn.most > 0
    about = describe(container)
    assert about["gain"] == pytest.approx(30, rel=0.01)
    assert (about["levels"], about["cell"], about["feather"]) == (1, 16, 32)
    assert about["bytes"] == len(container.section(SectionId.ROI))


def test_a_map_without_a_mask_is_white(photo: Pixels) -> None:
    container = read_image(encode_picture(Picture(photo), Encoding(LAMBDA, device="cpu")).data)
    assert np.asarray(Image.open(io.BytesIO(roi_map(container)))).min() == 255
    assert describe(container) == {}
