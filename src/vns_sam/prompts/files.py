"""Prompts of many pictures in one file, JSON or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from vns_sam.errors import DataError

FIELDS = ("boxes", "points", "labels")

PromptTable = dict[str, dict[str, Any]]
"""Name of a picture -> the keyword arguments of :func:`vns_sam.prompts.validate.make_prompts`."""


def read_prompt_file(path: str | Path) -> PromptTable:
    """Reads prompts by picture; their values are judged later, against each picture.

    JSON: ``{"a.jpg": {"boxes": [[x0, y0, x1, y1]], "points": [[[x, y]]], "labels": [[1]]}}``.
    CSV: one box a line, ``name,x0,y0,x1,y1``, with or without that heading; a picture may have several lines.

    Raises:
        DataError: The file is missing, neither kind, or has another structure; the line or picture is named.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"no prompts file at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({type(error).__name__})") from None
    table = _from_csv(path, text) if path.suffix.lower() == ".csv" else _from_json(path, text)
    if not table:
        raise DataError(f"{path} holds no prompts", hint="see: vns-sam segment --help")
    return table


def match_pictures(table: PromptTable, names: Iterable[str]) -> PromptTable:
    """The table with the names of files: tables that are written for sets, such as those of ``vns-sam data scribble``,
    name pictures without a suffix.

    Args:
        table: Prompts by picture.
        names: Files that there are, relative to their folder.

    Raises:
        DataError: A name without suffix fits several files.
    """
    files = set(names)
    by_stem: dict[str, list[str]] = {}
    for name in files:
        by_stem.setdefault(str(PurePath(name).with_suffix("")), []).append(name)
    matched: PromptTable = {}
    for name, prompts in table.items():
        fitting = [name] if name in files else sorted(by_stem.get(name, [name]))
        if len(fitting) > 1:
            raise DataError(
                f"prompts for '{name}' fit several files: {', '.join(fitting[:3])}", hint="name each with its suffix"
            )
        matched[fitting[0]] = prompts
    return matched


def _from_json(path: Path, text: str) -> PromptTable:
    try:
        table = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error})", hint="name it .csv if it holds name,x0,y0,x1,y1") from None
    if not isinstance(table, dict):
        raise DataError(f"{path} must map names of pictures to prompts, found a {type(table).__name__}")
    for name, prompts in table.items():
        unknown = set(prompts) - set(FIELDS) if isinstance(prompts, dict) else {str(prompts)[:40]}
        if unknown or not prompts:
            found = ", ".join(sorted(unknown)) or "nothing"
            raise DataError(f"{path}: '{name}' must hold some of {', '.join(FIELDS)}, found {found}")
    return table


def _from_csv(path: Path, text: str) -> PromptTable:
    table: PromptTable = {}
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        if not row or (number == 1 and row[0].strip().lower() == "name"):
            continue
        try:
            name, *corners = (cell.strip() for cell in row)
            box = [float(corner) for corner in corners]
        except ValueError:
            box = []
        if len(box) != 4:
            raise DataError(f"{path}, line {number}: expected name,x0,y0,x1,y1, found '{','.join(row)[:60]}'")
        table.setdefault(name, {"boxes": []})["boxes"].append(box)
    return table
