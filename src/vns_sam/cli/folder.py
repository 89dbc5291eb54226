"""A folder of pictures, with a progress bar on stderr and a count at the end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vns_sam.cli.predictor import PredictorChoice
from vns_sam.cli.single import formats_from, names_file
from vns_sam.cli.work import Tally, drive, finish
from vns_sam.errors import DataError, UsageError
from vns_sam.formats.result import OBJECT
from vns_sam.images.find import Listing, folder_name
from vns_sam.inference.folder import FolderRun, SegmentJob, list_folder
from vns_sam.prompts.files import PromptTable
from vns_sam.runs.job import MANIFEST


def run_folder(args: argparse.Namespace, given: dict[str, Any], table: PromptTable | None) -> int:
    """Segments the pictures of ``args.image``: those in ``table``, or all with the prompts ``given``."""
    out = args.out or Path(f"{folder_name(args.image)}_masks")
    _check_out(out, args.image)
    listing = list_folder(args.image, out) if args.names is None else Listing(tuple(args.names))
    if table is None:
        prompts, categories = dict.fromkeys(listing.names, given), {1: OBJECT}
    else:
        matched = table.in_folder(args.image, listing.names)
        prompts = {**matched.prompts, **{key: table.entries[key] for key in matched.lost}}
        categories = table.categories or {1: OBJECT}
        if not prompts and not table.is_without(args.image, listing.names):
            named = ", ".join(table.without[:3]) or "none"
            raise DataError(f"{args.prompts} names no picture of {args.image}", hint=f"it names {named}")
    if not args.quiet:
        _tell_left_out(listing, prompts)
    if not prompts:
        print(f"nothing to do: {args.prompts} has no object for any picture", file=sys.stderr)
        if not (out / MANIFEST).is_file():
            finish(Tally(), args, out)
            return 0
    formats = formats_from(args)
    folder_run = FolderRun(args.image, out, prompts, formats, bool(args.overlay), categories, args.simplify)
    job = SegmentJob(folder_run, PredictorChoice.of(args))
    tally = drive(job, args, "segmenting")
    if tally is not None:
        finish(tally, args, out)
        ious = [iou for outcome in tally.outcomes for iou in outcome.line.get("outline_iou", ())]
        if ious and not args.json:
            print(f"simplified outlines: IoU with the exact masks {sum(ious) / len(ious):.4f}, least {min(ious):.4f}")
    return 0


def _check_out(out: Path, folder: Path) -> None:
    if names_file(out):
        raise UsageError(f"--out {out} must be a folder, as {folder} is one", hint=f"--out {out.with_suffix('')}")
    if out.resolve() == folder.resolve():
        better = f"{out.resolve()}_masks"
        raise UsageError(f"expected --out beside the pictures, found {out} for both", hint=f"--out {better}")


def _tell_left_out(listing: Listing, prompts: dict[str, Any]) -> None:
    """Says which pictures the run passes over."""
    without = sum(name not in prompts for name in listing.names)
    lines = [f"{without} picture(s) without prompts"] * bool(without) + [listing.told()] * bool(listing.left_out)
    if lines:
        print(f"left out: {', '.join(lines)}", file=sys.stderr)
