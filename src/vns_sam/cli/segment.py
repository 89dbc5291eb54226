"""Masks for a picture or a folder of pictures.

  vns-sam segment frog.jpg --box 12 30 210 180                      one object, by its box
  vns-sam segment frog.jpg --point 120 90 --point 20 20 --label 0   one object, by clicks
  vns-sam segment frog.jpg --box 12 30 90 80 --box 100 20 210 180   two objects
  vns-sam segment bike.jpg --box 12 30 210 180 --refine dis-sam-tiny    a mask to the pixel; --alpha: its alpha map
  vns-sam segment frog.jpg --point 120 90 --candidates              a part or the whole? all masks, best first
  vns-sam segment photos/ --prompts boxes.csv --out masks/          many pictures; also a.jpg b.jpg, or "photos/*.jpg"
  vns-sam segment photos/ --prompts coco.json --format coco yolo labelme --out set/     one run, several formats
  cat frog.jpg | vns-sam segment - --box 12 30 210 180 --out - > mask.png               from and to a pipe
  vns-sam segment frog.jpg --model ws-sam-tiny                      all that a WS-SAM finds, without a prompt
  vns-sam segment cells.png --auto --format indexed coco            every object by itself, without a prompt

Coordinates are pixels of the picture, from its top left corner; boxes are X0 Y0 X1 Y1. All --point belong to
one object; with one --box they refine that box. Prompts come as a table, name,x0,y0,x1,y1[,class] or name,x,y,label
with any usual heading; as JSON {"frog.jpg": {"boxes": [[12, 30, 210, 180]], "classes": ["frog"]}}; or as exports of
COCO, YOLO, VOC, labelme, CVAT, Label Studio; or as a folder of masks. See docs/formats.md.

Results go to the working directory: frog_mask.png and frog_overlay.png; frog_mask_0.png, frog_mask_1.png for
several objects. Those of a folder go to photos_masks/ there, without overlays unless --overlay. Nothing that is there
is replaced without --force. In a folder a bad picture is told and passed over, and a run that was stopped goes on when
it is started again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.cli.lines import print_json, tell
from vns_sam.cli.predictor import add_automatic_arguments, add_model_arguments
from vns_sam.cli.work import add_run_arguments
from vns_sam.errors import DataError, UsageError, without_key

if TYPE_CHECKING:
    from vns_sam.prompts.files import PromptTable

FORMATS = ("png", "coco", "yolo", "labelme", "labelstudio", "cvat", "voc", "geojson", "svg", "cutout", "indexed", "npz")
"""Those of :mod:`vns_sam.formats.registry`, named here so that ``--help`` answers at once."""

ONE_FILE_EACH = ("png", "cutout")
"""Those with a file for each object."""

MOST_SIMPLE = 100
"""Pixels that simplified outlines may leave the exact ones by, at most."""

STDIN = Path("-")
"""Instead of a picture: it comes on the standard input. As --out: the result goes to the standard output."""

EXAMPLE = "--box X0 Y0 X1 Y1, for example: vns-sam segment frog.jpg --box 12 30 210 180"


class _Label(argparse.Action):
    """``--label`` says what the ``--point`` just before it is."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        if not namespace.labels or namespace.labels[-1] is not None:
            raise UsageError("--label must follow the --point that it describes", hint="--point X Y --label 0")
        namespace.labels = [*namespace.labels[:-1], values]


