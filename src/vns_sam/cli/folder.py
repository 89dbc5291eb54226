"""A folder of pictures, with a progress bar on stderr and a count at the end."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vns_sam.cli.predictor import build_predictor
from vns_sam.errors import DataError, UsageError
from vns_sam.images.read import find_images
from vns_sam.images.write import check_writable
from vns_sam.inference.folder import MANIFEST, FolderRun, Outcome, segment_folder
from vns_sam.prompts.files import PromptTable


def run_folder(args: argparse.Namespace, given: dict[str, Any], table: PromptTable | None) -> int:
    """Segments the pictures of ``args.image``: those in ``table``, or all with the prompts ``given``."""
    out = args.out or Path(f"{args.image.resolve().name}_masks")
    if out.suffix and not out.is_dir():
        raise UsageError(f"--out {out} must be a folder, as {args.image} is one", hint=f"--out {out.with_suffix('')}")
    prompts = table if table is not None else dict.fromkeys(find_images(args.image), given)
    check_writable(out / MANIFEST)

    predictor = build_predictor(args)
    run = FolderRun(args.image, out, prompts, args.format, bool(args.overlay))
    done, skipped, failed = _work(predictor, run, quiet=args.quiet)
    print(f"{out}: {done} done, {skipped} done before, {failed} failed")
    if failed == len(prompts):
        raise DataError(f"none of {failed} pictures could be segmented", hint="see the lines above")
    return 0


def _work(predictor: Any, run: FolderRun, *, quiet: bool) -> tuple[int, int, int]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    outcomes: list[Outcome] = []
    with nullcontext() if quiet else Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("segmenting", total=len(run.prompts)) if bar else None
        for outcome in segment_folder(predictor, run):
            outcomes.append(outcome)
            if outcome.error:
                print(f"failed: {outcome.error}", file=sys.stderr)
            if bar and task is not None:
                bar.advance(task)
    failed, skipped = sum(bool(o.error) for o in outcomes), sum(o.skipped for o in outcomes)
    return len(outcomes) - failed - skipped, skipped, failed
