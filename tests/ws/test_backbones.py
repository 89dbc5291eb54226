"""Backbones: strides, channels and sizes of all kinds; weights from a folder; what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import SMALL

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.architectures import LITES, LiteConfig
from vns_sam.sam.encoders.lite import TinyEncoder
from vns_sam.ws.backbones import LiteBackbone, TransformersBackbone, build_backbone, load_backbone
from vns_sam.ws.config import BACKBONES, BackboneConfig


@torch.no_grad()
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32)])
def test_four_maps(kind: str, height: int, width: int) -> None:
    backbone = build_backbone(SMALL[kind]).eval()
    maps = backbone(torch.randn(2, 3, height, width))
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, height // stride, width // stride)
        for channels, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "channels", "parameters"),
    [
        ("efficientnet-lite0", (24, 40, 112, 320), 2_958_848),
        ("efficientnet-lite2", (24, 48, 120, 352), 4_357_952),
        ("resnet50", (256, 512, 1024, 2048), 23_508_032),
        ("pvtv2-b2", (64, 128, 320, 512), 24_849_856),
        ("pvtv2-b4", (64, 128, 320, 512), 62_043_072),
        ("swin-tiny", (96, 192, 384, 768), 27_522_234),
        ("swin-base", (128, 256, 512, 1024), 86_747_064),
    ],
)
def test_named_backbones(name: str, channels: tuple[int, ...], parameters: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(BACKBONES[name])
    assert backbone.channels == channels
    assert sum(p.numel() for p in backbone.parameters()) == parameters


@torch.no_grad()
def test_the_bundled_backbone_is_that_of_the_tiny_sam() -> None:
    encoder, backbone = TinyEncoder(LiteConfig()).eval(), LiteBackbone(LiteConfig()).eval()
    state = {key: value for key, value in encoder.state_dict().items() if not key.startswith(("laterals", "neck"))}
    backbone.encoder.load_state_dict(state)
    pixels = torch.randn(1, 3, 64, 64)
    found, levels = backbone(pixels), encoder(pixels)[1]
    torch.testing.assert_close(found[2], levels[2].permute(0, 3, 1, 2))
    torch.testing.assert_close(torch.nn.functional.pixel_unshuffle(found[0], 4), levels[0].permute(0, 3, 1, 2))


def test_the_bundled_backbone_keeps_its_statistics() -> None:
    backbone = LiteBackbone(LiteConfig()).train()
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(value, before[key]) for key, value in backbone.named_buffers())


def test_imagenet_weights_of_another_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="not weights of this EfficientNet-Lite"):
        LiteBackbone(LiteConfig()).load_imagenet({"conv1.weight": torch.zeros(1)})


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind not in LITES])
def test_weights_of_a_published_classifier(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    built = build_backbone(SMALL[kind])
    assert isinstance(built, TransformersBackbone)
    classifier = AutoModelForImageClassification.from_config(built.network.config)
    classifier.save_pretrained(tmp_path)
    config, loaded = load_backbone(tmp_path)
    published = {key.partition(".")[2]: value for key, value in classifier.state_dict().items()}
    state = {key.removeprefix("network.").removeprefix("swin."): value for key, value in loaded.state_dict().items()}
    inside = {key: value for key, value in state.items() if not key.startswith("hidden_states_norms")}
    assert inside
    assert all(torch.equal(value, published[key]) for key, value in inside.items())
    again = build_backbone(config).eval()
    again.load_state_dict(loaded.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    for expected, found in zip(loaded.eval()(pixels), again(pixels), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_folder_without_a_backbone(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no backbone"):
        load_backbone(tmp_path)


def test_a_backbone_of_another_kind(tmp_path: Path) -> None:
    from transformers import ConvNextConfig

    ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1]).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="is a 'convnext' model"):
        load_backbone(tmp_path)


def test_refused_descriptions() -> None:
    with pytest.raises(UsageError, match="kind must be 'efficientnet-lite0' or"):
        BackboneConfig("vgg")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no setting 'widths'"):
        BackboneConfig("resnet", {"widths": [1]})
