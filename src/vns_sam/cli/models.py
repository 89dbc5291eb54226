"""The models that have a name, what they cost, and the authors' checkpoints.

vns-sam models list
vns-sam models convert sam_vit_b_01ec64.pth --out sam-vit-b           a file of SAM's, SAM 2's, SAM 3's or MobileSAM's
                                                                      authors as a folder
vns-sam models convert medsam_vit_b.pth --fit stretch --unit-pixels --out medsam   as pictures entered when it was tuned
vns-sam models convert epoch_11.pth --base vit_l --out vns-vit-l      the authors' VNS-SAM: plain, "module."-prefixed,
                                                                      or merged into a SAM file
vns-sam models convert vit_b --to transformers --out sam-vit-b-hf      a folder for transformers' SamModel
vns-sam models average runs/a/model runs/b/model --out ab             the mean of two trainings' weights
vns-sam models push runs/mine/model me/mine                           to the Hugging Face hub, with card and graphs
vns-sam models cost vns-sam-tiny                                      parameters, work and time on this machine
vns-sam models cost sam2.1-l --no-weights                             a SAM, HQ-SAM and VNS-SAM on it, counted only
vns-sam models cost sam2.1-l --random-weights                         the same, timed too
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json
from vns_sam.cli.model_folder import check_folder
from vns_sam.cli.numbers import number
from vns_sam.errors import UsageError

if TYPE_CHECKING:
    from vns_sam.evaluation.cost import Cost
    from vns_sam.sam.checkpoints import KeyReport

MOST_SHARE = 1_000_000
"""Of one model in a mean."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="list|convert|average|push|cost")
    verbs.add_parser("list", help="name, parameters, size and origin of each model", allow_abbrev=False)
    convert = verbs.add_parser("convert", help="a checkpoint of the authors as a folder", allow_abbrev=False)
    convert.add_argument("checkpoint", type=Path, metavar="FILE.pth")
    convert.add_argument(
        "--base", metavar="SAM", help="of VNS-SAM: vit_b, vit_l, vit_h, or a folder or file with its weights"
    )
    convert.add_argument(
        "--to",
        choices=("vns-sam", "transformers"),
        default="vns-sam",
        help="whose folder (%(default)s)",
    )
    convert.add_argument(
        "--image-size",
        type=int,
        metavar="S",
        help="of the input that a MobileSAM or a SAM 2 was tuned on, which its file does not tell (1024)",
    )
    convert.add_argument("--fit", choices=("pad", "stretch"), help="how pictures become square (the model's own)")
    convert.add_argument(
        "--unit-pixels", action="store_true", help="pixels enter as 0 .. 1, as in MedSAM, not by SAM's mean"
    )
    _add_out(convert)
    average = verbs.add_parser("average", help="the mean of several trainings of one model", allow_abbrev=False)
    folders = "as training writes them, model/ or best/, or a bundled model"
    average.add_argument("folders", type=Path, nargs="+", metavar="DIR", help=folders)
    average.add_argument(
        "--shares", type=number(0, MOST_SHARE), nargs="+", metavar="X", help="how much each counts (alike)"
    )
    _add_out(average)
    push = verbs.add_parser("push", help="a model's folder to the Hugging Face hub", allow_abbrev=False)
    push.add_argument("folder", metavar="DIR", help="as training writes it, or a bundled model")
    push.add_argument("repo", metavar="OWNER/NAME", help="made if it is not there")
    push.add_argument("--private", action="store_true", help="a new one is seen by its owner alone")
    cost = verbs.add_parser("cost", help="parameters, operations and time of one model", allow_abbrev=False)
    cost.add_argument("model", metavar="MODEL", help="a name, a folder or a hub id; see: vns-sam models list")
    without = cost.add_mutually_exclusive_group()
    without.add_argument("--no-weights", action="store_true", help="of a SAM by its name: load nothing, time nothing")
    without.add_argument("--random-weights", action="store_true", help="load nothing, but time: the work is the same")
    cost.add_argument("--calls", type=int, default=10, metavar="N", help="timed calls (default 10)")
    cost.add_argument("--device", default="cpu", help="cpu, cuda, ... (default cpu)")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--force", action="store_true", help="replace a model that is there")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if args.action == "list":
        return _list(json=args.json)
    if args.action == "average":
        return _average(args)
    if args.action == "push":
        return _push(args)
    return _convert(args) if args.action == "convert" else _cost(args)


def _list(*, json: bool) -> int:
    from vns_sam.inference.load import catalog

    if json:
        print_json(*map(asdict, catalog()))
        return 0
    rows = [("name", "parameters", "MiB", "licence", "weights")]
    rows += [
        (row.name, f"{row.parameters / 1e6:.1f} M", f"{row.mib:.0f}", row.licence, row.source) for row in catalog()
    ]
    _print_table(rows, left=(0, 3, 4))
    return 0


