"""Fetching: nothing downloads unless asked, nothing is kept that is not what it should be."""

from __future__ import annotations

import base64
import email.message
import functools
import hashlib
import io
import json
import re
import urllib.error
import urllib.request
import urllib.response
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from nccli.catalogue.entries import find, find_for_file, own_lambda
from nccli.catalogue.load import load_model
from nccli.cli import main
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.coding.search import Target
from nccli.coding.tiles import quiet
from nccli.errors import ModelError, UsageError
from nccli.zoo.cache import fetched, zoo_folder
from nccli.zoo.fetch import SafeRedirect, fetch, stated_digest
from nccli.zoo.names import ARCHITECTURES, FIRST_ID, ZooModel, zoo_models, zoo_models_named
from nccli.zoo.source import builder_of
from tests.support import Pixels, frozen
from tests.support.zoo import make_net, model_of


@dataclass(frozen=True)
class Shelf:
    """A folder of checkpoints and its address."""

    folder: Path
    url: str
    model: ZooModel


@pytest.fixture(scope="module")
def face(astronaut: Pixels) -> Pixels:
    return frozen(astronaut[60:124, 180:244])


@pytest.fixture(scope="module")
def shelf(face: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """One small network whose name holds its checksum, as CompressAI's do."""
    folder = tmp_path_factory.mktemp("shelf")
    model = model_of("mbt2018-mean-3")
    torch.save(as_distributed(make_net(model, face)), folder / "plain")
    digest = hashlib.sha256((folder / "plain").read_bytes()).hexdigest()
    model = ZooModel(model.architecture, 3, f"small-3-{digest[:8]}.pth.tar")
    (folder / "plain").rename(folder / model.checkpoint)
    return Shelf(folder, folder.as_uri(), model)


def as_distributed(net: Any) -> dict[str, torch.Tensor]:
    """A checkpoint in the form of CompressAI's own: names of its first versions, with the coder's tables."""
    net.update(force=True)
    old = {"matrices": "_matrices", "biases": "_biases", "factors": "_factors"}
    state = {}
    for name, value in net.state_dict().items():
        for new, before in old.items():
            name = name.replace(f"entropy_bottleneck.{new}", f"entropy_bottleneck.{before}")
        state[name] = value.clone()
    assert state["entropy_bottleneck._quantized_cdf"].numel()
    assert "entropy_bottleneck._matrices.0" in state
    return state


class Answers:
    """Stands in for the network: what an https source answers.

    Attributes:
        folder: what is there.
        digest: the checksum that it states.
    """

    def __init__(self, folder: Path, digest: str | None) -> None:
        self.folder, self.digest = folder, digest

    def open(self, request: urllib.request.Request, timeout: float) -> Any:
        assert request.full_url.startswith("https://example.org/")
        assert request.get_header("X-amz-checksum-mode") == "ENABLED"
        data = (self.folder / request.full_url.rpartition("/")[2]).read_bytes()
        headers = email.message.Message()
        headers["Content-Length"] = str(len(data))
        if self.digest is not None:
            headers["x-amz-checksum-sha256"] = self.digest
        return urllib.response.addinfo(io.BytesIO(data), headers)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NCC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.is_file()]


def test_names_numbers_and_checkpoints_are_those_of_compressai() -> None:
    builder_of(ARCHITECTURES[0])
    from compressai.zoo.image import model_architectures, model_urls

    for model in zoo_models():
        family = model.architecture
        url = model_urls[family.name]["mse"][model.quality]
        assert url.endswith(f"/{model.checkpoint}")
        assert model_architectures[family.name].__name__ == family.builder
        assert FIRST_ID < model.id <= FIRST_ID + 0x7F
    for family in ARCHITECTURES:
        assert len(family.digests) == len(model_urls[family.name]["mse"])
    assert len({model.id for model in zoo_models()}) == len(zoo_models()) == 36
    assert model_of("mbt2018-mean-3").id == 0x8023


