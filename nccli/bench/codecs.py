"""Which codecs can be compared, and with what settings. Standard library only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from nccli.catalogue.entries import DEFAULT_MODEL, find
from nccli.errors import UsageError
from nccli.zoo.cache import fetched
from nccli.zoo.names import PREFIX, zoo_models, zoo_models_named

LAMBDAS = (0.0006, 0.0015, 0.003, 0.0067, 0.015, 0.03, 0.06, 0.12)
QUALITIES = (5.0, 10.0, 20.0, 35.0, 50.0, 65.0, 80.0, 90.0, 95.0)
QPS = (17.0, 22.0, 27.0, 32.0, 37.0, 42.0, 47.0)

EXTRA = "pip install 'nccli[bench]'"


@dataclass(frozen=True)
class Codec:
    """One codec and how it is run; all that decides its files is here.

    Attributes:
        name: what `--codecs` takes.
        title: for people.
        home: module of `nccli.bench` that codes with it.
        knob: what a setting is.
        settings: the values that make its curve.
        rising: whether a larger setting is a better picture.
        package: distribution whose version is noted.
        module: what must be importable.
        config: everything that is kept fixed, as `name=value` pairs that `home` understands.
        video: takes clips too.
    """

    name: str
    title: str
    home: str
    knob: str
    settings: tuple[float, ...]
    package: str
    module: str
    config: tuple[tuple[str, str], ...] = ()
    rising: bool = True
    video: bool = False

    @property
    def about(self) -> str:
        """The fixed settings on one line."""
        return ", ".join(f"{key} {value}" for key, value in self.config)

    def option(self, key: str) -> str:
        """One fixed setting."""
        return dict(self.config)[key]


CODECS = (
    Codec("ncc", "ncc", "own", "lambda", LAMBDAS, "nccli", "torch", (("model", DEFAULT_MODEL),)),
    Codec(
        "ncc+refine",
        "ncc, refined",
        "own",
        "lambda",
        LAMBDAS,
        "nccli",
        "nccli.refinement",
        (("model", DEFAULT_MODEL), ("refine", "default")),
    ),
    Codec(
        "jpeg",
        "JPEG",
        "stills",
        "quality",
        QUALITIES,
        "pillow",
        "PIL",
        (("format", "JPEG"), ("subsampling", "4:2:0")),
    ),
    Codec(
        "webp", "WebP", "stills", "quality", QUALITIES, "pillow", "PIL", (("format", "WEBP"), ("method", "4"))
    ),
    Codec(
        "avif",
        "AVIF",
        "stills",
        "quality",
        (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0),
        "pillow",
        "PIL",
        (("format", "AVIF"), ("codec", "aom"), ("speed", "6"), ("subsampling", "4:4:4"), ("tune", "psnr")),
    ),
    Codec(
        "avif-slow",
        "AVIF, slow",
        "stills",
        "quality",
        (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0),
        "pillow",
        "PIL",
        (("format", "AVIF"), ("codec", "aom"), ("speed", "2"), ("subsampling", "4:4:4"), ("tune", "psnr")),
    ),
    Codec(
        "jpeg2000",
        "JPEG 2000",
        "stills",
        "compression ratio",
        (10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 130.0, 190.0),
        "pillow",
        "PIL",
        (("format", "JPEG2000"), ("irreversible", "yes"), ("mct", "1")),
        rising=False,
    ),
    Codec(
        "jxl",
        "JPEG XL",
        "extra",
        "distance",
        (0.5, 1.0, 1.5, 2.5, 4.0, 6.0, 9.0, 14.0),
        "imagecodecs",
        "imagecodecs",
        (("format", "jxl"), ("effort", "7")),
        rising=False,
    ),
    Codec(
        "heif",
        "HEIF (x265)",
        "extra",
        "quality",
        (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0),
        "pillow-heif",
        "pillow_heif",
        (("format", "heif"), ("chroma", "4:4:4"), ("tune", "psnr")),
    ),
    Codec(
        "x264",
        "H.264 (x264)",
        "clips",
        "qp",
        QPS,
        "av",
        "av",
        (("encoder", "libx264"), ("preset", "slower"), ("pixels", "yuv444p"), ("tune", "psnr")),
        rising=False,
        video=True,
    ),
    Codec(
        "x265",
        "H.265 (x265)",
        "clips",
        "qp",
        QPS,
        "av",
        "av",
        (("encoder", "libx265"), ("preset", "slower"), ("pixels", "yuv444p"), ("tune", "psnr")),
        rising=False,
        video=True,
    ),
    Codec(
        "svt-av1",
        "AV1 (SVT)",
        "clips",
        "qp",
        (10.0, 18.0, 26.0, 34.0, 42.0, 50.0, 57.0, 63.0),
        "av",
        "av",
        (("encoder", "libsvtav1"), ("preset", "4"), ("pixels", "yuv420p10le"), ("tune", "psnr")),
        rising=False,
        video=True,
    ),
)

DEFAULT_CODECS = (
    "ncc,ncc+refine,jpeg,webp,avif,jpeg2000,jxl,heif,x265,svt-av1"  # what --codecs is when it is not given
)


def find_codec(name: str) -> Codec:
    """A codec by name: one of `CODECS`, `ncc:MODEL`, `ncc+refine:MODEL` or `zoo:NETWORK`.

    Raises:
        UsageError: there is none of that name.
        ModelError: ncc has no such model.
    """
    for codec in CODECS:
        if codec.name == name:
            return codec
        if codec.home == "own" and name.startswith(f"{codec.name}:"):
            model = find(name.partition(":")[2]).name
            config = tuple((k, model if k == "model" else v) for k, v in codec.config)
            return replace(codec, name=name, title=f"{codec.title} {model}", config=config)
    if name.startswith(PREFIX):
        return _zoo_codec(name)
    known = ", ".join(codec.name for codec in CODECS)
    raise UsageError(f"no codec named {name!r}; there are: {known}, ncc:MODEL, zoo:NETWORK")


def _zoo_codec(name: str) -> Codec:
    """A family of pretrained networks, at the qualities that are on this machine."""
    networks = zoo_models_named(f"{name}-?")
    if not networks:
        known = ", ".join(dict.fromkeys(f"{PREFIX}{m.architecture.name}" for m in zoo_models()))
        raise UsageError(f"no codec named {name!r}; of the zoo there are: {known}")
    here = tuple(float(network.quality) for network in networks if fetched(network))
    title = name.removeprefix(PREFIX)
    return Codec(name, title, "literature", "quality", here, "nccli", "torch", (("networks", name),))


def zoo_model(codec: Codec, quality: float) -> str:
    """The model of one quality of such a family."""
    return f"{codec.option('networks')}-{quality:g}"


def missing(codec: Codec) -> str | None:
    """Why a codec cannot be run here, or None when it can."""
    try:
        found = find_spec(codec.module) is not None
    except ModuleNotFoundError:
        found = False
    if codec.home == "literature" and not codec.settings:
        return f"its networks are not here: ncc models fetch '{codec.name}-*'"
    if not found:
        if codec.module.startswith("nccli."):
            return "this version of ncc does not have it"
        return f"it needs the package {codec.package}: {EXTRA}"
    return None


def release(codec: Codec) -> str:
    """The version of what a codec runs on; for ncc the weights, which decide its files."""
    if codec.home == "own":
        return f"weights {find(codec.option('model')).sha256[:8]}"
    if codec.home == "literature":
        return f"weights {digest([find(zoo_model(codec, q)).sha256 for q in codec.settings])[:8]}"
    try:
        return f"{codec.package} {version(codec.package)}"
    except PackageNotFoundError:
        return codec.package


def digest(*parts: object) -> str:
    """A short name for values that decide a result."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
