"""Digests of what a run is made of: sets, models, and the files that its fields name, by what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vns_sam.data.pairs import Pair, Picture, pair_digest
from vns_sam.data.splits import training_pictures
from vns_sam.errors import DataError
from vns_sam.images.find import walk_files
from vns_sam.images.read import file_digest
from vns_sam.sam.folder import CONFIG, WEIGHTS
from vns_sam.sam.registry import PUBLISHED, place
from vns_sam.studies.pipeline import SET
from vns_sam.training.recipe import recipe_fields
from vns_sam.training.settings import Recipe

GIVEN = ("labels", "pseudo", "init", "encoder", "model", "models", "student", "stages", "base", "backbone")
"""Fields of steps and recipes that may name files or folders to read."""


def named_strings(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every string in nested fields, each with the name of its field; those of a list have the list's."""
    if isinstance(values, str):
        yield name, values
    elif isinstance(values, Mapping):
        for inner, value in values.items():
            yield from named_strings(value, str(inner))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from named_strings(value, name)


def given_files(fields: Mapping[str, Any], sets: Iterable[str]) -> list[Path]:
    """Files and folders that fields name to be read, those of each of the sets; models, which have a digest of their
    own, are not among them.
    """
    found = set()
    for name, text in named_strings(fields):
        if name in GIVEN and text:
            for one in tuple(sets) or ("",):
                path = Path(text.replace(f"{{{SET}}}", one))
                if path.exists() and model_digest(str(path)) is None:
                    found.add(path)
    return sorted(found)


def files_digest(place: Path) -> str:
    """Of a file, or of all files in a folder, by their names and what they hold."""
    files = [place] if place.is_file() else sorted(walk_files(place))
    entries = [(path.relative_to(place).as_posix(), _file_digest(path)) for path in files]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def model_digest(name: str) -> str | None:
    """Of the weights of a bundled model or of a model's folder; None for anything else."""
    if name in PUBLISHED:
        return None
    folder = place(name)
    digest = hashlib.sha256()
    for file in (CONFIG, WEIGHTS):
        path = folder / file
        if not path.is_file():
            return None
        digest.update(path.read_bytes())
    return digest.hexdigest()


def training_digest(folder: Path) -> str:
    """Of what a training may see of a set, see :func:`vns_sam.data.splits.training_pictures`: other lists, files beside
    it and pictures that are only tested on are not among it.
    """
    try:
        parts = training_pictures(folder)
    except DataError as error:
        return error.message
    entries = [[(each.stem, _picture_digest(each)) for each in part or ()] for part in parts]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def recipe_sources(recipe: Recipe, of_set: Callable[[Path], str]) -> dict[str, str]:
    """Digests of what a recipe trains on and starts from, by what a user calls it; what is not there has none.

    Args:
        recipe: The recipe.
        of_set: Gives the digest of a set.
    """
    fields = recipe_fields(recipe)
    sets = {name: recipe.data.root / name for name in recipe.data.sets}
    found = {f"the set {name}": of_set(folder) for name, folder in sets.items() if folder.is_dir()}
    models = {text: model_digest(text) for name, text in named_strings(fields) if name in GIVEN}
    found |= {name: digest for name, digest in models.items() if digest is not None}
    return found | {str(path): files_digest(path) for path in given_files(fields, sets)}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _picture_digest(picture: Picture) -> str:
    try:
        return pair_digest(picture) if isinstance(picture, Pair) else file_digest(picture.image)
    except DataError as error:
        return error.message
