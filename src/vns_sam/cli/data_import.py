"""Sets with COCO or YOLO annotations, in the layout of this package.

  vns-sam data import annotations/instances_val2017.json --out coco_val/
  vns-sam data import annotations.json --images photos/ --out frogs/
  vns-sam data import yolo_set/ --out frogs/                  a folder with images/ and labels/ (polygons)
  vns-sam data import roboflow_export/ --out frogs/           a folder with a COCO file for each split

Writes OUT/images (hard links where possible), OUT/masks, OUT/masks_instance and the lists of the splits. What cannot
be used is told and left out; pictures without objects are left out, too.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from vns_sam.cli.lines import print_json, told
from vns_sam.cli.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("source", type=Path, metavar="FILE.json|DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures, where it cannot be guessed")
    parser.add_argument("--strict", action="store_true", help="stop at the first problem")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.data.importing import Import, check_place, convert
    from vns_sam.runs.lock import locked

    check_place(args.out)
    state = Import()
    with locked(args.out, "data import"), progress_bars(quiet=args.quiet) as show:
        steps = convert(args.source, args.out, images=args.images, strict=args.strict)
        for done, (state, total) in enumerate(steps, start=1):  # noqa: B007
            show("importing", done, total)
    if args.json:
        print_json({"out": args.out, **asdict(state)})
        return 0
    for line in told("left out", state.problems, more=""):
        print(line)
    print(
        f"{state.pictures} pictures with {state.objects} objects in {args.out}; {len(state.problems)} problems, "
        f"{state.without_objects} pictures without objects"
        + (f", {state.removed} files of an earlier import removed" if state.removed else "")
    )
    return 0
