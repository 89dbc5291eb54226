"""CycleGAN: two generators and two discriminators, which are optimised in turns and not by one sum of losses."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from vns_sam.lowlight import losses
from vns_sam.lowlight.discriminator import PatchDiscriminator
from vns_sam.lowlight.generator import GeneratorConfig, ResnetGenerator, init_weights
from vns_sam.lowlight.model import save_generator
from vns_sam.training.samples.unpaired import UnpairedData
from vns_sam.training.settings import NO, STRICT, Rate, RunRecipe, Steps, Weight

Channels = Annotated[int, Field(gt=0, le=65536)]
Beta = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GanRecipe(RunRecipe):
    """Trains a CycleGAN, from daylight to darkness and back."""

    FREE = (*RunRecipe.FREE, "sample_every")

    task: Literal["cyclegan"]
    """The defaults are the published values (Zhu et al. 2017, appendix 7.1)."""
    data: UnpairedData
    ngf: Channels = 64
    """Channels of the generators' first layer; their size follows its square."""
    blocks: Annotated[int, Field(gt=0, le=1024)] = 9
    """Residual blocks of the generators."""
    ndf: Channels = 64
    """Channels of the discriminators' first layer."""
    epochs: Annotated[int, Field(gt=0, le=10**6)] = 50
    """Epochs with the full learning rate."""
    decay_epochs: Annotated[int, Field(ge=0, le=10**6)] = 50
    """Epochs after these, in which it falls to zero in a line."""
    epoch_steps: Steps | None = None
    """Steps of an epoch; None takes the larger domain once."""
    batch_size: Annotated[int, Field(gt=0, le=65536)] = 1
    lr: Rate = 2e-4
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    """Of both Adam optimisers."""
    cycle: Weight = 10.0
    """Weight of the cycle loss."""
    identity: Weight = 0.5
    """Weight of the identity loss as a share of ``cycle``."""
    pool: Annotated[int, Field(ge=0, le=10**6)] = 50
    """Made pictures of earlier steps that each discriminator is shown now and then; 0 shows the latest only."""
    precision: Annotated[Literal["no", "bf16"], NO] = "no"
    """Mixed precision."""
    checkpoint_every: Steps = 500
    """Steps between two checkpoints."""
    log_every: Steps = 50
    """Steps between two lines of the log."""
    sample_every: Steps = 1000
    """Steps between two pictures in ``samples/``."""


@plain_dataclass(frozen=True)
class Made:
    """What the generators make of a batch, each (B, 3, S, S) in [-1, 1].

    Attributes:
        dark: Of the bright pictures.
        bright: Of the dark pictures.
        bright_again: Of ``dark``.
        dark_again: Of ``bright``.
    """

    dark: torch.Tensor
    bright: torch.Tensor
    bright_again: torch.Tensor
    dark_again: torch.Tensor


class CycleGanTask(nn.Module):
    """The four networks and their losses (Zhu et al. 2017, equations 1 to 3, and section 5.2 for the identity).

    Attributes:
        darken, brighten: The generators.
        judge_dark, judge_bright: The discriminators of dark and of bright pictures.
    """

    def __init__(self, recipe: GanRecipe) -> None:
        super().__init__()
        config = GeneratorConfig(recipe.ngf, recipe.blocks)
        self.darken, self.brighten = ResnetGenerator(config), ResnetGenerator(config)
        self.judge_dark, self.judge_bright = PatchDiscriminator(recipe.ndf), PatchDiscriminator(recipe.ndf)
        self.cycle, self.identity = recipe.cycle, recipe.cycle * recipe.identity
        init_weights(self)

    @property
    def generators(self) -> nn.ModuleList:
        """Both generators."""
        return nn.ModuleList([self.darken, self.brighten])

    @property
    def judges(self) -> nn.ModuleList:
        """Both discriminators."""
        return nn.ModuleList([self.judge_dark, self.judge_bright])

    def make(self, bright: torch.Tensor, dark: torch.Tensor) -> Made:
        """Translates a batch, (B, 3, S, S) each in [-1, 1], there and back."""
        made_dark, made_bright = self.darken(bright), self.brighten(dark)
        return Made(made_dark, made_bright, self.brighten(made_dark), self.darken(made_bright))

    def generator_losses(self, bright: torch.Tensor, dark: torch.Tensor, made: Made) -> dict[str, torch.Tensor]:
        """Weighted losses of both generators; their sum is what is minimised."""
        terms = {
            "gan_dark": losses.adversarial(self.judge_dark(made.dark), real=True),
            "gan_bright": losses.adversarial(self.judge_bright(made.bright), real=True),
            "cycle_bright": self.cycle * losses.cycle(made.bright_again, bright),
            "cycle_dark": self.cycle * losses.cycle(made.dark_again, dark),
        }
        if self.identity:
            terms["identity_dark"] = self.identity * losses.identity(self.darken(dark), dark)
            terms["identity_bright"] = self.identity * losses.identity(self.brighten(bright), bright)
        return terms

    def judge_losses(
        self, bright: torch.Tensor, dark: torch.Tensor, made_bright: torch.Tensor, made_dark: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Losses of both discriminators; made pictures come without a graph."""
        return {
            "judge_dark": losses.discriminator(self.judge_dark(dark), self.judge_dark(made_dark)),
            "judge_bright": losses.discriminator(self.judge_bright(bright), self.judge_bright(made_bright)),
        }

    def export(self, folder: Path) -> None:
        """Writes the generator that darkens, as users load it."""
        save_generator(self.darken, folder)
