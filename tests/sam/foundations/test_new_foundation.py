"""A foundation that nobody knew is a module with its numbers, names and encoder, and a line in a table each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import pytest
import torch
import torch.nn.functional as F
from foundation_models import shaken
from torch import nn
from workshop import IMAGES, PROMPTS

from vns_sam.inference.load import load_network
from vns_sam.sam import registry
from vns_sam.sam.architectures import EncoderConfig
from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.encoders.adapter import TinyAdapter
from vns_sam.sam.foundations import names
from vns_sam.sam.foundations.translate import build, rename, translator
from vns_sam.sam.model import SamModel
from vns_sam.sam.model_config import Width
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


@dataclass(frozen=True)
class PondConfig(EncoderConfig):
    """An encoder of one convolution."""

    width: Width = 6
    kind: Literal["pond"] = "pond"

    @property
    def level_channels(self) -> tuple[int, int, int, int]:
        return (self.width,) * 4


class PondEncoder(nn.Module):
    """Its levels are all alike."""

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.neck = nn.Conv2d(width, hidden_size, 1)

    @classmethod
    def for_sam(cls, backbone: PondConfig, hidden_size: int, image_size: int) -> Self:
        return cls(backbone.width, hidden_size)

    @staticmethod
    def adapter_for(backbone: PondConfig) -> TinyAdapter:
        return TinyAdapter((backbone.width,), stem=backbone.width, first=0)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        cells = F.gelu(self.patches(pixels))
        return self.neck(cells), (cells.permute(0, 2, 3, 1),) * 4


def pond_config() -> SamConfig:
    decoder = MaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32)
    pond = PondConfig()
    return SamConfig("pond", pond, 64, pond.level_channels, mask_decoder=decoder)


to_own = translator(
    (("pond.", "image_encoder.", ()), ("prompts.", "prompt_encoder.", ()), ("masks.", "mask_decoder.", ()))
)


def load_pond(state: Mapping[str, torch.Tensor], path: Path) -> SamModel:
    return build(pond_config, rename(state, to_own), path)[0]


LAYOUT = registry.Layout("a pond", lambda state: "pond.patches.weight" in state, load_pond, lambda _: "a pond")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines: encoder, layout and name."""
    monkeypatch.setitem(registry.ENCODERS, "pond", "test_new_foundation:PondEncoder")
    monkeypatch.setattr(registry, "LAYOUTS", ("test_new_foundation:LAYOUT", *registry.LAYOUTS))
    monkeypatch.setitem(names.CONFIGS, "pond", pond_config)  # type: ignore[arg-type]


def theirs(model: SamModel) -> dict[str, torch.Tensor]:
    """The tensors as a file of the pond's authors has them; this package's names, but for the parts'."""
    parts = {"image_encoder.": "pond.", "prompt_encoder.": "prompts.", "mask_decoder.": "masks."}
    own = {key: next(part for part in parts if key.startswith(part)) for key in model.state_dict()}
    return {parts[own[key]] + key.removeprefix(own[key]): value for key, value in model.state_dict().items()}


def test_it_is_loaded_by_its_path_and_carries_vns_sam(registered: None, tmp_path: Path) -> None:
    sam = shaken(SamModel(pond_config()))
    assert isinstance(sam, SamModel)
    torch.save({"model": theirs(sam)}, tmp_path / "pond.pt")
    model = load_network(tmp_path / "pond.pt")
    assert isinstance(model, SamModel)
    assert (model.name, model.config) == ("pond", pond_config())
    model.save_pretrained(tmp_path / "pond")
    assert load_network(tmp_path / "pond").config == model.config  # type: ignore[union-attr]
    config = VnsSamConfig.for_sam(model.config, base=str(tmp_path / "pond.pt"), inner_channels=8, head_channels=8)
    vns = VnsSamModel.from_sam(model, config).eval()
    vns.save_pretrained(tmp_path / "vns")
    again = load_network(tmp_path / "vns")
    first, second = (one.decode(one.encode(IMAGES), PROMPTS, [0, 1]) for one in (vns, again))
    torch.testing.assert_close(first.mask_logits, second.mask_logits, atol=1e-6, rtol=0)  # another place in memory
    assert registry.describe(theirs(sam), tmp_path) == "a pond"
