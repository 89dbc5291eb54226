"""The tasks "gt-encoder" and "dis-sam": the two networks of DIS-SAM's second stage (sections III-C and III-D)."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass

from vns_sam.data.synthesis.thin import write_thin_set
from vns_sam.dis.alone import IsNetModel
from vns_sam.dis.config import DisSamConfig, GtEncoderConfig, IsNetConfig
from vns_sam.dis.isnet import FEATURE_CHANNELS, GtEncoder, IsNet
from vns_sam.dis.losses import dis_loss, ortho_loss
from vns_sam.dis.model import DisSamModel
from vns_sam.dis.official import load_isnet
from vns_sam.errors import UsageError
from vns_sam.inference.load import check_model_name, load_network
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.files import read_tensors
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.training.dis_settings import Dis
from vns_sam.training.samples.coarse import CoarseCache, fingerprint
from vns_sam.training.samples.refinement import THIN, RefinementSet, RefinementValidator, all_pairs, held_out
from vns_sam.training.samples.sampler import split_pairs
from vns_sam.training.settings import STRICT, Recipe
from vns_sam.training.spread import this_process
from vns_sam.training.tasks.base import Task, Validate

BASE = "sam-tiny"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RefinementRecipe(Recipe):
    """Base of the two."""

    dis: Dis = field(default_factory=Dis)

    def __post_init__(self) -> None:
        make_config(self.dis)  # fields that contradict each other stop a run, or a study, before it begins


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GtEncoderRecipe(RefinementRecipe):
    """Trains DIS-SAM's ground-truth encoder alone."""

    task: Literal["gt-encoder"]
    """A run of `dis-sam` trains one first where `dis.encoder` names none. It starts from fresh weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init is not None:
            raise ValueError("init belongs to other tasks: a ground-truth encoder starts from fresh weights")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DisRecipe(RefinementRecipe):
    """Trains DIS-SAM's second stage."""

    task: Literal["dis-sam"]
    """`init` is a DIS-SAM to go on from, or an IS-Net's file; a fresh IS-Net without it."""


class RefinementTask(Task):
    """Base of the two: the same samples, the same orthogonality loss, everything trained."""

    model: DisSamModel | GtEncoder

    def __init__(self, recipe: RefinementRecipe) -> None:
        super().__init__()
        self.dis = recipe.dis
        self.cache: CoarseCache | None = None

    def samples(self, recipe: RefinementRecipe, *, length: int, step_size: int) -> RefinementSet:
        """Pictures, coarse masks and boxes; synthetic pictures are written before the first sample is asked for."""
        thin = make_thin(recipe)
        return RefinementSet(
            recipe.data, recipe.dis, self.cache, thin, length=length, step_size=step_size, seed=recipe.seed
        )

    def validator(self, recipe: RefinementRecipe) -> Validate:  # type: ignore[override]
        """Mean of IoU and boundary IoU on held-out pictures."""
        held = held_out(recipe.data, recipe.dis, make_thin(recipe))
        return RefinementValidator(self.samples(recipe, length=1, step_size=1), held, recipe.validation.limit)

    def groups(self, recipe: RefinementRecipe) -> list[dict[str, Any]]:  # type: ignore[override]
        """One group."""
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "peak": recipe.optim.lr}]


class GtEncoderTask(RefinementTask):
    """Trains the ground-truth encoder to give masks back."""

    model: GtEncoder

    def __init__(self, recipe: RefinementRecipe) -> None:
        super().__init__(recipe)
        self.config = make_config(self.dis)
        self.model = GtEncoder(self.config.width).train()

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Terms of :func:`vns_sam.dis.losses.dis_loss` without features, and ``ortho``."""
        label = batch["label"].float() / 255
        terms = dis_loss(self.model.side_logits(self.model.features(label), label), label)
        return {**terms, "ortho": ortho_loss(self.model.named_parameters(), self.dis.preset)}

    def trained_state(self) -> dict[str, torch.Tensor]:
        """The whole network."""
        return self.model.state_dict()

    def export(self, folder: Path) -> None:
        """Writes a folder for :func:`load_gt_encoder`."""
        config = GtEncoderConfig(self.config.width)
        write_checkpoint(folder, config.to_dict(), self.model.state_dict(), torch.float32)


class DisTask(RefinementTask):
    """Trains IS-Net on the coarse masks of frozen first stages."""

    model: DisSamModel

    def __init__(self, recipe: RefinementRecipe) -> None:
        super().__init__(recipe)
        if self.dis.encoder is None:
            raise UsageError(
                "the task 'dis-sam' needs 'dis.encoder', a trained ground-truth encoder",
                hint="start it with vns-sam train, which trains one first",
            )
        config = make_config(self.dis)
        first = load_network(config.base).requires_grad_(False)
        self.model = DisSamModel(config, first, _begin(recipe.init, config)).train()
        # on a CPU a third faster; torch's hints do not know the argument
        self.model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.encoder = load_gt_encoder(self.dis.encoder, config.width)
        self.encoder.train(self.dis.preset == "released")
        self._prepare_coarse(recipe, first)

    def _prepare_coarse(self, recipe: RefinementRecipe, first: PromptableNetwork) -> None:
        """Makes the coarse masks that are not there yet, where the run trains; processes share the work."""
        if not goes_by_mask(self.model.config):
            return
        choice, samples = self.model.config.choice, self.samples(recipe, length=1, step_size=1)
        names = self.dis.stages or (self.model.config.base,)
        stages = [first if name == self.model.config.base else load_network(name) for name in names]
        prints = [fingerprint(stage, choice) for stage in stages]
        self.cache = CoarseCache(cache_folder(recipe) / "coarse", samples.side, prints)
        pairs = all_pairs(samples, held_out(recipe.data, recipe.dis, make_thin(recipe)))
        here = this_process()
        asked = [stage.to(here.device) for stage in stages]
        self.cache.fill(asked, pairs, samples.read_plain, choice, (here.process_index, here.num_processes))

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Terms of :func:`vns_sam.dis.losses.dis_loss`, and ``ortho``."""
        label = batch["label"].float() / 255
        shift = label.new_tensor([0.5, 0.5, 0.5, 0, 0])[:, None, None]
        config, network = self.model.config, self.model.network
        given = label.new_tensor([1, 1, 1, config.mask_channel, config.box_channel])[:, None, None]
        channels = ((batch["input"].float() / 255 - shift) * given).contiguous(memory_format=torch.channels_last)
        features = network.features(channels)
        with torch.no_grad():
            wanted = self.encoder.features(label)
        terms = dis_loss(network.side_logits(features, channels), label, features, wanted)
        return {**terms, "ortho": ortho_loss(network.named_parameters(), self.dis.preset)}

    def trained_state(self) -> dict[str, torch.Tensor]:
        """IS-Net, by the model's names."""
        return {f"network.{name}": value for name, value in self.model.network.state_dict().items()}

    def export(self, folder: Path) -> None:
        """Writes a folder for ``load_model``, in half precision; it names the first stage, or is an IS-Net by itself
        where that goes by neither mask nor box.
        """
        config = self.model.config
        if goes_by_mask(config) or config.box_channel:
            self.model.save_pretrained(folder, dtype=torch.float16)
            return
        alone = IsNetConfig(config.name, config.width, config.image_size, config.antialias, config.stretch, config.cut)
        IsNetModel.of_five(self.model.network, alone).save_pretrained(folder, dtype=torch.float16)


