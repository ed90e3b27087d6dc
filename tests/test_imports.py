"""The import arrows: who may know whom."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

from tests.support import ROOT, run_python

PACKAGE = ROOT / "nccli"
MODULES = sorted(PACKAGE.rglob("*.py"))

COMMANDS = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "cli").glob("*.py")}

ALLOWED = {
    "click": COMMANDS,
    "rich": {*COMMANDS, "program/report/progress.py", "program/report/text.py"},
    "constriction": {"entropy/coder.py"},
    "onnxruntime": {"masks/external.py"},
    "torchvision": {"masks/vision.py"},
    "ray": {"engine/cluster.py"},
    "threadpoolctl": {"networks/products.py"},
    "imagecodecs": {"bench/extra.py"},
    "compressai": {"zoo/source.py"},
    "urllib.request": {"zoo/fetch.py"},
}

LAYERS: tuple[dict[str, str], ...] = (
    {"": "bounds errors"},
    {"": "files"},
    {"engine": "cluster journal local"},
    {"entropy": "coder grid rate region setting steps tables"},
    {
        "media": "alpha formats metrics picture save still",
        "media/around": "boxes colour directory exif jpeg metadata png tags tiff unwrap",
        "media/samples": "avif deep strips tiff_samples",
    },
    {
        "container": "chunks colour_section detail_section framing image_file index kinds roi_head roi_section section_ids sections "
        "setting_fields"
    },
    {
        "networks": "allocator anchors chain checkpoint entropy_model entry image_model image_parameters "
        "integer interface layers lite0 prior products weights"
    },
    {"zoo": "assemble cache convert densities exact fetch names network source zoo_parameters"},
    {"catalogue": "entries load"},
    {
        "coding": "analysis background bits bracket condition details payload schedule search sender targets tiles"
    },
    {"masks": "choose external make mask request saliency segment vision"},
    {"codec": "coded encoding image inside opened packing refining result"},
    {"": "api"},
    {"": "pillow"},
    {
        "refinement": "importance large pipeline plot refined start stored trim verdict windows",
        "refinement/descent": "adam aims best cost differentiable judge metric optimise perceptual problem "
        "relax trace",
    },
    {
        "program": "batch describe inputs job manifest maps memory options perform perform_masks perform_refine plan "
        "regions work",
        "program/report": "listing printer progress text total",
    },
    {
        "bench": "clips codecs coders extra frames literature machine measure own peak planes referee rows "
        "runner stills",
        "bench/results": "curves page plots published summary table",
    },
    {
        "cli": "bench common completion decode encode examples failures group info models models_fetch "
        "refine roi"
    },
    {"": "__main__"},
    {
        "train": "__main__ imagemain segmain",
        "train/image": "course distortion grow klt loop loss masks profile proxies validate",
        "train/optimise": "graph soap team",
        "train/pictures": "data incoming",
        "train/publish": "calibrate card evaluate export fitting prune tie",
        "train/foreground": "label pretrained seg segdata",
    },
)
"""Every module by its folder, from the lowest layer to the highest: none imports from a later one. The top
folder is \"\"."""

ROOMY = 15
"""So many modules are enough for a folder."""

PLACES = {
    f"{folder}/{stem}.py".lstrip("/"): number
    for number, layer in enumerate(LAYERS)
    for folder, stems in layer.items()
    for stem in stems.split()
}
"""The layer of every module."""

ROOMS = {folder: number for number, layer in enumerate(LAYERS) for folder in layer if folder}
"""The layer of every folder."""

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
        if path.relative_to(PACKAGE).parts[0] != "train":
            assert not uses(path, "nccli.train"), name(path)


def test_no_pickle_anywhere() -> None:
    """Networks of others come pickled: those are read as tensors or not at all."""
    for path in MODULES:
        assert not uses(path, "pickle"), name(path)
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
            if ast.unparse(call.func) == "torch.load":
                assert name(path) == "networks/checkpoint.py"
                assert "weights_only=True" in ast.unparse(call)


def test_only_the_command_to_fetch_downloads() -> None:
    users = {name(path) for path in MODULES if uses(path, "nccli.zoo.fetch")}
    assert users == {"cli/models_fetch.py"}


