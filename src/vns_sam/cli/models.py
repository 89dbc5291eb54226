"""The models that have a name, and the authors' checkpoints.

vns-sam models list
vns-sam models convert sam_vit_b_01ec64.pth --out sam-vit-b           Meta's SAM as a folder
vns-sam models convert epoch_11.pth --base vit_l --out vns-vit-l      the authors' VNS-SAM: plain, "module."-prefixed,
                                                                      or merged into a SAM file
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vns_sam.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="list|convert")
    verbs.add_parser("list", help="name, parameters, size and origin of each model", allow_abbrev=False)
    convert = verbs.add_parser("convert", help="a checkpoint of the authors as a folder", allow_abbrev=False)
    convert.add_argument("checkpoint", type=Path, metavar="FILE.pth")
    convert.add_argument(
        "--base", metavar="SAM", help="of VNS-SAM: vit_b, vit_l, vit_h, or a folder or file with its weights"
    )
    convert.add_argument("--out", type=Path, required=True, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    return _list() if args.action == "list" else _convert(args)


def _list() -> int:
    from vns_sam.inference.load import catalog

    rows = [("name", "parameters", "MiB", "weights")]
    rows += [(row.name, f"{row.parameters / 1e6:.1f} M", f"{row.mib:.0f}", row.source) for row in catalog()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, parameters, mib, source in rows:
        print(f"{name:<{widths[0]}}  {parameters:>{widths[1]}}  {mib:>{widths[2]}}  {source}")
    return 0


def _convert(args: argparse.Namespace) -> int:
    if args.out.exists() and not args.out.is_dir():
        raise DataError(f"cannot write {args.out}: it is a file, expected a folder")
    from vns_sam.sam.meta import read_tensors
    from vns_sam.sam.zoo import convert_meta
    from vns_sam.vns.official import convert_decoder, holds_decoder

    tensors = read_tensors(args.checkpoint)
    if holds_decoder(tensors):
        report = convert_decoder(tensors, args.checkpoint, args.out, args.base)
    else:
        report = convert_meta(args.checkpoint, args.out)
    print(report)
    for kind, names in (("missing", report.missing), ("left over", report.left_over)):
        print(*(f"  {kind}: {name}" for name in names), sep="\n", end="\n" if names else "")
    print(args.out)
    return 0
