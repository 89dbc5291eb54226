"""One picture: what can be wrong is found before the model runs; then mask, overlay and a summary."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from vns_sam.cli.predictor import build_predictor
from vns_sam.errors import DataError, UsageError
from vns_sam.formats.outputs import SUFFIX, Format, output_paths, write_alpha, write_prediction
from vns_sam.images.overlay import draw_overlay
from vns_sam.images.read import read_image
from vns_sam.images.write import check_writable, write_image
from vns_sam.prompts.validate import make_prompts
from vns_sam.runs.plan import FORCE
from vns_sam.types import Prediction


def run_single(args: argparse.Namespace, given: dict[str, Any]) -> int:
    """Segments ``args.image``; see ``vns-sam segment --help``. Nothing is given for a model that takes no prompt."""
    image = read_image(args.image)
    prompts = make_prompts(*image.shape[:2], **given) if given else None
    mask_path, overlay_path = result_paths(args.image, args.out, args.format)
    outputs = output_paths(mask_path, args.format, len(prompts) if prompts else 1)
    alpha_path = mask_path.with_name(f"{args.image.stem if args.out is None else mask_path.stem}_alpha.png")
    overlay = args.overlay is not False
    planned = [*outputs, *([overlay_path] if overlay else []), *([alpha_path] if args.alpha else [])]
    replaced = [path for path in planned if _is_taken(path, args)]
    if args.dry_run:
        for path in planned:
            print(f"{'replace' if path in replaced else 'write'}: {path}")
        return 0

    predictor = build_predictor(args)
    start = time.perf_counter()
    predictor.set_image(image)
    prediction = predictor.predict_prompts(prompts)
    seconds = time.perf_counter() - start
    write_prediction(mask_path, prediction, args.format, image_name=args.image.name)
    if args.alpha:
        outputs = [*outputs, *write_alpha(alpha_path, prediction)]
    if overlay:
        write_image(overlay_path, draw_overlay(image, prediction.masks, prompts))
    paths = [*outputs, overlay_path] if overlay else outputs
    if args.json:
        scores = [round(float(score), 4) for score in prediction.scores]
        files = [str(path) for path in paths]
        print(json.dumps({"image": str(args.image), "files": files, "scores": scores, "seconds": round(seconds, 3)}))
    else:
        _summarise(prediction, paths, seconds, quiet=args.quiet)
        if replaced and not args.quiet:
            print(f"{len(replaced)} replaced")
    return 0


def result_paths(image: Path, out: Path | None, kind: Format) -> tuple[Path, Path]:
    """Where the mask and the overlay of a picture go.

    Raises:
        UsageError: ``out`` names a file of another kind than the format.
    """
    suffix = SUFFIX[kind]
    if out is None or out.is_dir() or not out.suffix:
        folder = out or Path()
        return folder / f"{image.stem}_mask{suffix}", folder / f"{image.stem}_overlay.png"
    if out.suffix.lower() != suffix:
        raise UsageError(
            f"--out {out} must end in {suffix} for --format {kind}", hint=f"--out {out.with_suffix(suffix)}"
        )
    return out, out.with_name(f"{out.stem}_overlay.png")


def _is_taken(path: Path, args: argparse.Namespace) -> bool:
    """Whether a file is there already, which ``--force`` allows to replace.

    Raises:
        DataError: It is the picture itself.
        UsageError: It is there, and there is no ``--force``.
        OutputError: The place cannot be written.
    """
    if path.exists() and path.samefile(args.image):
        raise DataError(f"the result {path} would replace the picture itself", hint="choose another place with --out")
    check_writable(path)
    if path.exists() and not args.force:
        raise UsageError(f"expected to replace no file, found {path}", hint=FORCE)
    return path.exists()


def _summarise(prediction: Prediction, paths: list[Path], seconds: float, *, quiet: bool) -> None:
    for path in paths:
        print(path)
    if quiet:
        return
    pixels = prediction.masks[0].size
    for index, (mask, score) in enumerate(zip(prediction.masks, prediction.scores, strict=True)):
        area = int(mask.sum())
        found = f"{area} pixels, {area / pixels:.1%} of the picture" if area else "nothing found"
        print(f"object {index}: score {score:.2f}, {found}")
    print(f"{seconds:.2f} s")
