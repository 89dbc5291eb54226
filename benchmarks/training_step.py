"""One optimiser step of VNS-SAM beside a plain loop: the same samples, weights and losses, in turns.

python benchmarks/training_step.py                              vns-sam-tiny, six pictures of 320 x 320
python benchmarks/training_step.py --base vit_b --side 512 --pictures 2

The plain loop is what the authors' does with our modules: SAM's mask decoder answers first and again inside VNS-SAM's,
pictures are taken one by one, losses are taken at the full size of the view (ours at half of it, where areas are
averaged), what surrounds a pixel is averaged in one pass for each loss, and numbers below 1e-38 are computed as they
are (a model without training has none).
Times are of one thread of the processor, medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from vns_sam.evaluation.cost import hardware
from vns_sam.sam.config import vit_config
from vns_sam.sam.losses import Bce, bce_iou_loss
from vns_sam.sam.model import SamModel
from vns_sam.training.loop import tiny_numbers_as_zero
from vns_sam.training.recipe import parse_recipe
from vns_sam.training.samples.prompted import collate
from vns_sam.training.tasks.base import enlarge, prompt_slots
from vns_sam.training.tasks.frozen import VnsRecipe, VnsTask
from vns_sam.vns.losses import SupervisedMaps, dice_loss

Batch = dict[str, torch.Tensor]


def main() -> None:
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the set (%(default)s)")
    parser.add_argument("--set", default="camo", help="what samples are made of (%(default)s)")
    parser.add_argument("--base", default="vns-sam-tiny", help="a trained model, or vit_b of random weights")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        task, batch = prepare(args, Path(folder))
    optimizer = torch.optim.AdamW([parameter for parameter in task.parameters() if parameter.requires_grad], lr=1e-4)
    ways: dict[str, Callable[[], None]] = {"plain": lambda: plain(task, batch), "ours": lambda: ours(task, batch)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(args.warm + args.rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            optimizer.step()
            optimizer.zero_grad()
            if number >= args.warm:
                times[name].append(time.process_time() - start)
    print(hardware(torch.device("cpu")))
    for name, taken in times.items():
        print(f"  {name:<8}{median(taken):8.2f} s   ({min(taken):.2f} to {max(taken):.2f})")
    print(f"  ratio   {median(times['plain']) / median(times['ours']):8.2f}")


def prepare(args: argparse.Namespace, folder: Path) -> tuple[VnsTask, Batch]:
    """The task, and one batch of two prompts for each picture."""
    start = args.base
    if start.startswith("vit_"):
        SamModel(vit_config(start)).save_pretrained(folder / start)
        start = str(folder / start)
    data = {"root": str(args.data), "sets": {args.set: 1}, "sizes": [args.side], "prompts": 2}
    recipe = parse_recipe({"task": "vns-sam", "init": start, "out": str(folder / "run"), "data": data}, "benchmark")
    assert isinstance(recipe, VnsRecipe)
    task = VnsTask(recipe)
    samples = task.samples(recipe, length=args.pictures, step_size=args.pictures)
    return task, collate([samples[k] for k in range(args.pictures)])


def ours(task: VnsTask, batch: Batch) -> None:
    """As ``vns-sam train`` does it."""
    with tiny_numbers_as_zero():
        loss: torch.Tensor = sum(task(batch).values())
        loss.backward()


def plain(task: VnsTask, batch: Batch) -> None:
    """Picture by picture, with SAM's own answer before."""
    model, count = task.model, len(batch["image"])
    for k in range(count):
        one = {key: value[k : k + 1] for key, value in batch.items()}
        features = model.encode_pixels(model.preprocessing.normalise(one["image"].float()))
        for slot, (prompts, target) in enumerate(prompt_slots(one, model, features)):
            with torch.no_grad():
                model.sam.decode_batch(features, prompts)
            maps = model.decode_levels(features, prompts)
            label, edge = (full[:, None].float() for full in (target, one[f"{slot}.edge"]))
            loss = plain_loss(maps, label, edge, task.bce) / count
            loss.backward(retain_graph=True)


def plain_loss(maps: SupervisedMaps, label: torch.Tensor, edge: torch.Tensor, bce: Bce) -> torch.Tensor:
    """The sum of :func:`vns_sam.vns.losses.vns_loss`, each of its terms by itself."""
    total = torch.zeros(())
    for mask in (maps.mask_logits, maps.level1_mask_logits):
        if mask is not None:
            weight = 1 + 5 * (F.avg_pool2d(label, 31, 1, 15) - label).abs()
            total = total + bce_iou_loss(enlarge(mask, label), label, weight, bce).mean()
    for drawn in (maps.edge_logits, maps.level1_edge_logits):
        if drawn is not None:
            total = total + dice_loss(enlarge(drawn.sigmoid(), edge), edge)
    return total


if __name__ == "__main__":
    main()
