"""What every recipe has; what a task has of its own is beside the task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from vns_sam.errors import UsageError
from vns_sam.sam.model_config import ModelConfig, check_values
from vns_sam.training.samples.settings import SetData

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of every part of a recipe: no unknown field, no number that is none."""

Steps = Annotated[int, Field(gt=0, le=10**9)]
Rate = Annotated[float, Field(gt=0, le=10)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
NO = BeforeValidator(lambda given: "no" if given is False else given)
"""Takes what YAML makes of the word "no" for that word."""


@dataclass(frozen=True)
class ModelFields:
    """Marks a mapping as fields of a model's configuration.

    Attributes:
        config: The configuration.
        more: What its ``for_sam`` takes beside its fields.
    """

    config: type[ModelConfig]
    more: tuple[str, ...] = ()


def fields_of(config: type[ModelConfig], **more: Callable[[Any], object]) -> Any:
    """The type of a mapping with fields of a configuration, judged with the recipe and not when models are loaded. A
    null is as good as not there, since it is the default of every field that takes it.

    Args:
        config: The configuration.
        more: Further keys, and what raises a :class:`UsageError` where their value is none.
    """

    def check(values: dict[str, Any]) -> dict[str, Any]:
        try:
            for name, judge in more.items():
                if name in values:
                    judge(values[name])
            check_values(config, {name: value for name, value in values.items() if name not in more})
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from None
        return {name: value for name, value in values.items() if value is not None}

    return Annotated[dict[str, Any], AfterValidator(check), ModelFields(config, tuple(more))]


@dataclass(frozen=True, config=STRICT)
class Optim:
    """Optimiser and schedule.

    The rate rises linearly over ``warmup`` steps, then follows the schedule: "step" multiplies it by ``gamma`` after
    every ``step_every`` steps, "cosine" brings it to 1 % at the last step.
    """

    name: Literal["adam", "adamw"] = "adamw"
    lr: Rate = 1e-3
    """Peak learning rate."""
    backbone_lr: Rate = 1e-4
    """Peak learning rate of the image encoder's pretrained part (`sam`, `ws-sam`, and `sam-tune` with `all`)."""
    weight_decay: Share = 0.0
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    """"cosine" falls to 1 %, "step" by `gamma` after every `step_every` steps."""
    warmup: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Optimiser steps over which the rate rises in a line."""
    step_every: Steps = 1000
    """Optimiser steps between two drops of the "step" schedule."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of the "step" schedule."""
    clip: Weight = 0.0
    """Largest gradient norm; 0 leaves gradients alone."""


@dataclass(frozen=True, config=STRICT)
class Validation:
    """Which held-out pictures choose the best checkpoint."""

    every: Steps = 500
    """Optimiser steps between two validations."""
    limit: Annotated[int, Field(gt=0, le=10**6)] = 60
    """Pictures taken of each set at most."""
    patience: Annotated[int, Field(ge=0, le=10**6)] = 0
    """Validations in a row without a better score that end the run; 0 never does."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunRecipe:
    """What every training run has.

    Attributes:
        FREE: Fields in which a continued run may differ from the one that was stopped.
    """

    FREE: ClassVar[tuple[str, ...]] = ("out", "workers", "checkpoint_every", "log_every", "tensorboard")

    task: str
    """What is trained."""
    out: Path
    """Folder of the run: log, checkpoints, and the trained model under `model/`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of all draws."""
    workers: Annotated[int, Field(ge=0, le=512)] = 1
    """Processes that prepare samples, in each training process."""
    checkpoint_every: Steps = 200
    """Optimiser steps between two checkpoints."""
    log_every: Steps = 20
    """Optimiser steps between two lines of the log."""
    tensorboard: bool = False
    """Whether TensorBoard's events are written as well."""

    @property
    def reads_masks(self) -> bool:
        """Whether it learns from the masks of its sets."""
        return True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe(RunRecipe):
    """What every run of the training loop has, all but a CycleGAN's."""

    data: SetData
    init: str | None = None
    """What to start from: a name, folder, file or hub id."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that is validated and saved; 0 saves the weights themselves."""
    steps: Steps = 1000
    """Optimiser steps; all counts of steps are optimiser steps."""
    batch_size: Annotated[int, Field(gt=0, le=65536)] = 4
    """Pictures in each process at a time."""
    accumulate: Annotated[int, Field(gt=0, le=65536)] = 1
    """Batches gathered for one optimiser step."""
    precision: Annotated[Literal["no", "fp16", "bf16"], NO] = "no"
    """Mixed precision; "fp16" needs a GPU."""
    matmul: Literal["highest", "high", "medium"] = "highest"
    """How exactly products of float32 matrices are computed, by torch's names. "high" is TF32 on a GPU. "medium" may
    round to bfloat16; on an AMD CPU with AVX-512 it stays float32, large products twice as fast: oneDNN multiplies in
    place of MKL."""
    batch_norm: Literal["all", "process"] = "all"
    """Whose pictures batch norm learns its statistics from: those of "all" processes, so that a step is the same
    however it is spread; or of each "process" alone, as the authors' code has it."""
    optim: Optim = field(default_factory=Optim)
    validation: Validation = field(default_factory=Validation)