@pytest.mark.parametrize("scheme", ["https", "file"])
def test_a_fetched_network_codes(
    shelf: Shelf, cache: Path, face: Pixels, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheme == "https":
        monkeypatch.setattr(urllib.request, "build_opener", lambda *_: Answers(shelf.folder, None))
    seen: list[float] = []
    source = "https://example.org/models" if scheme == "https" else shelf.url
    result = fetch(shelf.model, source, seen.append)
    assert seen[-1] == 1
    assert result == fetched(shelf.model)[0]
    assert hashlib.sha256(result.path.read_bytes()).hexdigest() == result.sha256
    assert kept(cache) == [result.path.name]
    entry = find("zoo:mbt2018-mean-3")
    assert find_for_file(entry.id, entry.tag) == entry
    data = encode_pixels(face, Encoding(Rate(lmbda=0.0067), entry.name, "cpu", measure=False)).data
    assert decode_bytes(data, "cpu").report.model == entry.name


def test_what_is_here_is_not_fetched_again(shelf: Shelf) -> None:
    first = fetch(shelf.model, shelf.url, quiet)
    assert fetch(shelf.model, "https://127.0.0.1:9", quiet) == first
    with pytest.raises(ModelError, match="cannot download"):
        fetch(shelf.model, "https://127.0.0.1:9", quiet, again=True)
    assert fetch(shelf.model, shelf.url, quiet, again=True) == first


def test_a_wrong_checksum_keeps_nothing(shelf: Shelf, cache: Path, tmp_path: Path) -> None:
    data = bytearray((shelf.folder / shelf.model.checkpoint).read_bytes())
    for number, change in enumerate((data[:-1], data[:5000], b"", bytes([data[0] ^ 1]) + data[1:])):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / shelf.model.checkpoint).write_bytes(change)
        with pytest.raises(ModelError, match="damaged: its checksum"):
            fetch(shelf.model, folder.as_uri(), quiet)
    assert kept(cache) == []


@pytest.mark.parametrize("kind", ["bytes", "list", "other network", "not finite"])
def test_checkpoints_of_something_else_keep_nothing(
    shelf: Shelf, cache: Path, tmp_path: Path, face: Pixels, kind: str
) -> None:
    """The right checksum of the wrong thing."""
    path = tmp_path / "x"
    if kind == "bytes":
        path.write_bytes(b"\x80\x02" + bytes(range(200)))
    elif kind == "list":
        torch.save([torch.zeros(3)], path)
    elif kind == "other network":
        torch.save(make_net(model_of("cheng2020-anchor-1"), face).state_dict(), path)
    else:
        state = make_net(shelf.model, face).state_dict()
        state["h_s.0.weight"][0, 0, 0, 0] = float("nan")
        torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    model = ZooModel(shelf.model.architecture, 3, f"x-{digest}.pth.tar")
    path.rename(tmp_path / model.checkpoint)
    with pytest.raises(ModelError, match=re.escape(model.checkpoint)):
        fetch(model, tmp_path.as_uri(), quiet)
    assert kept(cache) == []


@pytest.mark.parametrize("source", ["https://127.0.0.1:9", "https://no.such.host.invalid", "file:///no/such"])
def test_offline(shelf: Shelf, cache: Path, source: str) -> None:
    with pytest.raises(ModelError, match=r"cannot download .*; without a network"):
        fetch(shelf.model, source, quiet)
    assert kept(cache) == []


@pytest.mark.parametrize("source", ["ftp://example.org", "http://example.org", "HTTP://example.org", "/x"])
def test_other_schemes_are_refused(shelf: Shelf, source: str) -> None:
    with pytest.raises(UsageError, match="no https or file"):
        fetch(shelf.model, source, quiet)


def test_a_redirection_stays_safe() -> None:
    handler, headers = SafeRedirect(), email.message.Message()
    request = urllib.request.Request("https://example.org/a")
    follow = functools.partial(handler.redirect_request, request, io.BytesIO(), 302, "Found", headers)
    assert follow("https://example.org/b").full_url == "https://example.org/b"
    for target in ("http://example.org/b", "file:///etc/passwd", "ftp://example.org/b"):
        with pytest.raises(urllib.error.URLError, match="not https"):
            follow(target)


