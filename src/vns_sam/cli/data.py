"""Data sets: the field's own and yours.

vns-sam data list                     the sets that the field trains and measures on, and how to get them
vns-sam data build vns-seg ...        the training set and the tests of VNS-SAM from the archives as downloaded
vns-sam data check DIR                a doctor for a set
vns-sam data import SRC --out DIR     COCO or YOLO annotations as a set
vns-sam data import-labels SRC        strokes, points and boxes of other tools as labels to learn from
vns-sam data scribble SRC --out DIR   strokes, points or boxes simulated from masks
vns-sam data enrich SRC --out DIR     parts of masks as training samples of their own
vns-sam data darken SRC --out DIR     the same set at night
vns-sam data realism REAL             how much darkened pictures are like real ones
vns-sam data score DIR                how little the objects of a set stand out
"""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

ACTIONS = {
    "list": "the field's sets: counts, licences, how to get them",
    "build": "assemble a benchmark from archives and folders as downloaded",
    "check": "find and repair what is wrong with a set",
    "import": "turn COCO or YOLO annotations into a set",
    "import-labels": "strokes, points and boxes of labelme, CVAT, Label Studio, GIMP and others as labels",
    "scribble": "strokes, points or boxes as a person would draw them, from masks",
    "enrich": "each large part of a mask as a training sample of its own",
    "darken": "the same set at night, masks kept",
    "realism": "how much darkened pictures are like real dark ones",
    "score": "the VNS-score of every picture of a set",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb; each action is a module of its own."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(ACTIONS))
    for name, summary in ACTIONS.items():
        module = _module(name)
        action = actions.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(action)


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    return int(_module(args.action).run(args))


def _module(action: str) -> ModuleType:
    return import_module(f"vns_sam.cli.data_{action.replace('-', '_')}")
