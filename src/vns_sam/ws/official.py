"""Checkpoints of WS-SAM's authors (``Net_epoch_best.pth``), by the names of their tensors.

Their backbone is timm's ResNet-50, whose names are translated to transformers'; the rest is a table. A convolution
before a batch norm has a bias there, which goes into the norm's mean; what only their training reads is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam import registry
from vns_sam.sam.checkpoints import load_weights
from vns_sam.ws.config import LEVELS, WsSamConfig
from vns_sam.ws.model import WsSamModel

_TEXTURE, _BACKBONE = "gcm_interFA.T1.branch0.conv.weight", "shared_encoder.conv1.weight"
_TRAINING_ONLY = ("gcm_interFA.embedding_layer.",)
_BEFORE_NORM = "GPM.out.0.bias"

_NORMED = {"conv": "0", "bn": "1"}
_BACK = (
    (r"shared_encoder\.conv1\.", r"backbone.network.embedder.embedder.convolution."),
    (r"shared_encoder\.bn1\.", r"backbone.network.embedder.embedder.normalization."),
    (r"shared_encoder\.layer(\d)\.(\d+)\.downsample\.0\.", r"stage \1 \2 shortcut.convolution."),
    (r"shared_encoder\.layer(\d)\.(\d+)\.downsample\.1\.", r"stage \1 \2 shortcut.normalization."),
    (r"shared_encoder\.layer(\d)\.(\d+)\.conv(\d)\.", r"stage \1 \2 layer.\3.convolution."),
    (r"shared_encoder\.layer(\d)\.(\d+)\.bn(\d)\.", r"stage \1 \2 layer.\3.normalization."),
)
_HEAD = (
    (r"gcm_interFA\.T(\d)\.branch0\.", r"head.texture.<\1>.point."),
    (r"gcm_interFA\.T(\d)\.branch(\d)\.(\d)\.", r"head.texture.<\1>.wide.<\2>.\3."),
    (r"gcm_interFA\.T(\d)\.conv_cat\.", r"head.texture.<\1>.gather."),
    (r"gcm_interFA\.T(\d)\.conv_res\.", r"head.texture.<\1>.residual."),
    (r"gcm_interFA\.interFA(\d)\.conv3x3\.", r"head.fusion.<\1>.join."),
    (r"gcm_interFA\.interFA(\d)\.conv1x1\.", r"head.fusion.<\1>.out."),
    (r"gcm_interFA\.interFA(\d)\.cbam\.channel_attention\.shared_MLP\.", r"head.fusion.<\1>.attention.channel."),
    (r"gcm_interFA\.interFA(\d)\.cbam\.spatial_attention\.conv2d\.", r"head.fusion.<\1>.attention.spatial."),
    (r"gcm_interFA\.ODE(\d)\.getalpha\.fc1\.", r"head.grouping.\1.gate.0."),
    (r"gcm_interFA\.ODE(\d)\.getalpha\.fc2\.", r"head.grouping.\1.gate.2."),
    (r"gcm_interFA\.ODE(\d)\.SAn\.", r"head.grouping.\1.fine."),
    (r"gcm_interFA\.ODE(\d)\.SAm\.", r"head.grouping.\1.coarse."),
    (r"GPM\.branch_main\.1\.", r"head.prior.whole."),
    (r"GPM\.branch(\d)\.", r"head.prior.branches.\1."),
    (r"GPM\.head\.0\.", r"head.prior.gather."),
    (r"GPM\.head\.1\.gamma", r"head.prior.attention.gamma"),
    (r"GPM\.head\.1\.(query|key|value)_conv\.", r"head.prior.attention.\1."),
    (r"GPM\.out\.", r"head.prior.out."),
    (r"rem_decoder\.decoder(\d)\.rcab_a\.", r"head.stages.<\1>.at_background."),
    (r"rem_decoder\.decoder(\d)\.rcab_b\.", r"head.stages.<\1>.at_object."),
    (r"rem_decoder\.decoder(\d)\.conv3x3\.", r"head.stages.<\1>.fuse."),
    (r"rem_decoder\.decoder(\d)\.out_s\.", r"head.stages.<\1>.out."),
)
_WITHIN = (
    (r"(at_\w+)\.body\.3\.conv_du\.0\.", r"\1.channel.1."),
    (r"(at_\w+)\.body\.3\.conv_du\.2\.", r"\1.channel.3."),
    (r"\.encoder_pos\.proj\.", r".positions.linear."),
    (r"\.decoder_pos\.proj\.", r".placing.linear."),
    (r"\.layer_norm\.", r".embed.0."),
    (r"(fine|coarse)\.mlp\.0\.", r"\1.embed.1."),
    (r"(fine|coarse)\.mlp\.2\.", r"\1.embed.3."),
    (r"(fine|coarse)\.conv\.", r"\1.project."),
    (r"slot_attention\.slots_embedding\.", r"prototypes.initial."),
    (r"slot_attention\.norm_input\.", r"prototypes.feature_norm."),
    (r"slot_attention\.norm_slots\.", r"prototypes.prototype_norm."),
    (r"slot_attention\.norm_pre_ff\.", r"prototypes.refine.0."),
    (r"slot_attention\.project_q\.", r"prototypes.query."),
    (r"slot_attention\.project_k\.", r"prototypes.key."),
    (r"slot_attention\.project_v\.", r"prototypes.value."),
    (r"slot_attention\.gru\.", r"prototypes.update."),
    (r"slot_attention\.mlp\.0\.", r"prototypes.refine.1."),
    (r"slot_attention\.mlp\.2\.", r"prototypes.refine.3."),
)


def own_name(name: str) -> str:
    """Our name of one of their tensors; an unknown one stays as it is."""
    for pattern, ours in (*_BACK, *_HEAD):
        found = re.sub(f"^{pattern}", ours, name)
        if found != name:
            break
    else:
        return name
    found = re.sub(r"<(\d)>", lambda match: str(int(match[1]) - 1), found)  # levels are counted from 0 here
    found = re.sub(
        r"^stage (\d) (\d+) (?:layer\.(\d)|(shortcut))",
        lambda m: (
            f"backbone.network.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."
            + (f"layer.{int(m[3]) - 1}" if m[3] else "shortcut")
        ),
        found,
    )
    for pattern, ours in _WITHIN:
        found = re.sub(pattern, ours, found)
    if found.startswith("head."):
        found = re.sub(r"\.(conv|bn)\.(?=\w+$)", lambda match: f".{_NORMED[match[1]]}.", found)
    return found


def holds(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of the authors' segmenter."""
    return {_TEXTURE, _BACKBONE} <= set(state)


