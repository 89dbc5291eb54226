"""Promptable segmentation where the object hardly stands out.

Every public name is imported when it is first used, so ``import vns_sam`` loads no torch. The rooms of the
package import from each other, never from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vns_sam.inference.auto import register_auto_classes
    from vns_sam.inference.automatic import AutomaticOptions, AutomaticSegmenter
    from vns_sam.inference.load import load_model
    from vns_sam.inference.predictor import Predictor
    from vns_sam.inference.remote import connect
    from vns_sam.sam.model import SamModel
    from vns_sam.types import Prediction, Prompts
    from vns_sam.vns.config import VnsSamConfig
    from vns_sam.vns.model import VnsSamModel

    __version__: str

__all__ = [
    "AutomaticOptions",
    "AutomaticSegmenter",
    "Prediction",
    "Predictor",
    "Prompts",
    "SamModel",
    "VnsSamConfig",
    "VnsSamModel",
    "__version__",
    "connect",
    "load_model",
    "register_auto_classes",
]

_HOME = {
    "AutomaticOptions": "vns_sam.inference.automatic",
    "AutomaticSegmenter": "vns_sam.inference.automatic",
    "Prediction": "vns_sam.types",
    "Predictor": "vns_sam.inference.predictor",
    "Prompts": "vns_sam.types",
    "SamModel": "vns_sam.sam.model",
    "VnsSamConfig": "vns_sam.vns.config",
    "VnsSamModel": "vns_sam.vns.model",
    "connect": "vns_sam.inference.remote",
    "load_model": "vns_sam.inference.load",
    "register_auto_classes": "vns_sam.inference.auto",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("vns-sam")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
