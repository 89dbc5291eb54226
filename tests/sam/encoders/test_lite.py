"""The tiny backbone against an independent EfficientNet-Lite, and prompts drawn where they should be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from workshop import narrow_sam

from vns_sam.errors import CheckpointError
from vns_sam.sam.architectures import LITES, LiteConfig
from vns_sam.sam.encoders.lite import ConvBn, PromptMixer, TinyEncoder
from vns_sam.types import PromptBatch

# Every block as (kernel, stride, expansion, input channels, output channels).
LITE0 = [
    (3, 1, 1, 32, 16),
    *[(3, 2, 6, 16, 24), (3, 1, 6, 24, 24)],
    *[(5, 2, 6, 24, 40), (5, 1, 6, 40, 40)],
    *[(3, 2, 6, 40, 80), (3, 1, 6, 80, 80), (3, 1, 6, 80, 80)],
    *[(5, 1, 6, 80, 112), (5, 1, 6, 112, 112), (5, 1, 6, 112, 112)],
    *[(5, 2, 6, 112, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192)],
    (3, 1, 6, 192, 320),
]
LITE2 = [
    (3, 1, 1, 32, 16),
    *[(3, 2, 6, 16, 24), (3, 1, 6, 24, 24), (3, 1, 6, 24, 24)],
    *[(5, 2, 6, 24, 48), (5, 1, 6, 48, 48), (5, 1, 6, 48, 48)],
    *[(3, 2, 6, 48, 88), (3, 1, 6, 88, 88), (3, 1, 6, 88, 88), (3, 1, 6, 88, 88)],
    *[(5, 1, 6, 88, 120), (5, 1, 6, 120, 120), (5, 1, 6, 120, 120), (5, 1, 6, 120, 120)],
    *[(5, 2, 6, 120, 208), (5, 1, 6, 208, 208), (5, 1, 6, 208, 208), (5, 1, 6, 208, 208), (5, 1, 6, 208, 208)],
    (3, 1, 6, 208, 352),
]
NETWORKS = {"efficientnet-lite0": (LITE0, (2, 4, 10, 15)), "efficientnet-lite2": (LITE2, (3, 6, 14, 20))}
"""Blocks, and the last one of each level, strides 4 to 32."""
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def published() -> State:
    """EfficientNet-Lite0's."""
    return publish("efficientnet-lite0")