def load(state: Mapping[str, torch.Tensor], path: Path) -> WsSamModel:
    """The authors' segmenter, as they run it: their head, groups that are broadcast, 384 pixels.

    Raises:
        CheckpointError: Tensors are missing, left over or of another shape.
    """
    levels = tuple(level for level in range(1, LEVELS + 1) if f"gcm_interFA.ODE{level}.getalpha.fc1.weight" in state)
    channels = int(state[_TEXTURE].shape[0])
    config = WsSamConfig(
        path.stem, channels=channels, reconstruct="broadcast", grouping_levels=levels or (LEVELS,), head="released"
    )
    if channels % 16:
        raise CheckpointError(f"{path}: expected a width that is a multiple of 16, found {channels}")
    own = {own_name(name): value for name, value in state.items() if not name.startswith(_TRAINING_ONLY)}
    bias = own.pop(own_name(_BEFORE_NORM), None)
    mean = "head.prior.out.1.running_mean"
    if bias is not None and mean in own:
        own[mean] = own[mean] - bias
    gather = "head.prior.gather.0.weight"
    if gather in own and own[gather].ndim == 4:  # theirs has the whole picture first, ours last
        width = own[gather].shape[1] // 5
        own[gather] = torch.cat([own[gather][:, width:], own[gather][:, :width]], 1)
    model = WsSamModel(config)
    load_weights(
        model, {name: value.float() if value.is_floating_point() else value for name, value in own.items()}, path
    )
    return model.eval()


LAYOUT = registry.Layout("WS-SAM's Net_epoch_best.pth", holds, load)
