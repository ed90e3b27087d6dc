"""The import arrows: who may know whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support import ROOT, run_python

PACKAGE = ROOT / "nccli"
MODULES = sorted(PACKAGE.rglob("*.py"))

COMMANDS = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "cli").glob("*.py")}

ALLOWED = {
    "click": COMMANDS,
    "rich": {*COMMANDS, "report.py"},
    "constriction": {"entropy.py"},
    "struct": {"container.py"},
    "onnxruntime": {"roi/external.py"},
    "torchvision": {"roi/pretrained.py"},
    "ray": {"engine/cluster.py"},
    "imagecodecs": {"bench/extra.py"},
    "compressai": {"zoo/source.py"},
    "urllib.request": {"zoo/fetch.py"},
}

LIGHT = ("torch", "numpy", "PIL", "av", "constriction", "compressai", "rich")
"""What must not be loaded before it is needed."""


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(nodes: list[ast.stmt], package: str) -> set[str]:
    """Full names of the modules that statements import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def imports(path: Path) -> set[str]:
    """Everything that a module imports anywhere."""
    tree = ast.parse(path.read_text())
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return imported([n for n in ast.walk(tree) if isinstance(n, ast.stmt)], package)


def uses(path: Path, wanted: str) -> bool:
    return any(n == wanted or n.startswith(f"{wanted}.") for n in imports(path))


@pytest.mark.parametrize("library", ALLOWED)
def test_libraries_stay_in_their_modules(library: str) -> None:
    users = {name(path) for path in MODULES if uses(path, library)}
    assert users
    assert users <= ALLOWED[library]


def test_compressai_is_never_imported_at_module_level() -> None:
    for path in MODULES:
        top = imported(ast.parse(path.read_text()).body, "nccli")
        assert not [n for n in top if n.split(".")[0] == "compressai"], name(path)


def test_nothing_imports_the_training_program() -> None:
    for path in MODULES:
        if path.parent.name != "train":
            assert not uses(path, "nccli.train"), name(path)


def test_no_pickle_anywhere() -> None:
    """Networks of others come pickled: those are read as tensors or not at all."""
    for path in MODULES:
        assert not uses(path, "pickle"), name(path)
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
            if ast.unparse(call.func) == "torch.load":
                assert name(path) == "checkpoint.py"
                assert "weights_only=True" in ast.unparse(call)


def test_only_the_command_to_fetch_downloads() -> None:
    users = {name(path) for path in MODULES if uses(path, "nccli.zoo.fetch")}
    assert users == {"cli/fetch.py"}


@pytest.mark.parametrize(
    "wanted",
    [
        "container",
        "rate",
        "catalogue",
        "errors",
        "files",
        "zoo.names",
        "zoo.cache",
        "zoo.fetch",
        "engine.local",
        "bench.codecs",
    ],
)
def test_modules_of_the_standard_library_only(wanted: str) -> None:
    result = loaded(f"nccli.{wanted}")
    assert not result & {*LIGHT, "click"}


def test_stages_flow_one_way() -> None:
    """A module of a stage imports only stages before it."""
    order = ["errors", "rate", "container", "quantize", "entropy", "layers", "prior", "model", "weights"]
    order += ["coding", "encoding", "targets", "search", "tiles", "codec", "media", "cli"]
    for place, module in enumerate(order[:-1]):
        path = PACKAGE / f"{module}.py"
        for later in order[place + 1 :]:
            assert not uses(path, f"nccli.{later}"), f"{module} imports {later}"


def loaded(*modules: str) -> set[str]:
    """Top-level names in sys.modules of a fresh interpreter after importing `modules`."""
    code = f"import sys, {', '.join(modules)}; print(*sorted(m.split('.')[0] for m in sys.modules))"
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["nccli", "nccli.cli"])
def test_start_up_loads_nothing_heavy(module: str) -> None:
    assert not loaded(module) & set(LIGHT)


def test_coding_does_not_load_the_oracle() -> None:
    found = loaded("nccli.codec", "nccli.encoding")
    assert "torch" in found
    assert not found & {"compressai", "torchvision", "scipy", "skimage"}


def test_training_needs_neither_coder_nor_oracle() -> None:
    found = loaded("nccli.train.loop", "nccli.train.data", "nccli.train.klt")
    assert "torch" in found
    assert not found & {"compressai", "constriction", "click", "rich", "av"}


def test_coding_does_not_know_refinement() -> None:
    """Refinement is one user of the pipeline; what decodes a file needs none of it."""
    for module in ("coding", "encoding", "search", "tiles", "codec", "container", "quantize", "weights"):
        assert not uses(PACKAGE / f"{module}.py", "nccli.refinement"), module
    for path in (PACKAGE / "refinement").glob("*.py"):
        assert not uses(path, "nccli.cli"), name(path)


def test_refinement_options_load_nothing_heavy() -> None:
    assert not loaded("nccli.refinement.config", "nccli.refinement.trace") & set(LIGHT)


def test_region_options_load_nothing_heavy() -> None:
    assert not loaded("nccli.roi.options") & set(LIGHT)


def test_masks_load_no_networks_before_they_are_used() -> None:
    found = loaded("nccli.roi.choose", "nccli.roi.job")
    assert not found & {"onnxruntime", "torchvision", "compressai", "scipy", "skimage"}
