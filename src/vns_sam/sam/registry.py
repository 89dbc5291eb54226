"""Every kind of model, every known layout of a file and every published weight: one line each.

A new model is a folder with its modules and a line in :data:`MODELS`; a new layout of somebody's checkpoints a line in
:data:`LAYOUTS`; weights with a name of their own a line in :data:`PUBLISHED`; a new image encoder a line in
:data:`ENCODERS`. Modules are named, not imported: what is
not used costs nothing, and the foundation does not know what stands on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.errors import CheckpointError
from vns_sam.sam.folder import CONFIG, FILES, WEIGHTS, read_config
from vns_sam.sam.hub import HubWeights, count_parameters, download, is_cached, is_hub_id, local_folder

if TYPE_CHECKING:
    import torch

    from vns_sam.sam.promptable import PromptableNetwork

MODELS = {
    "sam": "vns_sam.sam.zoo:load_folder",
    "sam2": "vns_sam.sam.foundations.sam2:load_folder",
    "sam2_video": "vns_sam.sam.foundations.sam2:load_folder",
    "sam3_tracker": "vns_sam.sam.foundations.sam3:load_folder",
    "sam3_tracker_video": "vns_sam.sam.foundations.sam3:load_folder",
    "sam3_video": "vns_sam.sam.foundations.sam3:load_folder",
    "edgetam": "vns_sam.sam.foundations.edgetam:load_folder",
    "edgetam_video": "vns_sam.sam.foundations.edgetam:load_folder",
    "sam_hq": "vns_sam.hq.published:load_hf",
    "vns-sam": "vns_sam.vns.model:VnsSamModel",
    "hq-sam": "vns_sam.hq.model:HqSamModel",
    "dis-sam": "vns_sam.dis.model:DisSamModel",
    "is-net": "vns_sam.dis.alone:IsNetModel",
    "ws-sam": "vns_sam.ws.model:WsSamModel",
}
"""The ``model_type`` of a ``config.json`` to what loads its folder: a class with ``from_pretrained(folder)``, or a
function of the folder and of what names it, a path or a hub id."""

ENCODERS = {
    "lite": "vns_sam.sam.encoders.lite:TinyEncoder",
    "vit": "vns_sam.sam.encoders.vit:VitEncoder",
    "tiny_vit": "vns_sam.sam.encoders.tiny_vit:TinyVitEncoder",
    "hiera": "vns_sam.sam.encoders.hiera:HieraEncoder",
    "rope_vit": "vns_sam.sam.encoders.rope_vit:RopeVitEncoder",
}
"""The ``kind`` of a SAM's backbone to its encoder's class. There ``for_sam(backbone, hidden_size, image_size)`` makes
one, and ``adapter_for(backbone)`` what teaches it."""

FIGURES = {
    "sam": "vns_sam.vns.attention:inside",
    "vns-sam": "vns_sam.vns.attention:inside",
    "ws-sam": "vns_sam.ws.figures:inside",
}
"""The ``model_type`` to what draws the inside of such a model: a function of model, image, prompts and true mask that
gives the kind of figure and the figure."""

LAYOUTS = (
    "vns_sam.vns.official:LAYOUT",
    "vns_sam.dis.alone:LAYOUT",
    "vns_sam.dis.official:LAYOUT",
    "vns_sam.ws.official:LAYOUT",
    "vns_sam.hq.published:LAYOUT",
    "vns_sam.sam.foundations.edgetam:LAYOUT",
    "vns_sam.sam.foundations.mobile:LAYOUT",
    "vns_sam.sam.foundations.sam2:LAYOUT",
    "vns_sam.sam.foundations.sam2:HF_LAYOUT",
    "vns_sam.sam.foundations.sam3:MULTIPLEX_LAYOUT",
    "vns_sam.sam.foundations.sam3:LAYOUT",
    "vns_sam.sam.foundations.sam3:HF_LAYOUT",
    "vns_sam.sam.meta:LAYOUT",
    "vns_sam.sam.zoo:LAYOUT",
)
"""Checkpoints that are one file, each a :class:`Layout`; the first that recognises a file loads it."""

UNPROMPTED_LAYOUTS = ("vns_sam.dis.alone:LAYOUT", "vns_sam.ws.official:LAYOUT")
"""Of these the models that take no prompt."""

PUBLISHED = {
    "vit_b": HubWeights("facebook/sam-vit-base", 93_735_728, "sam_vit_b_*.pth"),
    "vit_l": HubWeights("facebook/sam-vit-large", 312_343_088, "sam_vit_l_*.pth"),
    "vit_h": HubWeights("facebook/sam-vit-huge", 641_090_864, "sam_vit_h_*.pth"),
    "mobile-sam": HubWeights("dhkim2810/MobileSAM", 10_130_092, "mobile_sam.pt", whole=False),
    "sam2.1-t": HubWeights("facebook/sam2.1-hiera-tiny", 38_963_010, "sam2.1_hiera_tiny.pt"),
    "sam2.1-s": HubWeights("facebook/sam2.1-hiera-small", 46_060_866, "sam2.1_hiera_small.pt"),
    "sam2.1-b+": HubWeights("facebook/sam2.1-hiera-base-plus", 80_850_690, "sam2.1_hiera_base_plus.pt"),
    "sam2.1-l": HubWeights("facebook/sam2.1-hiera-large", 224_447_154, "sam2.1_hiera_large.pt"),
    "sam3": HubWeights("facebook/sam3", 859_922_360, "sam3.pt", licence="SAM License"),
    "hq_vit_b": HubWeights("syscv-community/sam-hq-vit-base", 94_806_832, "sam_hq_vit_b.pth"),
    "hq_vit_l": HubWeights("syscv-community/sam-hq-vit-large", 313_676_336, "sam_hq_vit_l.pth"),
    "hq_vit_h": HubWeights("syscv-community/sam-hq-vit-huge", 642_686_256, "sam_hq_vit_h.pth"),
    "hq_mobile-sam": HubWeights("lkeab/hq-sam", 10_578_604, "sam_hq_vit_tiny.pth", whole=False),
    "hq_sam2.1-l": HubWeights("lkeab/hq-sam", 224_624_306, "sam2.1_hq_hiera_large.pt", whole=False),
}
"""Weights on the Hugging Face hub that have a name here."""

BUNDLED = Path(__file__).parents[1] / "weights"
"""Folder of the models that ship with the package, one folder each."""
DEFAULT = "vns-sam-tiny"
"""The one that is used where none is named."""

_MIB = 2**20


@dataclass(frozen=True)
class Layout:
    """One way in which somebody stores a model in a single file.

    Attributes:
        what: What it is, as a message calls it.
        holds: Whether these tensors are such a file's, by their names.
        load: The model of these tensors; the path is what an error, and a model saved again, calls the file.
        describe: What the file is in a few words, by its size where it has several; None if ``what`` says all.
    """

    what: str
    holds: Callable[[Mapping[str, torch.Tensor]], bool]
    load: Callable[[Mapping[str, torch.Tensor], Path], PromptableNetwork]
    describe: Callable[[Mapping[str, torch.Tensor]], str] | None = None


@dataclass(frozen=True)
class CatalogRow:
    """One model that can be loaded by name.

    Attributes:
        name: What ``load_model`` takes.
        parameters: Number of parameters.
        mib: Size of the weights file in MiB.
        source: Where the weights come from.
        bundled: Whether they ship with the package.
        licence: What the weights are under.
    """

    name: str
    parameters: int
    mib: float
    source: str
    bundled: bool
    licence: str = "Apache-2.0"


def bundled() -> tuple[str, ...]:
    """The models inside the package, the default first; they need no network."""
    found = sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG}"))
    return tuple(sorted(found, key=lambda name: name != DEFAULT))


def names() -> tuple[str, ...]:
    """Every model that has a name, the bundled ones first."""
    return (*bundled(), *PUBLISHED)


def is_at_hand(name: str) -> bool:
    """Whether a model is on this machine, so that loading it fetches nothing."""
    if name in PUBLISHED:
        return is_cached(PUBLISHED[name].repo, PUBLISHED[name].files[-1])
    return place(name).exists() or (is_hub_id(name) and is_cached(name))


def place(name: str | os.PathLike[str]) -> Path:
    """The folder of a bundled model by its name, else the path itself."""
    return BUNDLED / name if os.fspath(name) in bundled() else Path(name).expanduser()


def local(name: str | os.PathLike[str], *, beside: str | Path | None = None) -> Path | None:
    """Where a model is on this machine. This is the one order in which a name is looked for: published weights,
    bundled models, a path, a hub id. What lies in the working directory never stands for a name of :func:`names`.

    Args:
        name: Of :func:`names`, a folder, a file or a hub id; what has its hub id for a name is fetched if it is not in
            the cache.
        beside: A folder whose ``config.json`` gives the name: a relative path is looked for from there first.

    Returns:
        The folder or file, which need not be there; None for published weights, which :func:`load` fetches.

    Raises:
        CheckpointError: The hub does not have it or cannot be reached.
    """
    text = os.fspath(name)
    if text in PUBLISHED:
        return None
    path = place(text)
    if beside is not None and text not in bundled() and (Path(beside) / path).exists():
        return Path(beside) / path
    return path if path.suffix in FILES else local_folder(path)


def catalog() -> Iterator[CatalogRow]:
    """All models that have a name, the bundled ones first."""
    for name in bundled():
        if (BUNDLED / name / WEIGHTS).is_file():
            files = _files_of(name)
            size = sum(path.stat().st_size for path in files) / _MIB
            yield CatalogRow(name, sum(map(count_parameters, files)), size, "bundled", True)
    for name, weights in PUBLISHED.items():
        yield CatalogRow(name, weights.parameters, weights.parameters * 4 / _MIB, weights.repo, False, weights.licence)


def _files_of(name: str) -> list[Path]:
    """The weights of a bundled model, and those of the bundled ones that it builds on."""
    base = read_config(BUNDLED / name).get("base")
    below = _files_of(base) if isinstance(base, str) and base in bundled() and base != name else []
    return [BUNDLED / name / WEIGHTS, *(path for path in below if path.is_file())]


def load(name: str | os.PathLike[str], *, beside: str | Path | None = None) -> PromptableNetwork:
    """Loads a model, on the CPU.

    Args:
        name: Of :func:`names`, a folder, a file or a hub id.
        beside: A folder whose ``config.json`` gives the name: a relative path is looked for from there first.

    Raises:
        CheckpointError: It is none of these, or the weights are missing, damaged or of another architecture.
    """
    text = os.fspath(name)
    path = local(text, beside=beside)
    if path is None:
        fetched = download(text, PUBLISHED[text])
        if fetched.is_dir():
            return load_folder(fetched, PUBLISHED[text].repo)
        return _named(load_file(fetched), fetched, text)
    if path.is_dir():
        return load_folder(path, text)
    if path.exists() or path.suffix in FILES:
        return load_file(path)
    raise CheckpointError(
        f"no model '{text}': it is no known name, folder, file or hub id",
        hint=f"one of {', '.join(names())}, a folder with {CONFIG}, or a file of weights",
    )


def _named(model: PromptableNetwork, path: Path, name: str) -> PromptableNetwork:
    """The model of a published file, whose parts stand on the SAM of that name, not on this machine's copy of it."""
    parts: Iterator[Any] = model.modules()
    for part in parts:
        config: Any = vars(part).get("config")
        if getattr(config, "base", None) == str(path):
            part.config = replace(config, base=name)
    return model


