"""The single differences between builds of VNS-SAM: release against text, and what each ablation leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from vns_sam.errors import UsageError
from vns_sam.sam.model_config import nearest

Variant = Literal["official", "paper"]
Layer = Literal["mpl", "epl"]
Wavelets = Literal["both", "high", "low", "none"]
BandAttention = Literal["gate", "residual"]


def _check_value(name: str, found: object, allowed: tuple[object, ...]) -> None:
    if not any(found == value and type(found) is type(value) for value in allowed):
        known = [str(value).lower() if isinstance(value, bool) else str(value) for value in allowed]
        raise UsageError(f"switch '{name}' cannot be '{found}'", hint=nearest(str(found), known))


@dataclass(frozen=True)
class Switches:
    """Where the authors' release and their paper part ways, and the parts that an ablation leaves out or replaces;
    docs/paper-to-code.md explains each. A part that is left out is not built. Switches of a part that is not there
    have no effect.

    Attributes:
        token_readout: "official" reads the mask from SAM's fourth mask token and the edge from the first new
            token, the second one is only attended to; "paper" reads the mask from the first new token and the
            edge from the second.
        token_fusion: "readout" adds the edge token to the mask token where the mask is read; "feedback" is
            equation 2, a linear layer on their sum after each decoder layer, fed to the next one. The others act
            where the mask is read, too: "linear" is a linear layer on the sum, "attention" lets the mask token
            attend to the pair, "gate" weighs the outputs of both tokens' MLPs, "none" takes the mask token alone,
            with an MLP that lacks the layer which otherwise mixes the sum.
        level1_attention: Whether the tokens of level 1 attend to the image once more, with weights of its own.
        level1_fusion: Whether level 1 has the supplementary map and its fusion, as level 2 has.
        level2_maskfeature: What level 2 makes of the upscaled image: "gelu" only its last activation, "full" the
            convolutions of level 1.
        edge_with_image_embedding: Whether the edge feature is added to the image embedding of each level.
        fusion_convs: Convolutions of the fusion: three of 3x3, or a 3x3 and a 1x1.
        nsfm: Whether low-level features are mined; without them masks and edges of both levels are read from SAM's
            upscaled image.
        wavelets: Bands that NSFM aggregates: "both", "high" or "low" for masks and edges alike, or "none" for the
            levels themselves.
        edge_token: Whether there is a VNS edge token; without it there are no edges, and no token fusion.
        dual_level: Whether level 1 makes predictions of its own.
        mask_layer: "mpl" fuses the mask with the supplementary map, "epl" takes the dot product as it is.
        edge_layer: The same for the edge, with a supplementary map and a fusion of its own.
        band_attention: How NSFM's spatial attention weighs a band: "gate" multiplies with it, as published,
            "residual" with 1 plus it.
    """

    token_readout: Variant
    token_fusion: Literal["readout", "feedback", "linear", "attention", "gate", "none"]
    level1_attention: bool
    level1_fusion: bool
    level2_maskfeature: Literal["gelu", "full"]
    edge_with_image_embedding: bool
    fusion_convs: Literal[2, 3]
    nsfm: bool = True
    wavelets: Wavelets = "both"
    edge_token: bool = True
    dual_level: bool = True
    mask_layer: Layer = "mpl"
    edge_layer: Layer = "epl"
    band_attention: BandAttention = "gate"

    def __post_init__(self) -> None:
        """Refuses values that do not exist or do not go together.

        Raises:
            UsageError: The value and the nearest one, or the two fields, are named.
        """
        for name, kind in get_type_hints(type(self)).items():
            _check_value(name, getattr(self, name), (True, False) if kind is bool else get_args(kind))
        if not self.edge_token and self.token_fusion != "none":
            raise UsageError(
                f"without an edge token 'token_fusion' must be 'none', found '{self.token_fusion}'",
                hint="give both: {edge_token: false, token_fusion: none}",
            )


SWITCHES: dict[Variant, Switches] = {
    "official": Switches("official", "readout", True, False, "gelu", False, 3),
    "paper": Switches("paper", "feedback", False, True, "full", True, 2),
}
"""The two presets; an ablation is one of them with some switches replaced."""


def change_switches(variant: Variant, changes: Mapping[str, Any]) -> Switches:
    """A variant's preset with some switches replaced.

    Raises:
        UsageError: A switch or its value does not exist; the nearest one is named.
    """
    known = [field.name for field in fields(Switches)]
    for name in changes:
        if name not in known:
            raise UsageError(f"there is no switch '{name}'", hint=nearest(name, known))
    return replace(SWITCHES[variant], **changes)
