"""Makes an annotated set, or any folder of pictures, dark. Masks and lists are kept.

vns-sam data darken data/leaves --out data/leaves_dark
vns-sam data darken data/leaves --out data/leaves_dusk --strength 0.5 --seed 3
vns-sam data darken photos/ --out photos_dark --method cyclegan --weights latest_net_G_A.pth

OUT gets manifest.jsonl (a line for each picture: what was drawn, luminance before and after) and contact_sheet.jpg.
Started again, a stopped run goes on. Pictures that cannot be read are told and left out. See docs/low-light.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.cli.numbers import at_least
from vns_sam.cli.work import add_run_arguments, drive, finish
from vns_sam.errors import UsageError

if TYPE_CHECKING:
    from vns_sam.lowlight.darkener import Darkener
    from vns_sam.lowlight.folder import DarkenRun

SHEET = "contact_sheet.jpg"
SHOWN = 6
"""Pictures on the contact sheet."""

GAIN = 6
"""Of the third row of the contact sheet, which shows what the dark hides."""

MAX_STRENGTH = {"camera": 2.0, "cyclegan": 1.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="a set with images/ and masks/, or a folder of pictures"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DST", help="a new folder, or one to go on with")
    how = "how (camera, which takes a process for each core unless --workers says otherwise)"
    parser.add_argument("--method", choices=sorted(MAX_STRENGTH), default="camera", help=how)
    parser.add_argument(
        "--strength", type=float, default=1.0, help="1 is the paper's darkness, 0.5 half of its stops (1)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of what the camera draws (0)")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="a CycleGAN's generator: netG_A.pth or a folder")
    parser.add_argument("--device", default="cpu", help="where the generator runs (cpu)")
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    _check(args)
    from vns_sam.lowlight.folder import DarkenJob, plan_run
    from vns_sam.lowlight.luminance import Luminance, pooled

    plan = plan_run(args.source, args.out)
    if args.method == "camera":  # torch uses all cores by itself
        args.usual_workers = min(os.cpu_count() or 1, len(plan.names))
    tally = drive(DarkenJob(plan, _darkener(args)), args, "darkening")
    if tally is None:
        return 0
    lines = [outcome.line for outcome in tally.outcomes if not outcome.error]
    _write_sheet(args.out / SHEET, plan, lines)
    before, after = (pooled([Luminance(**line[when]) for line in lines]) for when in ("before", "after"))
    if not args.json:
        print(f"luminance before: {before.mean:.2f}, sd {before.sd:.2f}; after: {after.mean:.2f}, sd {after.sd:.2f}")
    finish(tally, args, args.out)
    return 0


def _check(args: argparse.Namespace) -> None:
    most = MAX_STRENGTH[args.method]
    if not 0 <= args.strength <= most:
        raise UsageError(f"expected --strength from 0 to {most:g} with --method {args.method}, found {args.strength}")
    if args.method == "cyclegan" and args.weights is None:
        hint = "--weights latest_net_G_A.pth, or train one: recipes/cyclegan_lol.yaml"
        raise UsageError("--method cyclegan needs a generator", hint=hint)
    if args.method == "camera" and args.weights is not None:
        raise UsageError("--weights goes with --method cyclegan", hint="--method cyclegan")


def _darkener(args: argparse.Namespace) -> Darkener:
    if args.method == "camera":
        from vns_sam.lowlight.camera import CameraDarkener

        return CameraDarkener(args.seed, args.strength)
    from vns_sam.inference.load import check_device
    from vns_sam.lowlight.darken import CycleGanDarkener
    from vns_sam.lowlight.model import load_generator

    return CycleGanDarkener(load_generator(args.weights).to(check_device(args.device)), args.strength)


def _write_sheet(path: Path, plan: DarkenRun, lines: Sequence[Mapping[str, Any]]) -> None:
    """Draws some pictures before and after, and after with the light turned up."""
    from zlib import crc32

    import numpy as np

    from vns_sam.images.read import read_image
    from vns_sam.images.tiles import Tile, grid
    from vns_sam.images.write import write_image

    rows: tuple[list[Tile], ...] = ([], [], [])
    for line in sorted(lines, key=lambda line: crc32(line["source"].encode()))[:SHOWN]:
        bright, dark = read_image(plan.source / line["source"]), read_image(plan.out / line["image"])
        rows[0].append(Tile(bright, Path(line["source"]).name))
        rows[1].append(Tile(dark, f"luminance {line['after']['mean']:.1f}"))
        rows[2].append(Tile((np.minimum(dark, 255 // GAIN) * GAIN).astype(np.uint8), f"{GAIN} times brighter"))
    write_image(path, grid(rows))