def load_folder(folder: Path, origin: str) -> PromptableNetwork:
    """The model of a folder, which came from ``origin``: a name, a path or a hub id.

    Raises:
        CheckpointError: The folder holds no model of a known kind, or it cannot be read.
    """
    kind = read_config(folder)["model_type"]
    if kind not in MODELS:
        known = ", ".join(f"'{name}'" for name in MODELS)
        raise CheckpointError(f"{folder} holds a '{kind:.60}' model, expected one of {known}")
    loader = resolve(MODELS[kind])
    is_class = isinstance(loader, type)
    model: PromptableNetwork = loader.from_pretrained(folder) if is_class else loader(folder, origin)
    return model


def load_file(path: Path) -> PromptableNetwork:
    """The model of a single file, whose layout is seen from the names of its tensors.

    Raises:
        CheckpointError: It is missing or damaged, or of no known layout.
    """
    if path.name == WEIGHTS and (path.parent / CONFIG).is_file():
        return load_folder(path.parent, os.fspath(path.parent))
    from vns_sam.sam.files import read_tensors

    state = read_tensors(path)
    return recognise(state, path).load(state, path)


def recognise(state: Mapping[str, torch.Tensor], path: Path) -> Layout:
    """What a file is.

    Raises:
        CheckpointError: None of :data:`LAYOUTS`.
    """
    layouts: list[Layout] = [resolve(entry) for entry in LAYOUTS]
    found = next((layout for layout in layouts if layout.holds(state)), None)
    if found is None:
        raise CheckpointError(
            f"{path} holds no model that is known (its first tensor is '{next(iter(state))}')",
            hint=f"expected {', '.join(layout.what for layout in layouts)}",
        )
    return found


