"""What defines a training run: a frozen recipe, read from YAML, every field overridable on the command line."""

from __future__ import annotations

from dataclasses import field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vns_sam.data.training_set import SceneMix, TrainingData
from vns_sam.errors import UsageError

_STRICT = ConfigDict(extra="forbid")
Positive = Annotated[int, Field(gt=0)]
Tune = Literal["token", "decoder", "all"]


@dataclass(frozen=True, config=_STRICT)
class Optim:
    """Optimiser and schedule.

    The rate rises linearly over ``warmup`` steps, then follows the schedule: "step" multiplies it by ``gamma`` after
    every ``step_every`` steps, "cosine" brings it to 1 % at the last step.
    """

    name: Literal["adam", "adamw"] = "adamw"
    lr: float = 1e-3
    """Peak learning rate."""
    backbone_lr: float = 1e-4
    """Peak learning rate of the image encoder's pretrained part."""
    weight_decay: float = 0.0
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    warmup: int = 0
    """Optimiser steps."""
    step_every: Positive = 1000
    """Optimiser steps between two drops of the "step" schedule."""
    gamma: float = 0.1
    clip: float = 0.0
    """Largest gradient norm; 0 leaves gradients alone."""


@dataclass(frozen=True, config=_STRICT)
class Validation:
    """Which held-out pictures choose the best checkpoint."""

    every: Positive = 500
    """Optimiser steps between two validations."""
    limit: Positive = 60
    """Pictures taken of each set at most."""


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """One training run."""

    task: Literal["sam", "vns-sam", "hq-sam", "sam-tune"]
    """"sam" trains a tiny SAM from scratch, "vns-sam" and "hq-sam" a method's modules on a frozen SAM, "sam-tune" a
    part of a SAM itself."""
    data: TrainingData
    out: Path
    """Folder of the run: log, checkpoints, and the trained model under ``model/``."""
    init: str | None = None
    """What to start from, a name, folder or hub id. "sam": the folder to continue from, or None for ImageNet weights;
    "vns-sam", "hq-sam": the frozen SAM, or a trained model of the task to continue; "sam-tune": the SAM."""
    vns: dict[str, Any] | None = None
    """Fields of ``VnsSamConfig`` for the task "vns-sam"; the rest follows what the run starts from."""
    hq: dict[str, Any] | None = None
    """Fields of ``HqSamConfig`` for the task "hq-sam"; the rest follows what the run starts from."""
    tune: Tune = "decoder"
    """What the task "sam-tune" trains: the mask tokens' MLPs, the mask decoder, or the image encoder too."""
    bce: Literal["mean", "weighted"] = "weighted"
    """Cross-entropy of all tasks but "sam": "weighted" is the paper, "mean" what the authors ran."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that is validated and saved; 0 saves the weights themselves."""
    steps: Positive = 1000
    """Optimiser steps."""
    batch_size: Positive = 4
    """Pictures in each process at a time."""
    accumulate: Positive = 1
    """Batches gathered for one optimiser step."""
    precision: Literal["no", "fp16", "bf16"] = "no"
    """Mixed precision."""
    seed: int = 0
    workers: int = 1
    """Processes that prepare samples, in each training process."""
    checkpoint_every: Positive = 200
    """Optimiser steps between two checkpoints."""
    log_every: Positive = 20
    """Optimiser steps between two lines of the log."""
    tensorboard: bool = False
    optim: Optim = field(default_factory=Optim)
    validation: Validation = field(default_factory=Validation)


_ADAPTER = TypeAdapter(Recipe)


def load_recipe(path: str | Path) -> Recipe:
    """Reads a recipe.

    Raises:
        UsageError: The file is missing, no YAML mapping, or a field is unknown, missing or of another type; each
            wrong field is named by its path.
    """
    return parse_recipe(read_values(path), str(path))


def read_values(path: str | Path) -> dict[str, Any]:
    """Reads a recipe's fields without judging them; see :func:`load_recipe`."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise UsageError(f"no recipe at {path}", hint="see recipes/ for the ones that come with vns-sam") from None
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold a mapping of fields, found {type(values).__name__}")
    return values


def parse_recipe(values: dict[str, Any], source: str) -> Recipe:
    """Checks a recipe's fields; see :func:`load_recipe`."""
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, e['loc']))}: {_explain(e['type'], e['loc'], e['msg'])}" for e in error.errors()
        ]
        count = f"{len(problems)} wrong field{'s' if len(problems) > 1 else ''}"
        raise UsageError(f"{source} has {count}: {'; '.join(problems)}", hint="see docs/training.md") from None


def _explain(kind: str, place: tuple[str | int, ...], message: str) -> str:
    """The problem of one field; an unknown one gets the nearest name there is."""
    if kind != "unexpected_keyword_argument":
        return message
    known = [entry.name for part in (Recipe, TrainingData, SceneMix, Optim, Validation) for entry in fields(part)]
    near = get_close_matches(str(place[-1]), known, 1)
    return f"no such field, did you mean '{near[0]}'?" if near else "no such field"


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(_ADAPTER.dump_python(recipe, mode="json"), sort_keys=False)
