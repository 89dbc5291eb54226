"""Measures what the bundled models can do, and writes ``results/`` for ``make docs``: every table of README, cards and
documents that hangs on their weights, from one command.

python benchmarks/bundled.py --root data                        all of them, forty minutes of two cores
python benchmarks/bundled.py --root data --only unseen scores   some

Each is one or two runs of ``vns-sam evaluate``, which leave their reports in ``runs/``. Started again it goes on where
it stopped; a report of other weights is removed and measured anew. ``latency.py`` measures times, ``worst.py`` painted
scenes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import judging
from measured import save_rows

from vns_sam.data.synthesis.thin import write_thin_set
from vns_sam.evaluation.results import Results, read_results, write_results
from vns_sam.evaluation.suite import ROWS
from vns_sam.images.write import write_json
from vns_sam.inference.load import load_model
from vns_sam.runs.lines import read_lines
from vns_sam.sam.folder import CONFIG, read_config
from vns_sam.sam.registry import BUNDLED
from vns_sam.types import Backend

RESULTS = Path(__file__).parents[1] / "results"
RUNS = Path("runs")
THIN = "thin_structures"
UNGUARDED = "dis-no-guard"
UNSEEN = {
    "misc_samples": "underwater, cracks",
    "berkeley": "general",
    "coco_mval": "general, one object",
    "oxford_pets": "cats and dogs",
}
"""Sets that no recipe of a bundled model trains on."""
LEARNT = {
    "crackforest": "road cracks",
    "cwfid": "plants",
    "mpdd_metal_plate": "rusty and painted plates",
    "soybean_impurity": "stems among beans",
    "busi": "breast ultrasound",
    "polypgen": "polyps, other centres",
    "pascal_s": "general, salient",
    "ecssd": "general, salient",
    "caltech_animals": "animals",
    "imgsal": "general, small objects",
}
"""Sets whose train lists vns-sam-tiny learns from; those of ``OWN`` are learnt, too."""
OWN = {
    "kvasir_seg": "polyps",
    "sd_saliency_900": "steel defects",
    "camo": "camouflage",
    "cvc_clinicdb": "polyps",
    "magnetic_tile": "tile defects",
    "neu_seg": "steel defects",
    "crackforest": "road cracks",
}
KINDS = OWN | UNSEEN | LEARNT
UNPROMPTED = (*OWN, "busi", "ecssd", "pascal_s")
"""Sets that ws-sam-tiny learns from,"""
UNPROMPTED_UNSEEN = ("misc_samples", "caltech_animals", "oxford_pets", "cwfid")
"""and others whose pictures are marked whole."""
CURVE = ("camo", "kvasir_seg", "crackforest", "misc_samples", "coco_mval")
NOT_REFINED = (
    "berkeley coco_mval misc_samples imgsal pascal_s caltech_animals oxford_pets ecssd camo kvasir_seg crackforest"
)
"""Sets that dis-sam-tiny was not trained on."""


@dataclass(frozen=True)
class Measurement:
    """One file of results.

    Attributes:
        title: What was asked.
        models: What is measured.
        sets: A word or two about each set, by its name below ``--root``.
        options: Of each run of ``vns-sam evaluate``, by the name that its rows get instead of the model's, "" for that.
        groups: Sets whose mean is a row, by its name.
    """

    title: str
    models: str
    sets: dict[str, str]
    options: dict[str, str]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


MEASUREMENTS = {
    "bundled": Measurement(
        "The bundled models on test pictures, one look",
        "sam-tiny vns-sam-tiny",
        OWN
        | {
            "misc_samples": "mixed, unseen",
            "berkeley": "general",
            "coco_mval": "general",
            "davis345": "general, video",
            "sod_bsds": "general, salient",
            "weizmann_horses": "general, horses",
            "camo_dark": "camouflage, dark",
            "kvasir_seg_dark": "polyps, dark",
            "coco_mval_dark": "general, dark",
        },
        {"": "--prompt box points:1 points --second-look off"},
    ),
    "unseen": Measurement(
        "Kinds that the models have not seen, and test pictures of kinds that vns-sam-tiny learnt, up to 16 a set",
        "sam-tiny vns-sam-tiny",
        UNSEEN | LEARNT,
        {"": "--metrics iou biou ap --prompt box noise-box points:1 points --second-look off --limit 16"},
        {
            "mean of the unseen kinds": tuple(UNSEEN),
            "mean of the learnt kinds": tuple(LEARNT),
        },
    ),
    "points_curve": Measurement(
        "From one to ten points",
        "sam-tiny vns-sam-tiny",
        dict.fromkeys(CURVE, ""),
        {"": "--prompt points:1-10 --limit 12 --second-look off"},
        {"mean": CURVE},
    ),
    "second_look": Measurement(
        "vns-sam-tiny with one look and with two",
        "vns-sam-tiny",
        {
            "crackforest": "road cracks",
            "magnetic_tile": "tile defects",
            "misc_samples": "mixed, unseen",
            "kvasir_seg": "polyps",
            "busi": "breast ultrasound",
            "coco_mval": "general",
            "davis345": "general, video",
        },
        {
            "two looks": "--prompt box points:1 points --second-look on",
            "one look": "--prompt box points:1 points --second-look off",
        },
    ),
    "refined": Measurement(
        "Masks before and after dis-sam-tiny",
        "sam-tiny sam-tiny+dis-sam-tiny vns-sam-tiny vns-sam-tiny+dis-sam-tiny",
        {
            "cwfid": "plants",
            THIN: "drawn wheels, fences, branches",
            "davis345": "general, video",
            "sod_bsds": "general, salient",
            "coco_mval": "general",
        },
        {"": "--metrics iou biou mae hce --second-look off"},
    ),
    "guard": Measurement(
        "dis-sam-tiny with and without its guard on sets it was not trained on",
        f"vns-sam-tiny vns-sam-tiny+dis-sam-tiny vns-sam-tiny+{RUNS / UNGUARDED}",
        {name: KINDS[name] for name in NOT_REFINED.split()},
        {"": "--prompt box --metrics iou biou mae --second-look off --limit 40"},
    ),
    "unprompted": Measurement(
        "ws-sam-tiny, which takes no prompt, on test pictures of kinds it learnt and of others",
        "ws-sam-tiny",
        {name: KINDS[name] for name in UNPROMPTED} | {name: f"{KINDS[name]}, unseen" for name in UNPROMPTED_UNSEEN},
        {"": "--metrics iou biou mae s mean_f weighted_f mean_e"},
    ),
    "part_worth": Measurement(
        "What the parts of vns-sam-tiny are worth: its scores less those with something else in a part's place",
        "vns-sam-tiny",
        OWN,
        {
            "": "--limit 60 --second-look off --ablate nsfm.low nsfm.high nsfm.low+nsfm.high nsfm mask_embedding "
            "dense_head adapter.up --ablate-by mean zero shuffle"
        },
    ),
}


def main() -> int:
    """Measures what is wanted, two at a time; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder of the sets (data)")
    parser.add_argument("--only", nargs="+", choices=[*MEASUREMENTS, "scores"], default=[*MEASUREMENTS, "scores"])
    args = parser.parse_args()
    names = [name for name in args.only if name in MEASUREMENTS]
    if "refined" in names:
        draw_thin(args.root)
    if "guard" in names:
        leave_guard_out()
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda name: measure(name, args.root), names))
    failed = [name for name, code in zip(names, codes, strict=True) if code]
    if "scores" in args.only and "unseen" not in failed:
        save_rows(RESULTS / "scores.json", list(judging.measure(RUNS / "unseen")), judging.TITLE)
    return 1 if failed else 0


