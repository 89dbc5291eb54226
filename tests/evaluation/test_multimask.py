"""Of the masks that a model offers, the likeliest and the best are measured beside its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.protocol import Protocol, draw_prompt
from vns_sam.evaluation.rows import Row
from vns_sam.evaluation.settings import Choice
from vns_sam.evaluation.suite import make_suite
from vns_sam.images.read import read_image
from vns_sam.metrics.iou import iou


def rows(folder: Path, choice: Choice) -> list[Row]:
    suite = make_suite([folder], Measure(prompts=("points:1",), metrics=("iou", "ap"), second_look="off"))
    run = suite.run(narrow_sam(), "narrow", choice=choice)
    list(run)
    return list(run.result().rows)


def test_choices_are_those_of_the_candidates(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    folder = write_disks(tmp_path / "disks", 4)
    model = narrow_sam()
    found = {choice: rows(folder, choice) for choice in ("own", "likeliest", "best")}
    for place, pair in enumerate(find_pairs(folder)):
        truth = read_mask(pair.mask)
        prompts = draw_prompt(truth, Protocol("points", 1), f"disks/{pair.stem}")
        answers = model.decode(model.encode([read_image(pair.image)]), [prompts], [0], candidates=True)
        offered = answers.candidate_scores(0)
        scores = [iou(answers.candidate(0, number, truth.shape) > 0, truth) for number in range(len(offered))]
        own, likeliest, best = (found[choice][place] for choice in ("own", "likeliest", "best"))
        assert own.scores.values["iou"] == pytest.approx(iou(answers.logits(0) > 0, truth))
        assert likeliest.scores.values["iou"] == pytest.approx(scores[int(offered.argmax())])
        assert best.scores.values["iou"] == pytest.approx(max(scores))
        assert likeliest.detection is not None
        assert likeliest.detection.score == pytest.approx(float(offered.max()))


def test_command_shows_them_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    folder, model, out = write_disks(tmp_path / "disks", 2), str(tmp_path / "narrow"), tmp_path / "out"
    line = ["--quiet", "evaluate", model, "--data", str(folder), "--workers", "0", "--multimask", "--out", str(out)]
    assert main([*line, "--prompt", "points:1-3", "--figures", "1"]) == 0
    printed = capsys.readouterr().out
    for name in (model, f"{model}, likeliest of several", f"{model}, best of several"):
        assert printed.count(f"| {name} |") == 3
    assert (out / "figures" / "points-disks.png").is_file()
    assert main([*line, "--prompt", "clicks"]) == 2
    assert main([*line, "--ablate", "prompt_encoder"]) == 2
