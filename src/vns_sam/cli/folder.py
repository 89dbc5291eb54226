"""A folder of pictures, with a progress bar on stderr and a count at the end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vns_sam.cli.predictor import PredictorChoice
from vns_sam.cli.work import drive, finish
from vns_sam.errors import UsageError
from vns_sam.images.find import Listing
from vns_sam.inference.folder import FolderRun, SegmentJob, list_folder
from vns_sam.prompts.files import PromptTable


def run_folder(args: argparse.Namespace, given: dict[str, Any], table: PromptTable | None) -> int:
    """Segments the pictures of ``args.image``: those in ``table``, or all with the prompts ``given``."""
    out = args.out or Path(f"{args.image.resolve().name}_masks")
    _check_out(out, args.image)
    listing = list_folder(args.image, out)
    if table is None:
        prompts = dict.fromkeys(listing.names, given)
    else:
        prompts = {_relative(name, args.image): asked for name, asked in table.items()}
    if not args.quiet:
        _tell_left_out(listing, prompts)
    folder_run = FolderRun(args.image, out, prompts, args.format, bool(args.overlay))
    job = SegmentJob(folder_run, PredictorChoice.of(args))
    tally = drive(job, args, "segmenting")
    if tally is not None:
        finish(tally, args, out)
    return 0


def _check_out(out: Path, folder: Path) -> None:
    if out.suffix and not out.is_dir():
        raise UsageError(f"--out {out} must be a folder, as {folder} is one", hint=f"--out {out.with_suffix('')}")
    if out.resolve() == folder.resolve():
        better = f"{out.resolve()}_masks"
        raise UsageError(f"expected --out beside the pictures, found {out} for both", hint=f"--out {better}")


def _relative(name: str, folder: Path) -> str:
    """A picture's path relative to the folder; a path that leads elsewhere stays as it is."""
    path = Path(name)
    if path.is_absolute():
        for root in (folder.absolute(), folder.resolve()):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
    return name


def _tell_left_out(listing: Listing, prompts: dict[str, Any]) -> None:
    """Says what the run passes over."""
    without = sum(name not in prompts for name in listing.names)
    lines = [f"{without} picture(s) without prompts"] * bool(without) + [listing.told()] * bool(listing.left_out)
    if lines:
        print(f"left out: {', '.join(lines)}", file=sys.stderr)