@pytest.mark.parametrize(
    "wanted",
    [
        "bounds",
        "catalogue.entries",
        "container.chunks",
        "container.framing",
        "container.image_file",
        "container.index",
        "container.kinds",
        "container.roi_head",
        "container.setting_fields",
        "entropy.grid",
        "entropy.rate",
        "errors",
        "files",
        "masks.request",
        "networks.entry",
        "zoo.names",
        "zoo.cache",
        "zoo.fetch",
        "engine.local",
        "bench.codecs",
        "program.describe",
    ],
)
def test_modules_of_the_standard_library_only(wanted: str) -> None:
    result = loaded(f"nccli.{wanted}")
    assert not result & {*LIGHT, "click"}


def depends(path: Path) -> set[Path]:
    """The modules of the package that a module imports, a package standing for its __init__."""
    found = set()
    for wanted in imports(path):
        place = ROOT.joinpath(*wanted.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if wanted.startswith("nccli.") and file.is_file() and file != path:
                found.add(file)
    return found


def place(path: Path) -> int:
    """Where a module stands in the order; a package's __init__ stands with its folder."""
    if path.name == "__init__.py":
        return ROOMS[path.parent.relative_to(PACKAGE).as_posix()]
    return PLACES[name(path)]


def test_every_module_is_listed() -> None:
    assert {name(path) for path in MODULES if path.name != "__init__.py"} == set(PLACES)


def test_no_two_modules_share_a_name() -> None:
    stems = [Path(module).stem for module in PLACES if not module.endswith("__main__.py")]
    assert not [stem for stem in stems if stems.count(stem) > 1]


def test_no_folder_is_crowded() -> None:
    folders = [Path(module).parent.as_posix() for module in PLACES]
    assert not {folder for folder in folders if folders.count(folder) > ROOMY}


def test_the_design_names_every_module() -> None:
    text = (ROOT / "docs" / "DESIGN.md").read_text()
    section = text[text.index("## 3 Modules") : text.index("## 4 ")]
    assert not [module for module in PLACES if f"`{Path(module).stem}`" not in section]


@pytest.mark.parametrize("path", [p for p in MODULES if p != PACKAGE / "__init__.py"], ids=name)
def test_no_arrow_up(path: Path) -> None:
    for other in depends(path):
        assert place(other) <= place(path), f"{name(path)} imports {name(other)}"


def test_no_circle() -> None:
    """A package's __init__ that chooses among its own modules is one with them."""
    graph = {path: {other for other in depends(path) if other.name != "__init__.py"} for path in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())


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
    found = loaded("nccli.codec.image", "nccli.coding.sender")
    assert "torch" in found
    assert not found & {"compressai", "torchvision", "scipy", "skimage"}


@pytest.mark.parametrize(
    "module",
    [
        "coding.background",
        "coding.bits",
        "coding.bracket",
        "coding.condition",
        "coding.details",
        "coding.payload",
        "coding.schedule",
        "coding.search",
        "coding.sender",
        "coding.targets",
        "entropy.coder",
        "entropy.region",
        "entropy.setting",
        "entropy.steps",
        "entropy.tables",
        "networks.entropy_model",
        "networks.image_parameters",
        "networks.integer",
        "zoo.zoo_parameters",
    ],
)
def test_what_decides_a_probability_needs_no_torch(module: str) -> None:
    assert "torch" not in loaded(f"nccli.{module}")


def test_training_needs_neither_coder_nor_oracle() -> None:
    found = loaded("nccli.train.image.loop", "nccli.train.pictures.data", "nccli.train.image.klt")
    assert "torch" in found
    assert not found & {"compressai", "constriction", "click", "rich", "av"}


def test_coding_does_not_know_refinement() -> None:
    """Refinement is one user of the pipeline; what decodes a file needs none of it."""
    for room in ("coding", "codec", "container", "entropy", "networks"):
        for path in (PACKAGE / room).glob("*.py"):
            assert not uses(path, "nccli.refinement"), name(path)


def test_refinement_options_load_nothing_heavy() -> None:
    assert not loaded("nccli.codec.refining", "nccli.refinement.descent.trace") & set(LIGHT)


def test_masks_load_no_networks_before_they_are_used() -> None:
    found = loaded("nccli.masks.choose", "nccli.program.perform_masks")
    assert not found & {"onnxruntime", "torchvision", "compressai", "scipy", "skimage"}
