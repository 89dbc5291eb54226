"""One picture: what can be wrong is found before the model runs; then mask, overlay and a summary."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vns_sam.cli.lines import print_json
from vns_sam.cli.predictor import build_predictor
from vns_sam.cli.work import ceiling_from
from vns_sam.errors import DataError, UsageError
from vns_sam.formats import alpha, candidates
from vns_sam.formats.registry import FORMATS, check_formats, encode, plan_outputs, suffix_of, write_files
from vns_sam.formats.result import OBJECT, Result, candidate_scores, corner_count, each_object, outline_ious
from vns_sam.images.find import EXTENSIONS
from vns_sam.images.opener import open_image
from vns_sam.images.overlay import draw_overlay
from vns_sam.images.read import DECODER_ERRORS, one_line, read_image
from vns_sam.images.write import check_writable, write_image
from vns_sam.inference.answers import soften, weight_of_answers
from vns_sam.prompts.validate import make_prompts
from vns_sam.runs.memory import BYTES_A_PIXEL, weight_of
from vns_sam.types import Prediction, Prompts

if TYPE_CHECKING:
    from vns_sam.inference.predictor import Predictor

STDIN = Path("-")

LOW_SCORE = 0.5
"""Predicted IoU below which a hint is given."""
SHOWN = 20
"""Objects that are told one by one."""


def run_single(args: argparse.Namespace, given: dict[str, Any], categories: Mapping[int, str] | None = None) -> int:
    """Segments ``args.image``; see ``vns-sam segment --help``. Nothing is given for a model that takes no prompt."""
    categories = categories or {1: OBJECT}
    if args.image != STDIN:
        _check_memory(args, weight_of([args.image]))
    image = read_image(args.image) if args.image != STDIN else read_image(_from_stdin())
    prompts = make_prompts(*image.shape[:2], **given) if given else None
    source = args.image if args.image != STDIN else Path("stdin.png")
    piped = args.out == STDIN
    place = None if piped else args.out
    plan, overlay_path = plan_single(source, place, formats_from(args), len(prompts) if prompts else 1)
    if piped:
        return _pipe(args, image, prompts, plan, categories)
    overlay = args.overlay is not False
    planned = [Path(name) for names in plan.values() for name in names] + [overlay_path] * overlay
    replaced = [path for path in planned if _is_taken(path, args)]
    if args.dry_run:
        for path in planned:
            state = "replace" if path in replaced else "write"
            print_json({"state": state, "file": path}) if args.json else print(f"{state}: {path}")
        return 0

    predictor = _predictor(args, image, prompts)
    start = time.perf_counter()
    predictor.hold(image)
    prediction = predictor.predict_prompts(prompts, multimask=args.candidates)
    seconds = time.perf_counter() - start
    if args.alpha:
        soften(predictor.model, prediction)
    result = Result(source.name, prediction, categories, source, Path(), pixels=image, simplify=args.simplify)
    outputs = write_files(Path(), encode(result, plan))
    _remove(path for path in replaced if path not in (*outputs, overlay_path))
    if overlay:
        write_image(overlay_path, draw_overlay(image, prediction.pieces, prompts), photo=True)
    paths = [*outputs, overlay_path] if overlay else outputs
    if args.json:
        scores = [round(float(score), 4) for score in prediction.scores]
        files = [str(path) for path in paths]
        told: dict[str, Any] = {"image": str(args.image), "files": files, "scores": scores}
        if prediction.classes is not None:
            told["classes"] = list(prediction.classes)
        if args.candidates:
            told["candidates"] = candidate_scores(prediction)
        print_json({**told, "seconds": round(seconds, 3)})
    else:
        _summarise(prediction, paths, seconds, quiet=args.quiet, asked=prompts is not None)
        if result.simplify and not args.quiet:
            least = min(outline_ious(result), default=1.0)
            print(f"outlines: {corner_count(result)} corners, IoU {least:.3f} or more with the exact masks")
        if replaced and not args.quiet:
            print(f"{len(replaced)} replaced")
    return 0


def _check_memory(args: argparse.Namespace, weight: int) -> None:
    """Checks that what is asked takes no more than ``--memory`` allows, where that is given.

    Raises:
        DataError: It takes more.
    """
    if reason := ceiling_from(args).refusal(weight):
        raise DataError(f"{args.image}: {reason}")


def _predictor(args: argparse.Namespace, image: np.ndarray, prompts: Prompts | None) -> Predictor:
    """The predictor that the options ask for.

    Raises:
        UsageError: An alpha map is wanted, and the model has none.
        DataError: The answers about the picture would take more than ``--memory`` allows.
    """
    predictor = build_predictor(args)
    info = predictor.model.info
    if args.alpha and info.prompts and not info.alpha:
        raise alpha.without_alpha()
    pixels, objects = image.shape[0] * image.shape[1], len(prompts) if prompts else 1
    masks = prompts is not None and prompts.masks is not None
    more = weight_of_answers(info, pixels, objects, masks=masks, candidates=args.candidates)
    _check_memory(args, pixels * BYTES_A_PIXEL + more)
    return predictor


def _remove(paths: Iterable[Path]) -> None:
    """Removes what was to be replaced and has no successor: the third candidate of a model that offers two."""
    for path in paths:
        path.unlink(missing_ok=True)


def _from_stdin() -> Image.Image:
    """The picture on the standard input.

    Raises:
        DataError: It is none.
    """
    try:
        return open_image(io.BytesIO(sys.stdin.buffer.read()))
    except DECODER_ERRORS as error:
        raise DataError(f"expected a picture on the standard input, found none ({one_line(error)})") from None


def _pipe(
    args: argparse.Namespace,
    image: np.ndarray,
    prompts: Prompts | None,
    plan: Mapping[str, Sequence[str]],
    categories: Mapping[int, str],
) -> int:
    """Writes the only file of a result to the standard output.

    Raises:
        UsageError: It has several.
    """
    names = [name for some in plan.values() for name in some]
    if len(names) > 1:
        raise UsageError(f"--out - takes one file, found {len(names)}", hint="--format indexed, coco or npz holds all")
    predictor = _predictor(args, image, prompts)
    predictor.hold(image)
    prediction = predictor.predict_prompts(prompts)
    result = Result(args.image.name, prediction, categories, pixels=image, simplify=args.simplify)
    content = encode(result, plan)[names[0]]
    assert isinstance(content, bytes)
    sys.stdout.buffer.write(content)
    return 0


def formats_from(args: argparse.Namespace) -> tuple[str, ...]:
    """The formats that the options ask for, each once."""
    beside = [kind for kind, wanted in ((alpha.NAME, args.alpha), (candidates.NAME, args.candidates)) if wanted]
    return check_formats([*(args.format or ["png"]), *beside])


def plan_single(
    image: Path, out: Path | None, formats: Sequence[str], objects: int
) -> tuple[dict[str, list[str]], Path]:
    """Where the results in each format and the overlay of a picture go.

    Raises:
        UsageError: ``out`` names a file of another kind than the format, or one file for several formats.
    """
    if out is None or not names_file(out):
        stem = ((out or Path()) / image.stem).as_posix()
        return plan_outputs(image.name, formats, objects, stem=stem, in_set=False), Path(f"{stem}_overlay.png")
    kind, *others = formats
    beside = [other for other in others if other in (alpha.NAME, candidates.NAME)]
    others = [other for other in others if other not in beside]
    if others:
        raise UsageError(f"--out {out} is one file for {len(others) + 1} formats", hint=f"--out {out.with_suffix('')}")
    suffix = suffix_of(kind)
    if out.suffix.lower() != suffix:
        raise UsageError(
            f"--out {out} must end in {suffix} for --format {kind}", hint=f"--out {out.with_suffix(suffix)}"
        )
    stem = out.with_suffix("").as_posix()
    one_file = len(plan_outputs(image.name, [kind], 2, in_set=False)[kind]) == 1
    plan = {kind: [out.as_posix()] if one_file else each_object(stem, out.suffix, objects)}
    plan |= plan_outputs(image.name, beside, objects, stem=stem, in_set=False)
    return plan, out.with_name(f"{out.stem}_overlay.png")


def names_file(out: Path) -> bool:
    """Whether ``--out`` is the name of a file: it ends as one of results or pictures does, and is no folder."""
    suffix = out.suffix.lower()
    known = suffix in EXTENSIONS or (suffix and any(suffix == suffix_of(name) for name in FORMATS))
    return bool(known) and not out.is_dir()


def _is_taken(path: Path, args: argparse.Namespace) -> bool:
    """Whether a file is there already, which ``--force`` allows to replace.

    Raises:
        DataError: It is the picture itself.
        UsageError: It is there, and there is no ``--force``.
        OutputError: The place cannot be written.
    """
    if path.exists() and args.image != STDIN and path.samefile(args.image):
        raise DataError(f"the result {path} would replace the picture itself", hint="choose another place with --out")
    check_writable(path)
    if path.exists() and not args.force:
        from vns_sam.runs.plan import FORCE  # with all that plans a run: a first mask does not wait for it

        raise UsageError(f"expected to replace no file, found {path}", hint=FORCE)
    return path.exists()


def _summarise(prediction: Prediction, paths: Sequence[Path], seconds: float, *, quiet: bool, asked: bool) -> None:
    """Prints files, objects and seconds; a hint where the model is unsure of what it was asked for."""
    for path in paths:
        print(path)
    if quiet:
        return
    pixels = prediction.size[0] * prediction.size[1]
    if not len(prediction):
        print("nothing found")
    for index, piece in enumerate(prediction.pieces[:SHOWN]):
        found = f"{piece.area} pixels, {piece.area / pixels:.1%} of the picture" if piece.area else "nothing found"
        print(f"object {index}: score {prediction.scores[index]:.2f}, {found}")
        if prediction.candidates is not None:
            print(f"  candidates: {', '.join(f'{one:.2f}' for one in prediction.candidates[index].scores)}")
    if len(prediction) > SHOWN:
        print(f"and {len(prediction) - SHOWN} more objects")
    low = [str(index) for index, score in enumerate(prediction.scores) if score < LOW_SCORE] if asked else []
    if low:
        some = f"objects {', '.join(low[:SHOWN])}{' and more have' if len(low) > SHOWN else ' have'}"
        which = some if len(low) > 1 else f"object {low[0]} has"
        print(f"note: {which} a low score: add a click, or --refine dis-sam-tiny", file=sys.stderr)
    print(f"{seconds:.2f} s")
