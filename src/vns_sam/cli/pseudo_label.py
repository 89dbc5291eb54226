"""Makes pseudo-labels from strokes, points or boxes: any promptable model is asked in twelve views of each picture.

vns-sam pseudo-label data/frogs --labels labels/frogs --out pseudo/frogs
vns-sam pseudo-label data/frogs --labels labels/frogs --out pseudo/frogs --audit --truth data/frogs
vns-sam pseudo-label photos --labels points.csv --model vit_b --device cuda --out pseudo/photos
vns-sam pseudo-label data/frogs --labels labels/frogs --student runs/ws_sam_tiny/model --out pseudo2/frogs
vns-sam pseudo-label data/frogs --labels labels/frogs --out pseudo/frogs --cluster

OUT gets a map for each picture, labels.jsonl, and kept.txt with the pictures that are sure enough. Started again, a
stopped run goes on, and other limits of the choice need no model's work. A training does not read kept.txt: it chooses
by its own ws.selection, whose words for this choice are told at the end. See docs/ws-sam-labels.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vns_sam.cli.lines import print_json, tell
from vns_sam.cli.numbers import at_least
from vns_sam.cli.predictor import add_backend, add_second_look, second_look
from vns_sam.cli.work import add_run_arguments, drive, finish
from vns_sam.errors import UsageError

if TYPE_CHECKING:
    from vns_sam.labelling.audit import Audit
    from vns_sam.labelling.folder import LabelRun, Models
    from vns_sam.labelling.fusion import Denominator, Selection
    from vns_sam.labelling.store import LabelStore
    from vns_sam.types import Backend

KEPT = "kept.txt"
LEFT_OUT = "left_out.tsv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("images", type=Path, metavar="IMAGES", help="a folder of pictures, or a set with images/")
    parser.add_argument("--labels", type=Path, required=True, metavar="DIR", help="label maps, or a table")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or one to go on with")
    parser.add_argument("--split", metavar="NAME", help="only the pictures in IMAGES/NAME.txt")
    parser.add_argument("--model", default="vns-sam-tiny", help="who is asked (vns-sam-tiny); see: vns-sam models list")
    parser.add_argument("--device", help="cpu, cuda, ... (cpu)")
    add_backend(parser)
    parser.add_argument("--student", metavar="WS-SAM", help="a trained WS-SAM that adds points where it is sure")
    asking = parser.add_argument_group("asking")
    asking.add_argument("--views", choices=("none", "flip", "d4", "ws12", "full24"), default="ws12", help="(ws12)")
    asking.add_argument("--fuse", choices=("vote", "prob"), default="vote", help="votes or mean probability (vote)")
    asking.add_argument("--points", type=int, default=10, metavar="N", help="on object and background each (10)")
    asking.add_argument("--sampler", choices=("fps", "grid", "random"), default="fps", help="points on strokes (fps)")
    add_second_look(asking)
    asking.add_argument("--no-gates", action="store_true", help="believe every view")
    asking.add_argument(
        "--area",
        type=float,
        metavar="SHARE",
        help="answers cover at most so much of a picture (by the marks, .5 or more)",
    )
    asking.add_argument(
        "--all-parts", action="store_true", help="keep parts of an answer that no mark on the object hits"
    )
    asking.add_argument("--no-clamp", action="store_true", help="leave marked pixels as the model sees them")
    asking.add_argument("--seed", type=at_least(0), default=0, help="of the random sampler (0)")
    choice = parser.add_argument_group("choice of pictures", "A training follows its own ws.selection instead.")
    choice.add_argument("--absolute", type=float, default=0.1, metavar="U", help="uncertain share of a picture (0.1)")
    choice.add_argument("--relative", type=float, default=0.5, metavar="U", help="uncertain to certain pixels (0.5)")
    choice.add_argument("--denominator", choices=("object", "all"), default="object", help="of --relative (object)")
    choice.add_argument("--min-views", type=float, default=0.5, metavar="SHARE", help="believed views (0.5)")
    add_run_arguments(parser)
    parser.add_argument("--audit", action="store_true", help="tell how good they are, with pictures in OUT/audit")
    parser.add_argument(
        "--truth", type=Path, metavar="DIR", help="true masks for the audit: a set or a folder of masks"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.images.write import write_text
    from vns_sam.labelling.folder import LabelJob, counted, plan_run
    from vns_sam.labelling.fusion import Selection
    from vns_sam.labelling.gates import Gates
    from vns_sam.labelling.labeller import LabelSettings

    selection = Selection(args.absolute, args.relative, args.denominator, args.min_views)
    settings = LabelSettings(
        views=args.views,
        fuse=args.fuse,
        points=args.points,
        sampler=args.sampler,
        gates=None if args.no_gates else Gates(area_max=args.area),
        marked_only=not args.all_parts,
        clamp=not args.no_clamp,
        seed=args.seed,
        second_look=second_look(args),
    )
    plan = plan_run(args.images, args.labels, args.out, settings, args.split)
    if not args.quiet:
        tell("note", plan.labels.problems)
    choice = ModelsChoice(args.model, args.student, _device(args), args.backend)
    tally = drive(LabelJob(plan, choice), args, "labelling")
    if tally is None:
        return 0
    store, others = counted(plan)
    if others and not args.quiet:
        tell("note", [f"labels in {args.out} that do not count: {others}"])
    kept = [record.image for record in store.kept(selection)]
    write_text(args.out / KEPT, "".join(f"{name}\n" for name in kept))
    lost = {record.image: why for record in store.records.values() if (why := record.why_left_out(selection))}
    write_text(args.out / LEFT_OUT, "".join(f"{name}\t{why}\n" for name, why in lost.items()))
    if not args.quiet:
        _tell(lost, args.out / LEFT_OUT)
    finish(tally, args, args.out, kept=len(kept))
    if not args.json:
        share = f"{len(kept)} of {len(store.records)} ({len(kept) / len(store.records):.1%})"
        print(f"kept {share}: {args.out / KEPT}, in a training --ws.selection '{_words(selection)}'")
    if args.audit or args.truth:
        _audit(store, selection, plan, args.truth, json=args.json)
    return 0


def _words(selection: Selection) -> str:
    """A choice as a recipe says it, on one line."""
    import yaml

    return yaml.safe_dump(asdict(selection), default_flow_style=True, sort_keys=False, width=1000).strip()


def _tell(lost: Mapping[str, str], path: Path) -> None:
    """Says why pictures were left out."""
    tell("left out", [f"{name}: {why}" for name, why in lost.items()], more="", tail=f", see {path}")


@dataclass(frozen=True)
class ModelsChoice:
    """The models that the options ask for; it is picklable, and loads them when called."""

    model: str
    student: str | None
    device: str
    backend: Backend = "auto"

    def on(self, device: str) -> ModelsChoice:
        """The same on another device."""
        return replace(self, device=device)

    def __call__(self) -> Models:
        """Loads them."""
        from vns_sam.inference.load import load_model, load_segmenter

        student = load_segmenter(self.student, self.device) if self.student else None
        return load_model(self.model, self.device, backend=self.backend), student


def _device(args: argparse.Namespace) -> str:
    if args.cluster is not None and args.device is not None:
        raise UsageError(
            f"expected no --device beside --cluster, found {args.device}", hint="--actor-gpus 0 works on processors"
        )
    return args.device or "cpu"


def _audit(store: LabelStore, selection: Selection, plan: LabelRun, truth: Path | None, *, json: bool) -> None:
    from vns_sam.labelling.audit import ORDERS, area_under, audit, risk_coverage
    from vns_sam.labelling.figures import write_figures

    found = audit(store, selection, truth)
    for problem in found.problems:
        print(f"not scored: {problem}", file=sys.stderr)
    choices = dict(_choices(selection, found))
    areas = {order: area_under(risk_coverage(found.rows, order)) for order in ORDERS} if found.scored else {}
    if json:
        print_json(*({"choice": name, "kept": c[0], "iou_kept": c[1], "iou_rest": c[2]} for name, c in choices.items()))
        print_json({"risk_coverage": areas})
    else:
        _print_choices(choices)
        if areas:
            told = ", ".join(f"{order} {area:.4f}" for order, area in areas.items())
            print(f"area under risk-coverage, 0 best: {told}")
    for path in write_figures(found, store, selection, plan.find):
        print_json({"file": path}) if json else print(path)


def _print_choices(choices: Mapping[str, tuple[float, float | None, float | None]]) -> None:
    print(f"{'choice':<22}{'kept':>8}{'IoU kept':>10}{'IoU rest':>10}")
    for name, (kept, *ious) in choices.items():
        scores = ["-" if score is None else f"{score:.4f}" for score in ious]
        print(f"{name:<22}{kept:>8.1%}{scores[0]:>10}{scores[1]:>10}")


def _choices(selection: Selection, found: Audit) -> Iterator[tuple[str, tuple[float, float | None, float | None]]]:
    """What the given limits keep, and what each limit alone and the other denominator would."""
    from vns_sam.labelling.audit import Audited, mean_iou

    off = replace(selection, absolute=1.0, relative=float("inf"), views=0.0)
    other: Denominator = "all" if selection.denominator == "object" else "object"
    choices = {
        "everything": off,
        "believed views alone": replace(off, views=selection.views),
        "absolute alone": replace(off, absolute=selection.absolute),
        "relative alone": replace(off, relative=selection.relative),
        f"denominator {other}": replace(selection, denominator=other),
        "as chosen": selection,
    }
    for name, one in choices.items():
        rows: tuple[list[Audited], list[Audited]] = ([], [])
        for row in found.rows:
            rows[0 if name == "everything" or row.record.is_kept(one) else 1].append(row)
        yield name, (len(rows[0]) / len(found.rows), mean_iou(rows[0]), mean_iou(rows[1]))
