"""What an adaptation leaves: the page that tells of it, and the folder of the model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vns_sam.evaluation.compare import Difference, to_markdown
from vns_sam.images.find import folder_name
from vns_sam.inference.load import load_network
from vns_sam.studies.adapt_set import OwnSet
from vns_sam.training.recipe import Recipe


def adapted_page(
    source: Path, start: str, own: OwnSet, recipe: Recipe, pace: float, why: str, differences: Sequence[Difference]
) -> str:
    """The page, as Markdown."""
    lines = "".join(f"- {line}\n" for line in own.told())
    views = " or ".join(str(size) for size in recipe.data.sizes)
    return (
        f"# {start} adapted to {folder_name(source)}\n\n"
        f"{why[:1].upper()}{why[1:]}.\n\n"
        "## Held-out pictures\n\n"
        "Measured on pictures that were neither trained on nor used to choose the checkpoint, with the box of the\n"
        "true mask and with one click on it, without a second look. The interval is of the change, from resampling\n"
        "pictures, each with all its objects, in pairs; a star marks changes of six pictures or more whose interval\n"
        "leaves out 0.\n\n"
        f"{to_markdown(differences, 'before', 'after')}\n"
        "## The set\n\n"
        f"{lines}\n"
        "## The training\n\n"
        f"{recipe.steps} steps at most of {recipe.batch_size} views of {views} pixels, {pace:.2f} s a step when it\n"
        f"was planned; task `{recipe.task}`, the image encoder frozen. All fields are in `run/recipe.yaml`, scores by\n"
        "step in `run/log.jsonl`.\n"
    )


def put_model(folder: Path, trained: Path | None, start: str) -> None:
    """Writes the folder of the model: the trained one's, or where there is none the one that was started from."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if trained is not None:
        shutil.copytree(trained, part)
    else:
        network: Any = load_network(start)
        network.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
