"""Names of SAM's tensors: Meta's own, transformers', and ours (transformers' below our module names).

A table pairs the end of a key in Meta's files with its end in transformers; ``*`` is a number. What no row
names is called the same in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable

DECODER = (
    ("layers.*.norm*", "layers.*.layer_norm*"),
    ("norm_final_attn", "layer_norm_final_attn"),
    ("output_upscaling.0", "upscale_conv1"),
    ("output_upscaling.1", "upscale_layer_norm"),
    ("output_upscaling.3", "upscale_conv2"),
    ("layers.0", "proj_in"),
    ("layers.1", "layers.0"),
    ("layers.2", "proj_out"),
)
"""Mask decoder. The last three rows are the layers of its MLP heads."""

PROMPT_ENCODER = (
    ("pe_layer.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    ("point_embeddings.*", "point_embed.*"),
    ("mask_downscaling.0", "mask_embed.conv1"),
    ("mask_downscaling.1", "mask_embed.layer_norm1"),
    ("mask_downscaling.3", "mask_embed.conv2"),
    ("mask_downscaling.4", "mask_embed.layer_norm2"),
    ("mask_downscaling.6", "mask_embed.conv3"),
)

IMAGE_ENCODER = (
    ("patch_embed.proj", "patch_embed.projection"),
    ("blocks.*.norm*", "layers.*.layer_norm*"),
    ("blocks.*.attn.rel_pos_h", "layers.*.attn.rel_pos_h"),
    ("blocks.*.attn.rel_pos_w", "layers.*.attn.rel_pos_w"),
    ("blocks.*.attn.qkv", "layers.*.attn.qkv"),
    ("blocks.*.attn.proj", "layers.*.attn.proj"),
    ("blocks.*.mlp.lin*", "layers.*.mlp.lin*"),
    ("neck.0", "neck.conv1"),
    ("neck.1", "neck.layer_norm1"),
    ("neck.2", "neck.conv2"),
    ("neck.3", "neck.layer_norm2"),
)


def _translator(table: tuple[tuple[str, str], ...], *, back: bool = False) -> Callable[[str], str]:
    rules = []
    for meta, hf in table:
        source, target = (hf, meta) if back else (meta, hf)
        pattern = re.escape(source).replace(r"\*", r"(\d+)")
        first, *rest = target.split("*")
        replacement = first + "".join(rf"\{i}{part}" for i, part in enumerate(rest, 1))
        rules.append((re.compile(rf"(?<![^.]){pattern}(?=(?:\.weight|\.bias)?$)"), replacement))

    def translate(key: str) -> str:
        for pattern, replacement in rules:
            translated, count = pattern.subn(replacement, key)
            if count:
                return translated
        return key

    return translate


_decoder_to_hf = _translator(DECODER)
_decoder_to_meta = _translator(DECODER, back=True)
_TO_OWN = {
    "image_encoder.": ("image_encoder.vit.", _translator(IMAGE_ENCODER)),
    "prompt_encoder.": ("prompt_encoder.", _translator(PROMPT_ENCODER)),
    "mask_decoder.": ("mask_decoder.", _decoder_to_hf),
}


def decoder_key_to_hf(key: str) -> str:
    """Renames a tensor of Meta's mask decoder as transformers and :class:`SamMaskDecoder` call it.

    Args:
        key: Without the prefix ``mask_decoder.``, such as ``transformer.layers.0.norm1.weight``. The MLP
            heads that VNS-SAM adds (``hf_mlp``, ``edge_mlp``) follow the same pattern and are renamed too.
    """
    return _decoder_to_hf(key)


def decoder_key_to_meta(key: str) -> str:
    """Inverse of :func:`decoder_key_to_hf`."""
    return _decoder_to_meta(key)


def meta_key_to_own(key: str) -> str:
    """Renames a tensor of a whole SAM file of Meta's as our :class:`SamModel` with a ViT calls it."""
    for prefix, (own, translate) in _TO_OWN.items():
        if key.startswith(prefix):
            return own + translate(key.removeprefix(prefix))
    return key


SHARED_POSITIONS = "shared_image_embedding.positional_embedding"
"""Transformers keeps the positions of points twice; this is the image's."""


def own_key_to_hf(key: str) -> str:
    """Inverse of :func:`hf_key_to_own`, but for :data:`SHARED_POSITIONS`, which is one tensor here."""
    if key.startswith("image_encoder.vit."):
        return "vision_encoder." + key.removeprefix("image_encoder.vit.")
    return key


def hf_key_to_own(key: str) -> str:
    """Renames a tensor of transformers' ``SamModel`` as our :class:`SamModel` calls it."""
    if key.startswith("shared_image_embedding."):
        return "prompt_encoder.shared_embedding." + key.removeprefix("shared_image_embedding.")
    if key.startswith("vision_encoder."):
        return "image_encoder.vit." + key.removeprefix("vision_encoder.")
    return key