def draw_thin(root: str) -> None:
    """Writes the drawn thin structures that "refined" asks about."""
    pictures = sorted(Path(root, "berkeley", "images").glob("*.jpg"))
    write_thin_set(RUNS / THIN, pictures, 40, side=1024, seed=99)


def leave_guard_out() -> None:
    """Writes dis-sam-tiny without its guard, which "guard" compares it with."""
    given = BUNDLED / "dis-sam-tiny"
    shutil.copytree(given, RUNS / UNGUARDED, dirs_exist_ok=True)
    write_json(RUNS / UNGUARDED / CONFIG, read_config(given) | {"name": UNGUARDED, "guard": False})


def measure(name: str, root: str) -> int:
    """Runs one measurement and writes its file; the exit code."""
    asked = MEASUREMENTS[name]
    found = []
    for label, options in asked.options.items():
        command = command_of(asked, options, root)
        out = RUNS / "_".join([name, *label.split()])
        file = out.with_suffix(".json")
        forget_others(out, asked.models.split(), "torch" if "--ablate" in options else "auto")
        began, told = time.monotonic(), out.with_suffix(".log")
        told.parent.mkdir(parents=True, exist_ok=True)
        with told.open("w", encoding="utf-8") as log:
            whole = [sys.executable, "-m", *command, "--out", str(out), "--save", str(file)]
            code = subprocess.run(whole, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode
        end = "measured" if code == 0 else f"exit code {code}, see {told}"
        print(f"{out.name}: {end}, {time.monotonic() - began:.0f} s")
        if code:
            return code
        found.append(replace(read_results(file), command=shlex.join(["vns-sam", *command[1:]])))
    words = {group: f"{len(members)} sets" for group, members in asked.groups.items()}
    joined = join(dict(zip(asked.options, found, strict=True)))
    write_results(RESULTS / f"{name}.json", replace(joined, title=asked.title, sets=asked.sets | words))
    return 0


def join(found: Mapping[str, Results]) -> Results:
    """The results of several runs as one, each by the name that its rows get instead of the model's, "" for that. A
    setting in which the runs differ is told for each of them by that name.
    """
    first = next(iter(found.values()))
    rows = tuple(replace(row, model=label or row.model) for label, each in found.items() for row in each.rows)
    models = {label or model: weights for label, each in found.items() for model, weights in each.models.items()}
    settings = dict(first.settings)
    for name in settings:
        values = {label: each.settings.get(name) for label, each in found.items()}
        if any(value != settings[name] for value in values.values()):
            settings[name] = values
    return replace(first, rows=rows, models=models, settings=settings)


def forget_others(out: Path, models: Sequence[str], backend: Backend) -> None:
    """Removes the report of an earlier run whose rows are of other weights than the models have now."""
    digests: dict[str, str] = {}
    for file in sorted((out / ROWS).glob("*.jsonl")):
        head = next(read_lines(file), {})
        label, weights = head.get("label", ""), head.get("model")
        model = next((name for name in models if label == name or label.startswith(f"{name} less ")), None)
        if model is None:
            continue
        if model not in digests:
            digests[model] = load_model(model, backend=backend).info.digest
        if weights != digests[model]:
            print(f"{out}: of other weights of {model}, measured anew")
            shutil.rmtree(out)
            return


def command_of(asked: Measurement, options: str, root: str) -> list[str]:
    """The words of one run: the module, its verb, models, options, groups and sets."""
    groups = [f"{name}={','.join(members)}" for name, members in asked.groups.items()]
    places = [str(RUNS / name if name == THIN else Path(root, name)) for name in asked.sets]
    words = ["vns_sam", "evaluate", *asked.models.split(), *options.split()]
    return [*words, *itertools.chain.from_iterable(("--group", group) for group in groups), "--data", *places]


if __name__ == "__main__":
    sys.exit(main())