def judge(recipe: DisRecipe) -> None:
    """Judges what a run of the task "dis-sam" stands on, before the ground-truth encoder is trained for it.

    Raises:
        UsageError: A model does not exist, or ``init`` is of another width or kind.
        CheckpointError: ``init`` cannot be read.
        DataError: A set is missing.
    """
    config = make_config(recipe.dis)
    for name in (config.base, *recipe.dis.stages):
        check_model_name(name)
    for name in recipe.data.sets:
        split_pairs(recipe.data.root, name)
    _begin(recipe.init, config)


def make_config(dis: Dis) -> DisSamConfig:
    """The model's configuration that a recipe asks for.

    Raises:
        UsageError: A field does not exist or has a value that is not allowed.
    """
    return DisSamConfig.make(**{"base": BASE, **dis.model})


def goes_by_mask(config: DisSamConfig) -> bool:
    """Whether what a model answers depends on the coarse mask: as a channel, as what it looks around, or as what the
    guard may keep.
    """
    return config.mask_channel or config.margin is not None or config.guard


def cache_folder(recipe: RefinementRecipe) -> Path:
    """Where coarse masks and synthetic pictures are kept."""
    return recipe.out / "cache" if recipe.dis.cache is None else recipe.dis.cache


def make_thin(recipe: RefinementRecipe) -> Path | None:
    """Writes the synthetic pictures that are missing; the folder that holds the set, or None without any.

    They are laid over pictures that training uses; each depends on the seed and its number alone.
    """
    if recipe.dis.thin == 0:
        return None
    folder = cache_folder(recipe)
    pictures = [pair.image for name in recipe.data.sets for pair in split_pairs(recipe.data.root, name)[0]]
    write_thin_set(folder / THIN, pictures, recipe.dis.thin, side=recipe.data.kept_side, seed=recipe.seed)
    return folder


def load_gt_encoder(folder: Path, width: float) -> GtEncoder:
    """Reads a ground-truth encoder, frozen: a folder that the task "gt-encoder" wrote, or a file of tensors.

    Raises:
        CheckpointError: It is missing, damaged or of another width.
    """
    state = read_checkpoint(folder, GtEncoderConfig)[1] if folder.is_dir() else read_tensors(folder)
    encoder = GtEncoder(width)
    load_weights(encoder, state, folder)
    return encoder.requires_grad_(False).eval()


def _begin(init: str | None, config: DisSamConfig) -> IsNet | None:
    """The IS-Net to continue, or None for a fresh one."""
    if init is None:
        return None
    if Path(init).is_file():
        network = load_isnet(read_tensors(init), init, inflate=True)
        with torch.device("meta"):
            wanted = IsNet(5, config.width).conv_in.out_channels
        if network.conv_in.out_channels != wanted:
            width = network.conv_in.out_channels / FEATURE_CHANNELS[0]
            raise UsageError(
                f"expected an IS-Net of width {config.width:g} as 'init', {init} has {width:g}",
                hint=f"dis.model.width: {width:g}",
            )
    else:
        model = load_network(init)
        if not isinstance(model, DisSamModel) or model.config.width != config.width:
            raise UsageError(
                f"expected a DIS-SAM of width {config.width:g} as 'init', '{init}' is none", hint="see dis.model.width"
            )
        network = model.network
    if network.residual and not config.residual:
        raise UsageError(
            f"expected 'init' to draw masks anew, '{init}' corrects them", hint="add to dis.model: residual: true"
        )
    if config.residual and not network.residual:
        network.make_residual()
    return network.train()