def publish(network: str) -> State:
    """Random weights under the published names, with the classifier that the backbone has no use for."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def conv(name: str, norm: str, *shape: int) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = torch.rand(shape[0], generator=generator) + (0.5 if "v" in part else 0)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    conv("_conv_stem", "_bn0", 32, 3, 3, 3)
    for i, (kernel, _, expansion, in_ch, out_ch) in enumerate(NETWORKS[network][0]):
        wide = in_ch * expansion
        if expansion > 1:
            conv(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", wide, in_ch, 1, 1)
        conv(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", wide, 1, kernel, kernel)
        conv(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", out_ch, wide, 1, 1)
    conv("_conv_head", "_bn1", 1280, NETWORKS[network][0][-1][-1], 1, 1)
    return {**state, "_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def reference(network: str, state: State, x: torch.Tensor) -> list[torch.Tensor]:
    """An EfficientNet-Lite by its published weights: the maps at strides 4, 8, 16 and 32."""

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int = 1, *, linear: bool = False) -> torch.Tensor:
        weight = state[f"{conv}.weight"]
        total = weight.shape[-1] - stride  # TensorFlow pads the odd pixel at the end
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        mean, var, scale, shift = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, var, scale, shift, eps=1e-3)
        return x if linear else x.clamp(0, 6)

    x = layer(x, "_conv_stem", "_bn0", 2)
    levels = []
    blocks, exported = NETWORKS[network]
    for i, (_, stride, expansion, in_ch, out_ch) in enumerate(blocks):
        name, y = f"_blocks.{i}", x
        if expansion > 1:
            y = layer(y, f"{name}._expand_conv", f"{name}._bn0")
        y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        y = layer(y, f"{name}._project_conv", f"{name}._bn2", linear=True)
        x = x + y if stride == 1 and in_ch == out_ch else y
        if i in exported:
            levels.append(x)
    return levels


@torch.no_grad()
@pytest.mark.parametrize("network", NETWORKS)
def test_levels_are_those_of_the_published_network(network: str) -> None:
    config, published = LITES[network], publish(network)
    encoder = TinyEncoder(config, 32).eval()
    encoder.load_imagenet(published)
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    embedding, levels = encoder(pixels)
    assert embedding.shape == (2, 32, 4, 6)
    assert [tuple(level.shape) for level in levels] == [(2, 4, 6, c) for c in config.level_channels]
    finest, fine, same, coarse = reference(network, published, pixels)
    expected = [
        F.pixel_unshuffle(finest, 4),
        F.pixel_unshuffle(fine, 2),
        same,
        F.interpolate(coarse, scale_factor=2, mode="bilinear"),
    ]
    for found, wanted in zip(levels, expected, strict=True):
        torch.testing.assert_close(found.permute(0, 3, 1, 2), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


@pytest.mark.parametrize(
    "change",
    [
        {"_blocks.3._se_reduce.weight": torch.zeros(4, 144, 1, 1)},
        {"_blocks.16._expand_conv.weight": torch.zeros(1920, 320, 1, 1)},
        {"_blocks.5._project_conv.weight": torch.zeros(88, 240, 1, 1)},
        {"_conv_stem.weight": None},
    ],
    ids=["squeeze-and-excite", "one block more", "wider", "no stem"],
)
def test_other_weights_are_refused_and_leave_the_encoder_alone(
    published: State, change: dict[str, torch.Tensor | None]
) -> None:
    encoder = TinyEncoder(LiteConfig(), 32)
    before = encoder.stem[1].weight.clone()
    state = {key: value for key, value in {**published, **change}.items() if value is not None}
    with pytest.raises(CheckpointError, match="not weights of this EfficientNet-Lite"):
        encoder.load_imagenet(state)
    assert torch.equal(encoder.stem[1].weight, before)


def test_batch_norms_keep_their_statistics_in_training() -> None:
    model = narrow_sam().train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert model.image_encoder.training
    assert norms
    assert not any(norm.training for norm in norms)
    before = norms[0].running_mean.clone()
    model.encode_pixels(torch.randn(2, 3, 64, 64))
    assert torch.equal(norms[0].running_mean, before)


def drawn(height: int = 16, width: int = 24, **prompt: torch.Tensor) -> torch.Tensor:
    """One prompt drawn for an input of four times the size."""
    batch = replace(PromptBatch(torch.tensor([0])), **{key: value[None] for key, value in prompt.items()})
    return PromptMixer(32, 1).draw(batch, height, width)[0]


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "linear"), [(1, 1, 1, True), (5, 2, 6, False), (3, 1, 6, False)]
)
def test_a_folded_norm_computes_and_teaches_the_same(kernel: int, stride: int, groups: int, linear: bool) -> None:
    torch.manual_seed(0)
    layer = ConvBn(6, 12, kernel, stride, groups, linear=linear).eval()
    pad, conv, norm, act = layer
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(value, 0.5, 1.5)
    x = torch.randn(2, 6, 8, 8)
    weights = list(layer.parameters())
    found, expected = layer(x), act(norm(conv(pad(x))))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.square().sum(), weights) for y in (found, expected)]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-3)
    assert torch.equal(layer.train()(x), act(norm(conv(pad(x)))))


def test_box_is_filled_and_has_a_bump_in_its_middle() -> None:
    canvas = drawn(boxes=torch.tensor([16.0, 8.0, 63.0, 39.0]))
    expected = torch.zeros(16, 24)
    expected[2:10, 4:16] = 1
    assert torch.equal((canvas[0] > 0.5).float(), expected)
    assert canvas[0].max() == 1
    middle = canvas[1] == canvas[1].max()
    assert middle.nonzero().float().mean(0).tolist() == pytest.approx([5.5, 9.5])
    assert not canvas[2:].any()


def test_clicks_are_drawn_by_label_at_their_place() -> None:
    points = torch.tensor([[70.0, 13.0], [6.0, 50.0], [9.0, 9.0]])
    canvas = drawn(points=points, labels=torch.tensor([1, 0, 1]))

    def peaks(channel: int) -> set[tuple[int, int]]:
        return {(x, y) for y, x in (canvas[channel] > 0.5).nonzero().tolist()}

    assert peaks(2) == {(17, 3), (2, 2)}
    assert peaks(4) == {(1, 12)}
    for spot, halo in ((2, 3), (4, 5)):
        assert (canvas[halo] >= canvas[spot]).all()
        assert canvas[halo].mean() > 3 * canvas[spot].mean()
    assert not canvas[[0, 1, 6]].any()


def test_clicks_of_one_label_leave_the_other_channels_empty() -> None:
    canvas = drawn(points=torch.tensor([[70.0, 13.0]]), labels=torch.tensor([0]))
    assert not canvas[[2, 3]].any()
    assert canvas[4].max() > 0.8


def test_coarse_mask_is_drawn_from_minus_one_to_one() -> None:
    mask = torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(0))
    canvas = drawn(masks=mask)
    assert torch.allclose(canvas[6], 2 * mask[0] - 1)
    assert not canvas[:6].any()


@torch.no_grad()
def test_every_prompt_is_drawn_on_its_own() -> None:
    mixer = PromptMixer(32, 1).eval()
    boxes = torch.tensor([[4.0, 4, 30, 30], [20, 8, 60, 50]])
    embeddings = torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    both = mixer(embeddings, PromptBatch(torch.arange(2), boxes))
    assert both.shape == embeddings.shape
    for i in range(2):
        alone = mixer(embeddings[i : i + 1], PromptBatch(torch.tensor([0]), boxes[i : i + 1]))
        torch.testing.assert_close(alone[0], both[i], rtol=1e-5, atol=1e-5)