def _print_table(rows: Sequence[tuple[str, ...]], left: tuple[int, ...]) -> None:
    """Aligns columns, those in ``left`` to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())


def _cost(args: argparse.Namespace) -> int:
    if args.calls < 1:
        raise UsageError(f"--calls must be at least 1, found {args.calls}")
    import numpy as np

    from vns_sam.evaluation.cost import cost, hardware, weightless
    from vns_sam.inference.load import check_device, load_network

    device = check_device(args.device)
    blank = args.no_weights or args.random_weights
    where = "meta" if args.no_weights else device
    models = weightless(args.model, where) if blank else [load_network(args.model, device)]
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    if args.json:
        print_json(*(asdict(cost(model, image, calls=args.calls)) for model in models))
        return 0
    titles = ("model", "parameters", "MiB", "trainable", "MiB", "encode GFLOPs", "decode GFLOPs", "G multiply-adds")
    rows: list[tuple[str, ...]] = [titles if args.no_weights else (*titles, "encode ms", "decode ms", "per s")]
    rows += [_cost_row(cost(model, image, calls=args.calls)) for model in models]
    _print_table(rows, left=(0,))
    if not args.no_weights:
        print(f"{hardware(device)}; one picture of 640 x 480 and one box, medians of {args.calls} calls")
    return 0


def _cost_row(found: Cost) -> tuple[str, ...]:
    cells = [found.name]
    for parameters, mib in ((found.parameters, found.mib), (found.trainable, found.trainable_mib)):
        cells += [f"{parameters / 1e6:.2f} M", f"{mib:.2f}"]
    cells += [f"{count / 1e9:.1f}" for count in (found.encode_flops, found.decode_flops, found.multiply_adds)]
    if found.encode_seconds is not None and found.decode_seconds is not None:
        cells += [f"{1000 * seconds:.1f}" for seconds in (found.encode_seconds, found.decode_seconds)]
        cells.append(f"{found.pictures_per_second:.2f}")
    return tuple(cells)


def _average(args: argparse.Namespace) -> int:
    check_folder(args.out, force=args.force)
    from vns_sam.sam.averaging import average_checkpoints

    mean = average_checkpoints(args.folders, args.out, args.shares)
    if args.json:
        print_json({"out": args.out, "tensors": len(mean), "models": len(args.folders)})
        return 0
    print(f"{len(mean)} tensors, the mean of {len(args.folders)} models")
    print(args.out)
    return 0


def _push(args: argparse.Namespace) -> int:
    from vns_sam.sam.hub import shared_files, upload
    from vns_sam.sam.registry import place

    folder = place(args.folder)
    address = upload(folder, args.repo, private=args.private)
    if args.json:
        print_json({"repo": args.repo, "address": address, "files": [path.name for path in shared_files(folder)]})
    else:
        print(address)
    return 0


def _convert(args: argparse.Namespace) -> int:
    check_folder(args.out, force=args.force)
    if args.to == "transformers":
        _refuse_base(args, "a folder of transformers")
    from vns_sam.hq.published import holds_hq
    from vns_sam.sam.files import read_tensors
    from vns_sam.sam.zoo import convert_sam, load_sam
    from vns_sam.vns.official import convert_decoder, holds_decoder

    if args.to == "transformers":
        from vns_sam.sam.transformers_folder import write_transformers

        _refuse_input(args, "a folder of transformers")
        return _tell_converted(write_transformers(load_sam(args.checkpoint), args.out), args.out, args.json)
    tensors = read_tensors(args.checkpoint)
    if holds_hq(tensors) and not holds_decoder(tensors):
        raise UsageError(
            f"{args.checkpoint} is an HQ-SAM file, which is used as it is", hint=f"--model {args.checkpoint}"
        )
    if holds_decoder(tensors):
        _refuse_input(args, "a VNS-SAM")
        report = convert_decoder(tensors, args.checkpoint, args.out, args.base)
    else:
        _refuse_base(args, "a SAM's own file")
        given = {"image_size": args.image_size, "fit": args.fit, "unit_pixels": args.unit_pixels}
        report = convert_sam(args.checkpoint, args.out, **given)
    return _tell_converted(report, args.out, args.json)


def _refuse_base(args: argparse.Namespace, what: str) -> None:
    if args.base:
        raise UsageError(f"--base is of a VNS-SAM's file, not of {what}", hint="leave it out")


def _refuse_input(args: argparse.Namespace, what: str) -> None:
    given = [name for name in ("image_size", "fit", "unit_pixels") if getattr(args, name)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{option} is of a SAM's own file, not of {what}", hint="leave it out")


def _tell_converted(report: KeyReport, out: Path, as_json: bool) -> int:
    if as_json:
        print_json({"out": out, **asdict(report)})
        return 0
    print(report)
    for kind, names in (("missing", report.missing), ("left over", report.left_over)):
        print(*(f"  {kind}: {name}" for name in names), sep="\n", end="\n" if names else "")
    print(out)
    return 0
