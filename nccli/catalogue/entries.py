"""The catalogue of shipped models: models/index.json. Standard library only."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from nccli.errors import ModelError, UnsupportedError
from nccli.networks.entry import Entry, ModelKind
from nccli.zoo.cache import Fetched, fetched
from nccli.zoo.names import (
    FIRST_ID,
    PREFIX,
    ZooModel,
    is_zoo_name,
    zoo_model_of,
    zoo_models,
    zoo_models_named,
)

DEFAULT_MODEL = "s"


def models_folder() -> Path:
    """The folder of weights: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "models", package.parent / "models"):
        if (folder / "index.json").is_file():
            return folder
    raise ModelError("the models folder is missing: reinstall ncc")


@lru_cache(maxsize=1)
def all_entries() -> tuple[Entry, ...]:
    """Every model that the catalogue ever had, newest of a name first."""
    path = models_folder() / "index.json"
    try:
        return tuple(Entry.of(item) for item in json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error


def entries() -> tuple[Entry, ...]:
    """Every shipped image model that can be used, newest of a name first."""
    return _usable(ModelKind.IMAGE)


def mask_entries() -> tuple[Entry, ...]:
    """Every shipped network that makes masks."""
    return _usable(ModelKind.MASK)


def _usable(kind: ModelKind) -> tuple[Entry, ...]:
    return tuple(entry for entry in all_entries() if entry.kind == kind and not entry.retired)


def find_mask_network(name: str) -> Entry:
    """The shipped network of that name that makes masks."""
    for entry in mask_entries():
        if entry.name == name:
            return entry
    raise ModelError(f"{name} is not in this installation")


def model_path(entry: Entry) -> Path:
    """Where the weights of `entry` are."""
    path = models_folder() / entry.file
    if not path.is_file():
        raise ModelError(f"weights {entry.file} of model {entry.name!r} are missing: reinstall ncc")
    return path


def card(file: str) -> str:
    """What stands beside the weights `file` in the models folder, for people: Markdown."""
    path = (models_folder() / file).with_suffix(".md")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"cannot read the card of {file}: {error}") from error


def zoo_entry(model: ZooModel, here: Fetched) -> Entry:
    """A fetched network of the zoo as a model like any other."""
    return Entry(
        model.name,
        model.id,
        str(here.path),
        here.sha256,
        model.about,
        kind=ModelKind.ZOO,
        lmbda=model.lmbda,
    )


def _find_zoo(name: str) -> Entry:
    for model in zoo_models():
        if model.name == name:
            here = fetched(model)
            if here:
                return zoo_entry(model, here[0])
            raise ModelError(f"{name} is not on this machine: 'ncc models fetch {name}' downloads it")
    known = ", ".join(dict.fromkeys(f"{PREFIX}{m.architecture.name}-Q" for m in zoo_models()))
    raise ModelError(f"no model named {name!r}; there are: {known}")


def _find_zoo_for_file(model_id: int, tag: bytes) -> Entry:
    model = zoo_model_of(model_id)
    if model is None:
        raise UnsupportedError(f"the file needs model {model_id}, which this program does not know")
    here = fetched(model)
    for weights in here:
        if weights.tag == tag:
            return zoo_entry(model, weights)
    if not here:
        raise UnsupportedError(
            f"the file needs {model.name}, not on this machine: 'ncc models fetch {model.name}' downloads it"
        )
    found = ", ".join(weights.tag.hex() for weights in here)
    raise UnsupportedError(f"the file needs {model.name} with weights {tag.hex()}; here are {found}")


def own_lambda(name: str) -> float | None:
    """The one rate that a model was trained for, or None if it serves a range of them."""
    found = zoo_models_named(name) if is_zoo_name(name) else ()
    return found[0].lmbda if found else None


def find(name: str) -> Entry:
    """The newest model of that name."""
    if is_zoo_name(name):
        return _find_zoo(name)
    for entry in entries():
        if entry.name == name:
            return entry
    known = ", ".join(sorted({e.name for e in entries()}))
    raise ModelError(f"no model named {name!r}; there are: {known}")


def find_for_file(model_id: int, tag: bytes) -> Entry:
    """The model that wrote a file."""
    if model_id >= FIRST_ID:
        return _find_zoo_for_file(model_id, tag)
    for entry in all_entries():
        if entry.kind == ModelKind.IMAGE and entry.id == model_id and entry.tag == tag:
            if entry.retired:
                raise UnsupportedError(f"the file needs model {model_id}, {entry.name!r}: {entry.retired}")
            return entry
    raise UnsupportedError(
        f"the file needs model {model_id} with weights {tag.hex()}, which this program lacks"
    )


def verify(entry: Entry) -> bool:
    """Whether the weights file has the catalogue's checksum."""
    return hashlib.sha256(model_path(entry).read_bytes()).hexdigest() == entry.sha256


def intact_path(entry: Entry) -> Path:
    """Where the weights of `entry` are, if they are what they should be.

    Raises:
        ModelError: they are missing or damaged.
    """
    if not verify(entry):
        raise ModelError(f"weights {entry.file} are damaged: their checksum differs; {entry.cure}")
    return model_path(entry)
