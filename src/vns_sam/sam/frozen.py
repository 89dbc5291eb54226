"""What methods that stand on a frozen SAM share: the SAM is taken over, only the rest is trained and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import torch
from torch import nn

from vns_sam.sam.mask_decoder import SamMaskDecoder
from vns_sam.sam.model import SamModel
from vns_sam.sam.promptable import PromptableNetwork


class AroundSamDecoder(nn.Module):
    """A decoder with SAM's inside.

    Attributes:
        sam: SAM's decoder; no gradients, always in eval mode.
    """

    sam: SamMaskDecoder

    def train(self, mode: bool = True) -> Self:
        """Switches the new modules between training and evaluation; SAM's part stays in evaluation."""
        super().train(mode)
        self.sam.eval()
        return self

    def trainable_state_dict(self) -> dict[str, torch.Tensor]:
        """Everything but SAM's part: the trained weights and the running statistics of batch norms."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("sam.")}


class FrozenSamNetwork(PromptableNetwork):
    """A network on a SAM that it takes over and freezes.

    Attributes:
        sam: The SAM.
    """

    sam: SamModel

    def take_over(
        self, sam: SamModel, decoder: AroundSamDecoder, mask_prompt: Literal["logits", "grey"] | None
    ) -> None:
        """Freezes a SAM, whose mask decoder becomes that part of ``decoder``; ``mask_prompt`` None keeps SAM's own."""
        self.preprocessing = sam.preprocessing
        self.sam = sam.requires_grad_(False)
        decoder.sam = self.sam.mask_decoder
        if mask_prompt is not None:
            self.sam.prompt_encoder.mask_prompt = mask_prompt

    def train(self, mode: bool = True) -> Self:
        """Switches the mode of what is trained; the frozen SAM stays in eval mode."""
        super().train(mode)
        self.sam.eval()
        return self

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What training changes: everything but SAM."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors`` with what is trained; SAM is named, not copied."""
        raise NotImplementedError

    def push_to_hub(self, repo: str, *, private: bool = False) -> str:
        """Uploads :meth:`save_pretrained`'s folder to the Hugging Face hub; returns the address of the commit."""
        from tempfile import TemporaryDirectory

        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"Upload {self.name}"))
