"""A model as graphs that ONNX Runtime runs without torch, and that other programs load.

  vns-sam export vns-sam-tiny --out graphs/                 encoder.onnx and decoder.onnx, weights inside
  vns-sam export vit_b --out vit_b/ --precision fp16        half the size; int8 also makes the decoder's products cheap
  vns-sam export vns-sam-tiny --page site/                  a page that needs only a file server: the model runs in it
  vns-sam export vns-sam-tiny --anylabeling pair/           for AnyLabeling; --canvas 1024 1024 for X-AnyLabeling
  vns-sam export runs/mine/model --beside                   into the model's own folder, which keeps the only weights
  vns-sam segment frog.jpg --box 12 30 210 180 --model graphs/

Needs torch and onnx: pip install 'vns-sam[export]'. What is written is compared with the network: IoU of the masks,
differences of logits, and times, on the demo's picture or on those of --pictures; they are also in report.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.cli.demo import ASSETS
from vns_sam.cli.lines import print_json
from vns_sam.cli.model_folder import check_folder
from vns_sam.cli.numbers import at_least
from vns_sam.errors import DataError, UsageError
from vns_sam.sam.folder import CONFIG, WEIGHTS, graph_files

if TYPE_CHECKING:
    import numpy as np

    from vns_sam.export.parity import Parity
    from vns_sam.sam.promptable import PromptableNetwork

REPORT = "report.json"
MOST_CANVAS = 8192
"""Pixels of a side."""
OPSET, LIMIT = 18, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("model", metavar="MODEL", help="a name, a folder, a file or a hub id")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the graphs go")
    parser.add_argument("--beside", action="store_true", help="into the model's own folder; weights are not copied")
    parser.add_argument("--page", type=Path, metavar="DIR", help="a page to click on, with the graphs")
    parser.add_argument("--anylabeling", type=Path, metavar="DIR", help="a pair for AnyLabeling and X-AnyLabeling")
    parser.add_argument(
        "--canvas", type=at_least(64, MOST_CANVAS), nargs=2, metavar=("H", "W"), help="of that pair (684 1024)"
    )
    parser.add_argument("--runtime", type=Path, metavar="PACKAGE", help="onnxruntime-web for --page (npm fetches it)")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="of weights (fp32; fp16 with --page)")
    parser.add_argument("--opset", type=int, help=f"of ONNX, 18 to 21 ({OPSET})")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="pictures to compare on")
    parser.add_argument("--limit", type=at_least(1), metavar="N", help=f"pictures at most ({LIMIT})")
    parser.add_argument("--force", action="store_true", help="replace graphs and a page that are there")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    if sum(map(bool, (args.out, args.page, args.anylabeling, args.beside))) != 1:
        raise UsageError("expected one of --out, --page, --anylabeling and --beside", hint="--out graphs/")
    _check_options(args)
    pictures = _pictures(args)
    out = _place(args)
    from vns_sam.export.onnx import sources_of, write, write_named
    from vns_sam.export.page import write_page
    from vns_sam.images.write import write_json
    from vns_sam.inference.load import load_network

    network = load_network(args.model)
    if args.anylabeling is not None:
        return _pair(network, args)
    if args.beside:
        write_named(network, out, sources_of(network))
    elif args.page is not None:
        write_page(network, out, args.precision or "fp16", args.runtime)
    else:
        write(network, out, args.precision or "fp32", OPSET if args.opset is None else args.opset)
    parity = _compared(network, out, pictures)
    files = {path.name: path.stat().st_size for path in graph_files(out)}
    told: dict[str, Any] = {"model": network.name, "files": files, **parity.to_dict()}
    if not args.beside:
        write_json(out / REPORT, told)
    if args.json:
        print_json({"out": str(out), **told})
        return 0
    for name, size in files.items():
        print(f"{out / name}  {size / 1e6:.1f} MB")
    print(parity)
    return 0


def _compared(network: PromptableNetwork, out: Path, pictures: Sequence[np.ndarray]) -> Parity:
    """How far the graphs are from the network, a refiner's after the same first stage. Graphs that cannot be compared
    do not stay: whoever loads the folder would get them.
    """
    from vns_sam.export.parity import compare
    from vns_sam.images.write import remove_file
    from vns_sam.inference.onnx.load import open_graphs
    from vns_sam.sam.checkpoints import remove_graphs

    refined: Any = network
    try:
        return compare(network, open_graphs(out, lambda _: refined.first), pictures)
    except Exception:
        remove_graphs(out)
        if not (out / WEIGHTS).is_file():
            remove_file(out / CONFIG)
        raise


def _check_options(args: argparse.Namespace) -> None:
    """Refuses options that the way in which the graphs are written would not look at."""
    half = args.precision not in (None, "fp32")
    for idle, option, reason in (
        (args.beside and half, f"--precision {args.precision}", "--beside keeps the weights as the folder has them"),
        (args.opset is not None and (args.beside or args.page), "--opset", "it goes with --out and --anylabeling"),
        (args.runtime is not None and args.page is None, "--runtime", "it goes with --page"),
        (args.canvas is not None and args.anylabeling is None, "--canvas", "it goes with --anylabeling"),
        (args.pictures is not None and args.anylabeling, "--pictures", "an --anylabeling pair is not compared"),
        (args.limit is not None and args.pictures is None, "--limit", "it goes with --pictures"),
    ):
        if idle:
            raise UsageError(f"{option} would do nothing: {reason}", hint="leave it out")


def _pair(network: PromptableNetwork, args: argparse.Namespace) -> int:
    """Writes what AnyLabeling loads; its canvas changes the answers, so they are not compared to the last digit."""
    from vns_sam.export.anylabeling import CANVAS, write_anylabeling

    canvas, opset = tuple(args.canvas or CANVAS), OPSET if args.opset is None else args.opset
    write_anylabeling(network, args.anylabeling, args.precision or "fp32", canvas, opset)
    if args.json:
        print_json({"out": str(args.anylabeling), "model": network.name, "canvas": list(canvas)})
    else:
        print(f"{args.anylabeling / 'config.yaml'}  load it as a custom model")
    return 0


def _place(args: argparse.Namespace) -> Path:
    """Where the graphs go, judged before any work."""
    from vns_sam.images.write import check_writable
    from vns_sam.inference.onnx.folder import has_graphs
    from vns_sam.sam import registry

    out: Path = registry.place(args.model) if args.beside else args.out or args.page or args.anylabeling
    if args.beside and (args.model in registry.PUBLISHED or not (out / WEIGHTS).is_file()):
        raise UsageError(f"expected a folder with weights for --beside, found {out}", hint="--out graphs/")
    own = args.model not in registry.PUBLISHED and _folder(registry.place(args.model)) == _folder(out)
    if (out / WEIGHTS).is_file() and not own:
        hint = "another --out; or --beside for the model's own folder"
        raise UsageError(f"expected no folder of another model, found {out / WEIGHTS}", hint=hint)
    if has_graphs(out) and not args.force:
        raise DataError(f"{out} holds graphs already", hint="--force replaces them")
    check_folder(out, () if own else _marks(args), force=args.force)
    check_writable(out / REPORT)
    return out


def _folder(place: Path) -> Path:
    """A model's folder, or that of its file of weights, by its one name."""
    return place.resolve().parent if place.name == WEIGHTS else place.resolve()


def _marks(args: argparse.Namespace) -> tuple[str, ...]:
    """The files that would be replaced where a folder holds something else."""
    pair = ("config.yaml",)
    if args.anylabeling is not None:
        return pair
    return (*pair, CONFIG) if args.page is None else (*pair, CONFIG, "index.html")


def _pictures(args: argparse.Namespace) -> list[np.ndarray]:
    """Pictures to compare on."""
    from vns_sam.images.find import find_images
    from vns_sam.images.read import read_image

    if args.pictures is None:
        return [read_image(ASSETS / "demo.jpg")]
    return [read_image(args.pictures / name) for name in find_images(args.pictures)[: args.limit or LIMIT]]
