"""Checkpoints of WS-SAM's authors load: held against a second forward pass, written on their tensors' names alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vns_sam.errors import CheckpointError
from vns_sam.inference.load import load_model, load_network, takes_prompts
from vns_sam.sam.registry import recognise
from vns_sam.ws.model import WsSamModel
from vns_sam.ws.official import holds, own_name

State = dict[str, torch.Tensor]
WIDTH = 128


class Drawn:
    """Random tensors under the authors' names."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.state: State = {}

    def tensor(self, name: str, *shape: int, scale: float | None = None) -> None:
        fan = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 25
        spread = fan**-0.5 if scale is None else scale
        self.state[name] = torch.randn(shape, generator=self.generator) * spread

    def conv(self, name: str, out: int, into: int, high: int, wide: int, *, bias: bool) -> None:
        self.tensor(f"{name}.weight", out, into, high, wide)
        if bias:
            self.tensor(f"{name}.bias", out)

    def norm(self, name: str, width: int, *, batch: bool = True) -> None:
        self.state[f"{name}.weight"] = torch.rand(width, generator=self.generator) + 0.5
        self.tensor(f"{name}.bias", width)
        if batch:
            self.tensor(f"{name}.running_mean", width)
            self.state[f"{name}.running_var"] = torch.rand(width, generator=self.generator) + 0.5
            self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def basic(self, name: str, out: int, into: int, high: int = 1, wide: int = 1) -> None:
        self.conv(f"{name}.conv", out, into, high, wide, bias=False)
        self.norm(f"{name}.bn", out)

    def linear(self, name: str, out: int, into: int) -> None:
        self.tensor(f"{name}.weight", out, into)
        self.tensor(f"{name}.bias", out)