def test_a_stated_checksum_counts_in_full(shelf: Shelf, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = hashlib.sha256((shelf.folder / shelf.model.checkpoint).read_bytes()).digest()
    wrong = right[:8] + bytes(24)
    assert stated_digest(base64.b64encode(wrong).decode() + "-2") is None
    for digest, good in ((right, True), (wrong, False)):
        stated = base64.b64encode(digest).decode()
        monkeypatch.setattr(
            urllib.request, "build_opener", lambda *_, stated=stated: Answers(shelf.folder, stated)
        )
        if good:
            fetch(shelf.model, "https://example.org/models", quiet)
        else:
            with pytest.raises(ModelError, match="damaged"):
                fetch(shelf.model, "https://example.org/models", quiet, again=True)


def test_two_fetches_at_once(shelf: Shelf, cache: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: fetch(shelf.model, shelf.url, quiet, again=True), range(2)))
    assert both[0] == both[1]
    assert kept(cache) == [both[0].path.name]
    assert hashlib.sha256(both[0].path.read_bytes()).hexdigest() == both[0].sha256


def test_a_missing_page(shelf: Shelf) -> None:
    with pytest.raises(ModelError, match="cannot download"):
        fetch(model_of("mbt2018-1"), shelf.url, quiet)


def run(*args: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["ncc", *args])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_command_line(
    shelf: Shelf, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call = functools.partial(run, monkeypatch=monkeypatch)
    assert call("models", "fetch", "zoo:mbt2018-mean-3", "--source", shelf.url) == 4
    assert "cannot download" in capsys.readouterr().err
    assert call("models", "fetch", "zoo:mbt2018-9", "--source", shelf.url) == 4
    assert "no model 'zoo:mbt2018-9'" in capsys.readouterr().err
    assert call("encode", "x.png", "--model", "zoo:mbt2018-1", "--size", "1") != 0
    capsys.readouterr()
    result = fetch(shelf.model, shelf.url, quiet)
    assert call("models", "fetch", "mbt2018-mean-3", "--json", "--source", "file:///nothing") == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == result.sha256
    assert call("models", "--verify", "--json") == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["zoo:mbt2018-mean-3"]["state"] == "verified"
    assert rows["zoo:cheng2020-attn-6"]["state"] == "available"
    assert call("models") == 0
    assert "fetched" in capsys.readouterr().out
    result.path.write_bytes(result.path.read_bytes()[:-1])
    assert call("models", "--verify", "--json") == 4
    with pytest.raises(ModelError, match="damaged"):
        load_model(find("zoo:mbt2018-mean-3"), "cpu")


def test_encoding_never_downloads(
    face: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.fromarray(face).save(tmp_path / "face.png")
    code = run("encode", str(tmp_path / "face.png"), "--model", "zoo:mbt2018-1", monkeypatch=monkeypatch)
    assert code == 4
    assert "'ncc models fetch zoo:mbt2018-1' downloads it" in capsys.readouterr().err
    assert not (tmp_path / "face.ncc").exists()
    assert not zoo_folder().exists()


def test_patterns() -> None:
    assert len(zoo_models_named("zoo:mbt2018-?")) == 8
    assert len(zoo_models_named("cheng2020-*-1")) == 2
    assert zoo_models_named("") == ()


def test_a_network_of_one_rate_is_used_at_it() -> None:
    assert own_lambda("s") is None
    assert own_lambda("zoo:mbt2018-8") == 0.18
    name = "zoo:mbt2018-mean-3"
    assert Rate().target(100, name) == Target(lmbda=0.0067)
    assert Rate(quality=50).target(100, name) == Rate().target(100, "s")
    assert Rate(size=77).target(100, name) == Target(size=77)