class _Point(argparse.Action):
    """``--point`` adds a click whose label is not known yet."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        namespace.points = [*(namespace.points or []), values]
        namespace.labels = [*(namespace.labels or []), None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE|DIR", help="pictures, a folder, or - for a picture on stdin"
    )
    parser.add_argument("--box", type=float, nargs=4, action="append", metavar=("X0", "Y0", "X1", "Y1"), dest="boxes")
    parser.add_argument("--point", type=float, nargs=2, action=_Point, metavar=("X", "Y"), dest="points")
    parser.add_argument("--label", type=int, action=_Label, dest="labels", help="of the --point before it: 1 or 0")
    parser.add_argument("--prompts", type=Path, metavar="FILE|DIR", help="prompts by picture, see below")
    parser.add_argument("--format", action="append", choices=FORMATS, help="one or several: --format png coco (png)")
    parser.add_argument(
        "--simplify", type=_pixels, default=0.0, metavar="PIXELS", help="how far outlines may leave pixel edges (0)"
    )
    parser.add_argument(
        "--alpha", action="store_true", help="also write a DIS-SAM's alpha map, or a WS-SAM's probability"
    )
    parser.add_argument(
        "--candidates", action="store_true", help="also write all masks that the model offers, best first"
    )
    parser.add_argument("--overlay", action=argparse.BooleanOptionalAction, help="default: for one picture only")
    add_automatic_arguments(parser)
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="PATH", help="a file, or a folder when it has no suffix")
    add_run_arguments(parser)


def arrange(arguments: Sequence[str]) -> list[str]:
    """Gives each of several formats after one ``--format`` an option of its own, so that a picture may follow them."""
    arranged: list[str] = []
    for argument in arguments:
        if argument in FORMATS and len(arranged) > 1 and arranged[-2] == "--format":
            arranged.append("--format")
        arranged.append(argument)
    return arranged


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    given = prompts_from(args)
    args.image, args.names = pictures(args.images)
    if args.out == STDIN:
        _check_piped(args)
    table = None
    if args.prompts is not None:
        from vns_sam.prompts.files import read_prompt_file

        if given:
            raise UsageError("--prompts cannot be combined with --box or --point", hint="give one of them")
        table = read_prompt_file(args.prompts)
    _check_prompted(args, prompted=bool(given) or table is not None)
    if table is not None and not args.quiet:
        tell("note", table.problems)
    if args.image.is_dir() and args.image != STDIN:
        from vns_sam.cli.folder import run_folder

        return run_folder(args, given, table)
    from vns_sam.cli.single import run_single

    if table is None:
        return run_single(args, given)
    entry = _entry(table, args)
    if entry is None:
        told = f"nothing to do: {args.prompts} has no object for {args.image.name}"
        print_json({"image": str(args.image), "files": [], "scores": []}) if args.json else print(told, file=sys.stderr)
        return 0
    return run_single(args, entry, table.categories)


def _check_piped(args: argparse.Namespace) -> None:
    """Judges what does not go with ``--out -``, which is one file and none on the disk."""
    if args.image.is_dir() and args.image != STDIN:
        raise UsageError("--out - takes the result of one picture, found several", hint="--out masks/")
    for given, option in ((args.dry_run, "--dry-run"), (args.overlay, "--overlay")):
        if given:
            raise UsageError(
                f"{option} tells of files on the disk, and --out - writes none", hint="leave one of them out"
            )


def _pixels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= MOST_SIMPLE:
        raise argparse.ArgumentTypeError(f"expected pixels from 0 to {MOST_SIMPLE}, found '{text.strip()}'")
    return value


def _check_prompted(args: argparse.Namespace, *, prompted: bool) -> None:
    """Judges, before a model is loaded, whether it wants a prompt and can do what is asked."""
    from vns_sam.formats.alpha import without_alpha
    from vns_sam.inference.load import check_model_name, check_refining, gives_alpha, takes_prompts

    check_model_name(args.model)
    if args.auto:
        _check_automatic(args, prompted=prompted)
        return
    wanted, name = takes_prompts(args.model), without_key(args.model)
    if wanted and not prompted:
        raise UsageError("no prompt: say which object is meant", hint=EXAMPLE)
    if prompted and not wanted:
        raise UsageError(f"'{name}' takes no prompt: it finds what there is", hint="leave the prompt out")
    alpha = gives_alpha(args.model) if wanted else None
    if args.refine:
        check_refining(name, args.refine, prompts=wanted, alpha=bool(alpha))
    elif args.alpha and alpha is False:
        raise without_alpha()
    if not wanted and args.second_look == "on":
        raise UsageError(f"'{name}' cannot be asked about one object again", hint="leave the second look out")


def _check_automatic(args: argparse.Namespace, *, prompted: bool) -> None:
    """Judges the options that do not go with ``--auto``; its own default format holds all objects in one file."""
    if prompted:
        raise UsageError("--auto looks for all objects and takes no prompt", hint="leave the prompt or --auto out")
    if args.refine or args.alpha or args.candidates:
        raise UsageError(
            "--auto does not go with --refine, --alpha or --candidates", hint="segment single objects to refine them"
        )
    args.format = args.format or ["indexed"]
    several = [kind for kind in args.format if kind in ONE_FILE_EACH]
    if several:
        raise UsageError(
            f"--format {several[0]} has a file for each object, and nobody knows how many --auto finds",
            hint="--format indexed, or another that holds all objects of a picture",
        )


def pictures(given: Sequence[str]) -> tuple[Path, list[str] | None]:
    """One picture or folder, or the folder above several pictures and their names in it; patterns are followed.

    Raises:
        UsageError: There are folders beside other things, or the standard input is.
    """
    found = [path for text in given for path in _followed(text)]
    if len(found) == 1:
        return found[0], None
    if wrong := next((path for path in found if path == STDIN or path.is_dir()), None):
        raise UsageError(f"expected pictures, or one folder, found {wrong} among {len(found)}", hint="one at a time")
    paths = [_without_above(path) for path in found]
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    names = [path.relative_to(folder).as_posix() for path in paths]
    return folder, list(dict.fromkeys(names))


def _without_above(path: Path) -> Path:
    """An absolute path without ``..``, which leads out of the folder that a link stands for, not out of the link's;
    links behind it keep their names.
    """
    behind = path.parts[::-1].index("..") if ".." in path.parts else 0
    return path.parents[behind - 1].resolve().joinpath(*path.parts[-behind:]) if behind else path.absolute()


def _followed(text: str) -> list[Path]:
    """What a pattern stands for where the shell has left it as it is."""
    if any(sign in text for sign in "*?[") and not os.path.lexists(text):
        return [Path(name) for name in sorted(glob(text, recursive=True))] or [Path(text)]
    return [Path(text)]


def prompts_from(args: argparse.Namespace) -> dict[str, Any]:
    """The prompts of the command line as arguments of ``make_prompts``; empty when none is given."""
    given: dict[str, Any] = {}
    if args.boxes:
        given["boxes"] = args.boxes
    if args.points:
        given["points"] = [args.points]
        given["labels"] = [[1 if label is None else label for label in args.labels]]
    if len(args.boxes or ()) > 1 and args.points:
        raise UsageError(
            "several --box and --point cannot be combined: all points belong to one object",
            hint="one --box with points, or --prompts FILE with points for each box",
        )
    return given


def _entry(table: PromptTable, args: argparse.Namespace) -> dict[str, Any] | None:
    """What a table asks of a picture; None where it tells that there is no object in it."""
    entry = table.for_picture(args.image)
    if entry is None and not table.is_without(args.image.parent, [args.image.name]):
        names = sorted([*table.entries, *table.without])[:3]
        raise DataError(f"{args.prompts} has no prompts for {args.image.name}", hint=f"it names {', '.join(names)}")
    return entry
