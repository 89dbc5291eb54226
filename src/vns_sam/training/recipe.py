"""What defines a training run: a frozen recipe, read from YAML, every field overridable on the command line."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from vns_sam.labelling.fusion import Selection
from vns_sam.training.fields import check_fields, read_values
from vns_sam.training.samples.prompted import SceneMix, TrainingData

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
class Dis:
    """What the tasks "gt-encoder" and "dis-sam" have of their own."""

    model: dict[str, Any] = field(default_factory=dict)
    """Fields of ``DisSamConfig``; ``base`` is the first stage, sam-tiny without it."""
    preset: Literal["paper", "released"] = "paper"
    """"paper": flips left to right, norms of convolutions in the orthogonality loss, ground-truth encoder in eval
    mode. "released": what the authors' code does."""
    stages: tuple[str, ...] = ()
    """Models whose masks are refined in training; the first stage alone when empty."""
    encoder: Path | None = None
    """Trained ground-truth encoder; None trains one first, into ``out/gt_encoder``."""
    encoder_steps: Positive = 1000
    """Optimiser steps of that training."""
    encoder_lr: float = 1e-4
    """Its peak learning rate."""
    cache: Path | None = None
    """Folder of coarse masks and synthetic pictures, ``out/cache`` without it."""
    thin: Annotated[int, Field(ge=0)] = 0
    """Synthetic pictures of thin structures, laid over the pictures of the sets."""
    thin_weight: Annotated[float, Field(gt=0)] = 1.0
    """How often they are drawn, relative to ``data.sets``."""
    views: Literal["whole", "object"] = "whole"
    """What a sample shows: the whole picture, as published, or one object's surroundings, some of them in part."""
    colour: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of samples in other colours."""
    drop: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of samples without a coarse mask."""


@dataclass(frozen=True, config=_STRICT)
class Ws:
    """What the task "ws-sam" has of its own."""

    model: dict[str, Any] = field(default_factory=dict)
    """Fields of ``WsSamConfig``; the rest has its defaults, or follows the model that the run continues."""
    supervision: Literal["full", "sparse", "pseudo"] = "pseudo"
    """Learns from the true masks, from sparse labels alone, or from pseudo-labels and sparse labels."""
    labels: str | None = None
    """Sparse labels of each set, a folder or a table; ``{set}`` stands for its name."""
    pseudo: str | tuple[str, ...] | None = None
    """Store of each set's pseudo-labels, or several of different rounds; ``{set}`` stands for its name."""
    pool: Positive = 3
    """Of the kept labels of a picture in several stores, so many of the least uncertain are learnt from in turn."""
    selection: Selection = field(default_factory=Selection)
    """Whose pseudo-labels count; the sparse label of a picture counts always."""
    entropy: bool = True
    """Whether pixels count by how sure their pseudo-label is, 1 - E; else all alike."""
    preset: Literal["default", "paper", "released"] = "default"
    """Which loss, see ``vns_sam.ws.losses``."""
    frozen: Annotated[int, Field(ge=0)] = 0
    """First stages of an EfficientNet-Lite0, with what is before them, that stay as they are."""


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """One training run."""

    task: Literal["sam", "vns-sam", "hq-sam", "sam-tune", "gt-encoder", "dis-sam", "ws-sam"]
    """"sam" trains a tiny SAM from scratch, "vns-sam" and "hq-sam" a method's modules on a frozen SAM, "sam-tune" a
    part of a SAM itself, "gt-encoder" and "dis-sam" the two networks of DIS-SAM's second stage, "ws-sam" a segmenter
    that needs no prompt."""
    data: TrainingData
    out: Path
    """Folder of the run: log, checkpoints, and the trained model under ``model/``."""
    init: str | None = None
    """What to start from, a name, folder or hub id. "sam": the folder to continue from, or None for ImageNet weights;
    "vns-sam", "hq-sam": the frozen SAM, or a trained model of the task to continue; "sam-tune": the SAM; "dis-sam": a
    DIS-SAM's folder or an IS-Net's file to continue, or None for a fresh IS-Net; "ws-sam": "efficientnet-lite0" for its
    ImageNet weights, a tiny SAM for its encoder's, another backbone's folder or hub id, a WS-SAM's folder to continue,
    or None for fresh weights."""
    vns: dict[str, Any] | None = None
    """Fields of ``VnsSamConfig`` for the task "vns-sam"; the rest follows what the run starts from."""
    hq: dict[str, Any] | None = None
    """Fields of ``HqSamConfig`` for the task "hq-sam"; the rest follows what the run starts from."""
    dis: Dis | None = None
    """Of the tasks "gt-encoder" and "dis-sam"."""
    ws: Ws | None = None
    """Of the task "ws-sam"."""
    tune: Tune = "decoder"
    """What the task "sam-tune" trains: the mask tokens' MLPs, the mask decoder, or the image encoder too."""
    bce: Literal["mean", "weighted"] = "weighted"
    """Cross-entropy of all tasks but "sam" and "ws-sam": "weighted" is the paper, "mean" what the authors ran."""
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


def parse_recipe(values: dict[str, Any], source: str) -> Recipe:
    """Checks a recipe's fields; see :func:`load_recipe`."""
    parts = (Recipe, TrainingData, SceneMix, Dis, Ws, Selection, Optim, Validation)
    return check_fields(_ADAPTER, values, source, parts, "see docs/training.md")


RESOLVED = "recipe.yaml"
"""In the folder of a training run: its recipe with all fields."""


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(_ADAPTER.dump_python(recipe, mode="json"), sort_keys=False)
