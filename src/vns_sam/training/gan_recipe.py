"""What defines the training of a CycleGAN, with the published values as defaults (Zhu et al. 2017, appendix 7.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from vns_sam.training.fields import check_fields
from vns_sam.training.samples.unpaired import UnpairedData

_STRICT = ConfigDict(extra="forbid")
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=_STRICT)
class GanRecipe:
    """One training run of a CycleGAN."""

    task: Literal["cyclegan"]
    data: UnpairedData
    out: Path
    """Folder of the run: log, checkpoint, samples, and the generator that darkens under ``model/``."""
    ngf: Positive = 64
    """Channels of the generators' first layer; their size follows its square."""
    blocks: Positive = 9
    """Residual blocks of the generators."""
    ndf: Positive = 64
    """Channels of the discriminators' first layer."""
    epochs: Positive = 50
    """Epochs with the full learning rate."""
    decay_epochs: Annotated[int, Field(ge=0)] = 50
    """Epochs after these, in which it falls to zero in a line."""
    epoch_steps: Positive | None = None
    """Steps of an epoch; None takes the larger domain once."""
    batch_size: Positive = 1
    lr: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    """Of both Adam optimisers."""
    cycle: Weight = 10.0
    """Weight of the cycle loss."""
    identity: Weight = 0.5
    """Weight of the identity loss as a share of ``cycle``."""
    pool: Annotated[int, Field(ge=0)] = 50
    """Made pictures of earlier steps that each discriminator is shown now and then; 0 shows the latest only."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision."""
    seed: int = 0
    workers: int = 1
    """Processes that prepare samples."""
    checkpoint_every: Positive = 500
    """Steps between two checkpoints."""
    log_every: Positive = 50
    """Steps between two lines of the log."""
    sample_every: Positive = 1000
    """Steps between two pictures in ``samples/``."""
    tensorboard: bool = False


_ADAPTER = TypeAdapter(GanRecipe)


def parse_gan_recipe(values: dict[str, Any], source: str) -> GanRecipe:
    """Makes a recipe from its fields.

    Raises:
        UsageError: A field is unknown, missing or of another type; each wrong field is named by its path.
    """
    return check_fields(_ADAPTER, values, source, (GanRecipe, UnpairedData), "see docs/low-light.md")


def gan_fields(recipe: GanRecipe) -> dict[str, Any]:
    """The fields of a recipe as plain values."""
    fields: dict[str, Any] = _ADAPTER.dump_python(recipe, mode="json")
    return fields


def dump_gan_recipe(recipe: GanRecipe) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(gan_fields(recipe), sort_keys=False)
