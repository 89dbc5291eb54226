"""The configuration of each foundation that has a name: what is known of it without its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from vns_sam.errors import UsageError
from vns_sam.sam.config import VITS, SamConfig, vit_config
from vns_sam.sam.foundations.mobile import mobile_config
from vns_sam.sam.foundations.sam2 import HIERA, sam2_config
from vns_sam.sam.foundations.sam3 import sam3_config

CONFIGS: Mapping[str, Callable[[], SamConfig]] = {
    **{name: partial(vit_config, name) for name in VITS},
    "mobile-sam": mobile_config,
    **{name: partial(sam2_config, name, backbone) for name, backbone in HIERA.items()},
    "sam3": sam3_config,
}
"""By the names that ``load_model`` takes."""


def named_config(name: str) -> SamConfig:
    """The configuration of a published foundation.

    Raises:
        UsageError: It has no such name.
    """
    if name not in CONFIGS:
        raise UsageError(
            f"models without weights are built by the name of a SAM, found '{name}'",
            hint=f"one of {', '.join(CONFIGS)}",
        )
    return CONFIGS[name]()
