"""The zoo: which pretrained networks there are, and their numbers in files. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

PREFIX = "zoo:"

FIRST_ID = 0x8000
"""Model ids of the zoo: 0x8000 + 16 * architecture + quality. Source: docs/FORMAT.md section 13."""

LAMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)
"""What the networks of quality 1 .. 8 were trained with, loss = bpp + lambda * 255^2 * MSE.
Source: CompressAI, model zoo."""


@dataclass(frozen=True)
class Architecture:
    """A family of networks.

    Attributes:
        name: as CompressAI calls it.
        number: in model ids, never reused.
        builder: class in `compressai.models`.
        pattern: name of a checkpoint, for `str.format` with quality and digest.
        digests: first 8 hexadecimal digits of each checkpoint's SHA-256, quality 1 first.
        zero_means: h_s predicts scales alone, from the magnitudes of y.
        autoregressive: means and scales depend on the latents above and to the left.
        residual: transforms of residual blocks, h_s of 3x3 filters alone.
        analysis_halo: latents around a tile that g_a sees.
        synthesis_halo: likewise g_s.
    """

    name: str
    number: int
    builder: str
    pattern: str
    digests: tuple[str, ...]
    zero_means: bool = False
    autoregressive: bool = False
    residual: bool = False
    analysis_halo: int = 2
    synthesis_halo: int = 2


ARCHITECTURES = (
    Architecture(
        "bmshj2018-hyperprior",
        1,
        "ScaleHyperprior",
        "bmshj2018-hyperprior-{}-{}.pth.tar",
        ("7eb97409", "93677231", "6d87be32", "de1b779c", "f8b614e1", "1ab9c41e", "3804dcbd", "a583f0cf"),
        zero_means=True,
    ),
    Architecture(
        "mbt2018-mean",
        2,
        "MeanScaleHyperprior",
        "mbt2018-mean-{}-{}.pth.tar",
        ("e522738d", "e54a039d", "723404a8", "6dba02a3", "d504e8eb", "a19628ab", "d5d441d1", "8089ae3e"),
    ),
    Architecture(
        "mbt2018",
        3,
        "JointAutoregressiveHierarchicalPriors",
        "mbt2018-{}-{}.pth.tar",
        ("3f36cd77", "43b70cdd", "22901978", "456e2af9", "b4a046dd", "7052e5ea", "8ba2bf82", "dd0097aa"),
        autoregressive=True,
    ),
    Architecture(
        "cheng2020-anchor",
        4,
        "Cheng2020Anchor",
        "cheng2020-anchor-{}-{}.pth.tar",
        ("dad2ebff", "a29008eb", "e49be189", "98b0b468", "23852949", "4c052b1a"),
        autoregressive=True,
        residual=True,
        analysis_halo=4,
        synthesis_halo=7,
    ),
    Architecture(
        "cheng2020-attn",
        5,
        "Cheng2020Attention",
        "cheng2020_attn-mse-{}-{}.pth.tar",
        ("465f2b64", "e0805385", "2d07bbdf", "f7b0ccf2", "26c8920e", "730501f2"),
        autoregressive=True,
        residual=True,
        analysis_halo=8,
        synthesis_halo=11,
    ),
)


@dataclass(frozen=True)
class ZooModel:
    """One pretrained network.

    Attributes:
        architecture: its family.
        quality: 1 is the smallest files.
        checkpoint: name of the file that CompressAI distributes.
    """

    architecture: Architecture
    quality: int
    checkpoint: str

    @property
    def stem(self) -> str:
        """Its name without `zoo:`, of which file names begin."""
        return f"{self.architecture.name}-{self.quality}"

    @property
    def name(self) -> str:
        """What `--model` takes."""
        return PREFIX + self.stem

    @property
    def id(self) -> int:
        """Number in the file header."""
        return FIRST_ID + 16 * self.architecture.number + self.quality

    @property
    def lmbda(self) -> float:
        """Where on the rate axis its steps are 1."""
        return LAMBDAS[self.quality - 1]

    @property
    def about(self) -> str:
        """One line for people."""
        return f"CompressAI, lambda {self.lmbda:g}"


@lru_cache(maxsize=1)
def zoo_models() -> tuple[ZooModel, ...]:
    """All of them."""
    return tuple(
        ZooModel(a, quality, a.pattern.format(quality, digest))
        for a in ARCHITECTURES
        for quality, digest in enumerate(a.digests, 1)
    )


def zoo_models_named(pattern: str) -> tuple[ZooModel, ...]:
    """Those whose name, with or without `zoo:`, matches; * and ? stand for anything."""
    bare = pattern.removeprefix(PREFIX)
    return tuple(model for model in zoo_models() if fnmatchcase(model.stem, bare))


def zoo_model_of(number: int) -> ZooModel | None:
    """The one with this model id."""
    return next((model for model in zoo_models() if model.id == number), None)


def is_zoo_name(name: str) -> bool:
    """The name is one of the zoo's, whether or not there is such a model."""
    return name.startswith(PREFIX)