def resnet(drawn: Drawn) -> None:
    drawn.conv("shared_encoder.conv1", 64, 3, 7, 7, bias=False)
    drawn.norm("shared_encoder.bn1", 64)
    into = 64
    for stage, (depth, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for layer in range(depth):
            name = f"shared_encoder.layer{stage}.{layer}"
            for number, (out, came, side) in enumerate(((width, into, 1), (width, width, 3), (4 * width, width, 1)), 1):
                drawn.conv(f"{name}.conv{number}", out, came, side, side, bias=False)
                drawn.norm(f"{name}.bn{number}", out)
            if layer == 0:
                drawn.conv(f"{name}.downsample.0", 4 * width, into, 1, 1, bias=False)
                drawn.norm(f"{name}.downsample.1", 4 * width)
            into = 4 * width


def groups(drawn: Drawn, name: str, count: int) -> None:
    for side in ("encoder_pos", "decoder_pos"):
        drawn.linear(f"{name}.{side}.proj", WIDTH, 4)
    for norm in ("layer_norm", *(f"slot_attention.norm_{part}" for part in ("input", "slots", "pre_ff"))):
        drawn.norm(f"{name}.{norm}", WIDTH, batch=False)
    for part in ("mlp.0", "mlp.2", *(f"slot_attention.{p}" for p in ("project_q", "project_k", "project_v"))):
        drawn.linear(f"{name}.{part}", WIDTH, WIDTH)
    drawn.tensor(f"{name}.slot_attention.slots_embedding.weight", count, WIDTH, scale=1)
    for part in ("ih", "hh"):
        drawn.tensor(f"{name}.slot_attention.gru.weight_{part}", 3 * WIDTH, WIDTH)
        drawn.tensor(f"{name}.slot_attention.gru.bias_{part}", 3 * WIDTH)
    for part in ("slot_attention.mlp.0", "slot_attention.mlp.2"):
        drawn.linear(f"{name}.{part}", WIDTH, WIDTH)
    drawn.conv(f"{name}.conv", WIDTH, WIDTH * count, 1, 1, bias=True)


@pytest.fixture(scope="module")
def state() -> State:
    drawn = Drawn()
    resnet(drawn)
    for level in range(1, 5):
        name, into = f"gcm_interFA.T{level}", 128 * 2**level
        drawn.basic(f"{name}.branch0", WIDTH, into)
        for branch, side in ((1, 3), (2, 5), (3, 7)):
            sizes = ((into, 1, 1), (WIDTH, 1, side), (WIDTH, side, 1), (WIDTH, 3, 3))
            for number, (came, high, wide) in enumerate(sizes):
                drawn.basic(f"{name}.branch{branch}.{number}", WIDTH, came, high, wide)
        drawn.basic(f"{name}.conv_cat", WIDTH, 4 * WIDTH, 3, 3)
        drawn.basic(f"{name}.conv_res", WIDTH, into)
    groups(drawn, "gcm_interFA.ODE4.SAn", 4)
    groups(drawn, "gcm_interFA.ODE4.SAm", 2)
    drawn.conv("gcm_interFA.ODE4.getalpha.fc1", WIDTH, 2 * WIDTH, 1, 1, bias=False)
    drawn.conv("gcm_interFA.ODE4.getalpha.fc2", 1, WIDTH, 1, 1, bias=False)
    for level in (1, 2, 3):
        name = f"gcm_interFA.interFA{level}"
        drawn.basic(f"{name}.conv3x3", WIDTH, 2 * WIDTH, 3, 3)
        drawn.conv(f"{name}.cbam.channel_attention.shared_MLP.0", WIDTH // 16, WIDTH, 1, 1, bias=False)
        drawn.conv(f"{name}.cbam.channel_attention.shared_MLP.2", WIDTH, WIDTH // 16, 1, 1, bias=False)
        drawn.conv(f"{name}.cbam.spatial_attention.conv2d", 1, 2, 7, 7, bias=True)
        drawn.basic(f"{name}.conv1x1", WIDTH, 2 * WIDTH)
    drawn.basic("GPM.branch_main.1", WIDTH, 2048)
    drawn.basic("GPM.branch0", WIDTH, 2048)
    for branch in (1, 2, 3):
        drawn.basic(f"GPM.branch{branch}", WIDTH, 2048, 3, 3)
    drawn.basic("GPM.head.0", 256, 5 * WIDTH, 3, 3)
    drawn.tensor("GPM.head.1.gamma", 1, scale=1)
    for part, out in (("query", 64), ("key", 64), ("value", 256)):
        drawn.conv(f"GPM.head.1.{part}_conv", out, 256, 1, 1, bias=True)
    drawn.conv("GPM.out.0", 64, 256, 3, 3, bias=True)
    drawn.norm("GPM.out.1", 64)
    drawn.state["GPM.out.2.weight"] = torch.tensor([0.25])
    drawn.conv("GPM.out.4", 1, 64, 1, 1, bias=True)
    for level in range(1, 5):
        name = f"rem_decoder.decoder{level}"
        for side in ("rcab_a", "rcab_b"):
            for number in (0, 2):
                drawn.conv(f"{name}.{side}.body.{number}", WIDTH, WIDTH, 3, 3, bias=True)
            drawn.conv(f"{name}.{side}.body.3.conv_du.0", WIDTH // 16, WIDTH, 1, 1, bias=True)
            drawn.conv(f"{name}.{side}.body.3.conv_du.2", WIDTH, WIDTH // 16, 1, 1, bias=True)
        drawn.basic(f"{name}.conv3x3", WIDTH, 2 * WIDTH, 3, 3)
        drawn.conv(f"{name}.out_s", 1, WIDTH, 3, 3, bias=True)
    return drawn.state


class Released:
    """The authors' forward pass as a function of a state dict, in evaluation."""

    def __init__(self, state: State) -> None:
        self.state = state

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        mean, var, weight, bias = (self.state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        shape = (1, -1, 1, 1)
        return (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt() * weight.view(shape) + bias.view(shape)

    def conv(self, name: str, x: torch.Tensor, stride: int = 1, dilation: int = 1) -> torch.Tensor:
        weight = self.state[f"{name}.weight"]
        padding = tuple(dilation * (side // 2) for side in weight.shape[2:])
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding, dilation)

    def basic(self, name: str, x: torch.Tensor, dilation: int = 1) -> torch.Tensor:
        return self.norm(f"{name}.bn", self.conv(f"{name}.conv", x, dilation=dilation)).relu()

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def layer_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def backbone(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.norm("shared_encoder.bn1", self.conv("shared_encoder.conv1", x, 2)).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for stage, depth in enumerate((3, 4, 6, 3), start=1):
            for layer in range(depth):
                name, stride = f"shared_encoder.layer{stage}.{layer}", 2 if stage > 1 and layer == 0 else 1
                y = self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x)).relu()
                y = self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y, stride)).relu()
                y = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", y))
                if layer == 0:
                    x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
                x = (x + y).relu()
            maps.append(x)
        return maps

    def texture(self, name: str, x: torch.Tensor) -> torch.Tensor:
        found = [self.basic(f"{name}.branch0", x)]
        for branch, side in ((1, 3), (2, 5), (3, 7)):
            y = x
            for number, dilation in enumerate((1, 1, 1, side)):
                y = self.basic(f"{name}.branch{branch}.{number}", y, dilation)
            found.append(y)
        return (self.basic(f"{name}.conv_cat", torch.cat(found, 1)) + self.basic(f"{name}.conv_res", x)).relu()

    def grid(self, name: str, height: int, width: int) -> torch.Tensor:
        y = torch.linspace(0, 1, height)[:, None].expand(height, width)
        x = torch.linspace(0, 1, width)[None].expand(height, width)
        return self.linear(f"{name}.proj", torch.stack([y, x, 1 - y, 1 - x], -1))

    def groups(self, name: str, x: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = x.shape
        places = (x.permute(0, 2, 3, 1) + self.grid(f"{name}.encoder_pos", height, width)).flatten(1, 2)
        places = self.linear(f"{name}.mlp.0", self.layer_norm(f"{name}.layer_norm", places)).relu()
        places = self.linear(f"{name}.mlp.2", places)
        slot = f"{name}.slot_attention"
        given = self.layer_norm(f"{slot}.norm_input", places)
        keys, values = self.linear(f"{slot}.project_k", given), self.linear(f"{slot}.project_v", given)
        slots = self.state[f"{slot}.slots_embedding.weight"].expand(batch, -1, -1)
        gru = torch.nn.GRUCell(WIDTH, WIDTH)
        gru.load_state_dict({key: self.state[f"{slot}.gru.{key}"] for key in gru.state_dict()})
        for _ in range(3):
            queries = self.linear(f"{slot}.project_q", self.layer_norm(f"{slot}.norm_slots", slots))
            shares = (queries @ keys.mT * WIDTH**-0.5).softmax(1) + 1e-8
            gathered = (shares / shares.sum(-1, keepdim=True)) @ values
            slots = gru(gathered.reshape(-1, WIDTH), slots.reshape(-1, WIDTH)).view(batch, -1, WIDTH)
            refined = self.linear(f"{slot}.mlp.0", self.layer_norm(f"{slot}.norm_pre_ff", slots)).relu()
            slots = slots + self.linear(f"{slot}.mlp.2", refined)
        spread = slots[:, :, None, None] + self.grid(f"{name}.decoder_pos", height, width)
        return self.conv(f"{name}.conv", spread.permute(0, 1, 4, 2, 3).flatten(1, 2))

    def grouping(self, name: str, x: torch.Tensor) -> torch.Tensor:
        first = self.groups(f"{name}.SAn", x)
        second = self.groups(f"{name}.SAm", first + x)
        both = torch.cat([first, second], 1)
        pools = (both.mean((2, 3), keepdim=True), both.amax((2, 3), keepdim=True))
        gate = sum(self.conv(f"{name}.getalpha.fc2", self.conv(f"{name}.getalpha.fc1", p).relu()) for p in pools)
        alpha = torch.as_tensor(gate).sigmoid()
        return x + first * alpha + second * (1 - alpha)

    def fuse(self, name: str, x: torch.Tensor, coarser: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        up = F.interpolate(coarser, x.shape[2:], mode="bilinear", align_corners=True)
        f = self.basic(f"{name}.conv3x3", torch.cat([x, up], 1))
        mlp = f"{name}.cbam.channel_attention.shared_MLP"
        pools = (f.mean((2, 3), keepdim=True), f.amax((2, 3), keepdim=True))
        f = f * torch.as_tensor(sum(self.conv(f"{mlp}.2", self.conv(f"{mlp}.0", p).relu()) for p in pools)).sigmoid()
        places = torch.cat([f.mean(1, keepdim=True), f.amax(1, keepdim=True)], 1)
        f = f * self.conv(f"{name}.cbam.spatial_attention.conv2d", places).sigmoid()
        return f, self.basic(f"{name}.conv1x1", torch.cat([f, x], 1))

    def prior(self, x: torch.Tensor) -> torch.Tensor:
        whole = self.basic("GPM.branch_main.1", x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        found = [whole, self.basic("GPM.branch0", x)]
        found += [self.basic(f"GPM.branch{k}", x, 6 * k) for k in (1, 2, 3)]
        y = self.basic("GPM.head.0", torch.cat(found, 1))
        queries, keys, values = (self.conv(f"GPM.head.1.{k}_conv", y).flatten(2) for k in ("query", "key", "value"))
        seen = values @ (queries.mT @ keys).softmax(-1).mT
        y = self.state["GPM.head.1.gamma"] * seen.view_as(y) + y
        y = self.norm("GPM.out.1", self.conv("GPM.out.0", y))
        return self.conv("GPM.out.4", torch.where(y > 0, y, 0.25 * y))

    def attend(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(f"{name}.body.2", self.conv(f"{name}.body.0", x).relu())
        weight = self.conv(f"{name}.body.3.conv_du.0", y.mean((2, 3), keepdim=True)).relu()
        return x + y * self.conv(f"{name}.body.3.conv_du.2", weight).sigmoid()

    def stage(self, name: str, x: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        share = F.interpolate(coarser, x.shape[2:], mode="bilinear", align_corners=True).sigmoid()
        both = [self.attend(f"{name}.rcab_a", x * (1 - share) + x), self.attend(f"{name}.rcab_b", x * share + x)]
        return self.conv(f"{name}.out_s", self.basic(f"{name}.conv3x3", torch.cat(both, 1)))

    def __call__(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        levels = self.backbone(pixels)
        f1, f2, f3, f4 = (self.texture(f"gcm_interFA.T{k}", x) for k, x in enumerate(levels, start=1))
        f4 = self.grouping("gcm_interFA.ODE4", f4)
        joined, f3 = self.fuse("gcm_interFA.interFA3", f3, f4)
        joined, f2 = self.fuse("gcm_interFA.interFA2", f2, joined)
        _, f1 = self.fuse("gcm_interFA.interFA1", f1, joined)
        size = (pixels.shape[2], pixels.shape[3])
        seen = F.interpolate(self.prior(levels[-1]), size, mode="bilinear", align_corners=False)
        answers = [seen]
        for level, x in ((4, f4), (3, f3), (2, f2), (1, f1)):
            seen = self.stage(f"rem_decoder.decoder{level}", x, seen)
            answers.append(F.interpolate(seen, size, mode="bilinear", align_corners=False))
        return answers


@torch.inference_mode()
def test_its_answers_are_those_of_the_authors_network(state: State, tmp_path: Path) -> None:
    assert len(state) == 943
    trained = {"gcm_interFA.embedding_layer.0.weight": torch.zeros(256, 4 * WIDTH, 1, 1)}
    path = tmp_path / "Net_epoch_best.pth"
    torch.save({f"module.{name}": value for name, value in (state | trained).items()}, path)
    assert not takes_prompts(path)
    model = load_network(path)
    assert isinstance(model, WsSamModel)
    assert (model.name, model.config.image_size, model.config.reconstruct) == ("Net_epoch_best", 384, "broadcast")
    pixels = torch.randn(2, 3, 160, 128, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(model(pixels).logits, Released(state)(pixels), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-4)
        assert theirs.std() > 0.01
    model.save_pretrained(tmp_path / "saved")
    again = load_model(tmp_path / "saved")
    assert again.info.digest == model.info.digest


def test_what_is_missing_or_new_is_told_by_its_name(state: State, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    assert holds(state)
    torch.save(state | {"rem_decoder.decoder1.crb.conv.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"no place for, the first is 'rem_decoder\.decoder1\.crb\.conv\.weight'"):
        load_model(path)
    torch.save({name: value for name, value in state.items() if not name.startswith("GPM.head.1.query")}, path)
    with pytest.raises(CheckpointError, match=r"head\.prior\.attention\.query"):
        load_model(path)
    assert recognise(state, path).what == "WS-SAM's Net_epoch_best.pth"
    assert own_name("nothing.known") == "nothing.known"