def is_unprompted(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether the tensors of a file are of a model that takes no prompt."""
    return any(resolve(entry).holds(state) for entry in UNPROMPTED_LAYOUTS)


def describe(state: Mapping[str, torch.Tensor], path: Path) -> str:
    """What a file is, in a few words for a message: "a SAM 2.1 small".

    Raises:
        CheckpointError: None of :data:`LAYOUTS`.
    """
    layout = recognise(state, path)
    return layout.describe(state) if layout.describe is not None else f"of {layout.what}"


def figure_of(model: object) -> Any:
    """What draws the inside of a model, one of :data:`FIGURES`; None where nothing does."""
    entry = FIGURES.get(getattr(getattr(model, "config", None), "model_type", ""))
    return None if entry is None else resolve(entry)


def resolve(entry: str) -> Any:
    """What a line of a table names, ``module:attribute``."""
    module, _, attribute = entry.partition(":")
    return getattr(import_module(module), attribute)


def portable(name: str, *, beside: str | Path | None = None) -> str:
    """What a saved model calls the one that it stands on: a path is made absolute, so that it holds everywhere;
    ``beside`` as in :func:`local`.
    """
    if name in names():
        return name
    path = Path(name).expanduser()
    if beside is not None and (Path(beside) / path).exists():
        path = Path(beside) / path
    return str(path.resolve()) if path.exists() else name
