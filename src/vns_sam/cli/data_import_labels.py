"""Strokes, points and boxes of other tools as labels to learn from (vns-sam pseudo-label --labels OUT).

  vns-sam data import-labels labelme/ --images photos/ --out labels/           line strips, points, rectangles, outlines
  vns-sam data import-labels annotations.xml --images photos/ --out labels/    CVAT; also COCO, YOLO, VOC, Label Studio
  vns-sam data import-labels layers/ --object "#ff0000" --background 0,0,255 --images photos/ --out labels/
  vns-sam data import-labels strokes/ --object 255 --images photos/ --out labels/

Maps of codes, black and white, trimaps and layers with strokes in one colour are understood by themselves; other
colours are named. Classes called background (or bg, negative, 0) lie beside the object, all others on it. Writes a map
of 0 unlabelled, 1 object, 2 background for each picture, and boxes.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from vns_sam.cli.lines import print_json, told
from vns_sam.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("source", type=Path, metavar="FILE|DIR", help="the labels")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="the pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    for kind in ("object", "background"):
        parser.add_argument(
            f"--{kind}", action="append", metavar="COLOUR", default=[], help=f"means {kind}; may repeat"
        )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from rich.console import Console
    from rich.progress import Progress

    from vns_sam.data.label_import import LabelImport, import_labels
    from vns_sam.data.label_maps import parse_colour
    from vns_sam.prompts.codes import BACKGROUND, OBJECT

    colours = {parse_colour(text): OBJECT for text in args.object}
    colours |= {parse_colour(text): BACKGROUND for text in args.background}
    if args.background and not args.object:
        raise UsageError("expected --object beside --background, found none", hint="--object red --background blue")
    state = LabelImport()
    with Progress(console=Console(stderr=True), disable=args.quiet) as bar:
        task = bar.add_task("import", total=None)
        for state, total in import_labels(args.source, args.images, args.out, colours or None):  # noqa: B007
            bar.update(task, advance=1, total=total)
    if args.json:
        print_json({"out": args.out, **asdict(state)})
        return 0
    for line in told("left out", state.problems, more=""):
        print(line)
    print(
        f"{args.out}: {state.pictures} pictures, {state.maps} maps, {state.boxes} boxes; {state.unlabelled} pictures "
        f"without labels, {len(state.problems)} problems"
    )
    return 0
