"""The rows of the paper's ablation tables as switches. Modules that a row leaves out are not built.

Rows are changes to a preset, so that they can be made of either variant. One build often stands in several tables
(the full model in all of them); it has one name and needs to be trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vns_sam.errors import UsageError
from vns_sam.sam.model_config import nearest

Table = Literal["VI", "VII", "VIII", "IX", "X"]


@dataclass(frozen=True)
class Ablation:
    """A build of VNS-SAM that the paper compares.

    Attributes:
        labels: What each table that has it as a row calls it.
        switches: Switches that differ from the variant's preset.
    """

    labels: Mapping[Table, str]
    switches: Mapping[str, Any]


_ONE_LEVEL = {"dual_level": False, "mask_layer": "epl"}
_MASK_TOKEN = {"edge_token": False, "token_fusion": "none"}

ABLATIONS: dict[str, Ablation] = {
    "tokens": Ablation({"VI": "VNS-T"}, {"nsfm": False, **_ONE_LEVEL}),
    "mask-token-no-nsfm": Ablation({"VII": "w/o NSFM, VNS-MT"}, {"nsfm": False, **_MASK_TOKEN}),
    "no-nsfm": Ablation({"VI": "VNS-T + DPE", "VII": "w/o NSFM, VNS-MT + VNS-ET"}, {"nsfm": False}),
    # The only level there is takes the convolutions that level 1 has in the full model: the paper counts them in.
    "no-dpe": Ablation({"VI": "VNS-T + NSFM"}, {**_ONE_LEVEL, "level2_maskfeature": "full"}),
    "mask-token": Ablation({"VII": "w NSFM, VNS-MT"}, _MASK_TOKEN),
    "epl-epl": Ablation({"VIII": "EPL&EPL"}, {"mask_layer": "epl"}),
    "mpl-mpl": Ablation({"VIII": "MPL&MPL"}, {"edge_layer": "mpl"}),
    "epl-mpl": Ablation({"VIII": "EPL&MPL"}, {"mask_layer": "epl", "edge_layer": "mpl"}),
    "no-token-fusion": Ablation({"IX": "w/o TF"}, {"token_fusion": "none"}),
    "cross-attention": Ablation({"IX": "CA"}, {"token_fusion": "attention"}),
    "dynamic-gate": Ablation({"IX": "DG"}, {"token_fusion": "gate"}),
    "linear-fusion": Ablation({"IX": "addition and a linear layer of its own"}, {"token_fusion": "linear"}),
    "no-wavelets": Ablation({"X": "w/o WD"}, {"wavelets": "none"}),
    "only-high": Ablation({"X": "w only HF"}, {"wavelets": "high"}),
    "only-low": Ablation({"X": "w only LF"}, {"wavelets": "low"}),
    "full": Ablation(
        {"VI": "VNS-T + DPE + NSFM", "VII": "w NSFM, VNS-MT + VNS-ET", "VIII": "MPL&EPL", "IX": "Ours", "X": "Ours"}, {}
    ),
}
"""By name, in the order of the tables' rows. "epl-mpl" (mask EPL, edge MPL) and "linear-fusion" were tried by the
authors and are not in the paper."""


def table_rows(table: Table) -> dict[str, str]:
    """The rows of a table in its order: the paper's label and the name in :data:`ABLATIONS`."""
    return {ablation.labels[table]: name for name, ablation in ABLATIONS.items() if table in ablation.labels}


def ablation_switches(name: str) -> Mapping[str, Any]:
    """What an ablation changes of a preset.

    Raises:
        UsageError: There is no such ablation; the nearest one is named.
    """
    if name not in ABLATIONS:
        raise UsageError(f"there is no ablation '{name}'", hint=nearest(name, list(ABLATIONS)))
    return ABLATIONS[name].switches
