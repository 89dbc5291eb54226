"""Graphs in ONNX Runtime answer as the networks do, also where torch cannot be imported."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.formats.registry import FORMATS
from vns_sam.images.read import read_image
from vns_sam.inference.load import load_model, load_network, refine_with
from vns_sam.inference.onnx.folder import Kind, OnnxFolder
from vns_sam.inference.onnx.promptable import OnnxPromptable
from vns_sam.inference.predictor import Predictor
from vns_sam.metrics.iou import iou
from vns_sam.sam import registry
from vns_sam.sam.folder import GRAPHS_OF
from vns_sam.types import Prompts

DEMO = registry.BUNDLED.parent / "assets" / "demo.jpg"
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from vns_sam.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return read_image(DEMO)


def _boxes(count: int, picture: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(count)
    corners = rng.uniform(0, 0.5, (count, 2))
    sides = np.array([picture.shape[1], picture.shape[0]] * 2)
    return np.concatenate([corners, corners + rng.uniform(0.1, 0.5, (count, 2))], axis=1) * sides


def _questions(picture: np.ndarray) -> list[dict[str, Any]]:
    """Boxes, clicks, both, a mask, and rows of several lengths."""
    boxes, rng = _boxes(3, picture), np.random.default_rng(7)
    points = rng.uniform(0, 1, (3, 5, 2)) * (np.array([picture.shape[1], picture.shape[0]]) - 1)
    labels = rng.integers(0, 2, (3, 5))
    lengths = (1, 3, 5)
    masks = np.zeros((1, *picture.shape[:2]), np.float32)
    masks[0, 40:120, 60:200] = 1
    return [
        {"boxes": boxes},
        {"points": points[:, :1], "labels": np.ones((3, 1), int)},
        {"boxes": boxes, "points": points, "labels": labels},
        {
            "points": [row[:n] for row, n in zip(points, lengths, strict=True)],
            "labels": [row[:n] for row, n in zip(labels, lengths, strict=True)],
        },
        {"masks": masks},
        {"boxes": boxes[:1], "masks": masks},
    ]


@pytest.mark.parametrize("name", ["sam-tiny", "vns-sam-tiny"])
def test_graphs_answer_as_the_network(name: str, picture: np.ndarray) -> None:
    network, graphs = (Predictor(load_model(name, backend=b)) for b in ("torch", "onnx"))
    assert graphs.model.info.backend == "onnx"
    assert graphs.model.info.digest != network.model.info.digest
    same = ("name", "prompts", "input_side", "candidates", "edges", "alpha", "least_score", "least_stability")
    for field in same:
        assert getattr(graphs.model.info, field) == getattr(network.model.info, field)
    for predictor in (network, graphs):
        predictor.set_image(picture)
    for asked in _questions(picture):
        one, other = (predictor.predict(**asked, multimask=True) for predictor in (network, graphs))
        assert min(iou(a, b) for a, b in zip(one.masks, other.masks, strict=True)) > 0.999
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)
        assert (one.edges is None) == (other.edges is None)
        assert one.candidates is not None
        assert other.candidates is not None
        for mine, theirs in zip(one.candidates, other.candidates, strict=True):
            np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-5)


def test_rows_of_several_pictures_come_back_in_order(picture: np.ndarray) -> None:
    network, graphs = (load_model("sam-tiny", backend=b) for b in ("torch", "onnx"))
    pictures = [picture, np.ascontiguousarray(picture.swapaxes(0, 1))]  # inputs of two sizes
    boxes, turned = _boxes(19, picture), _boxes(19, pictures[1])
    clicks = Prompts(points=turned[:2, None, :2], labels=np.ones((2, 1), int))
    asked = [Prompts(boxes[:9]), clicks, Prompts(turned[9:])]
    one, other = (model.decode(model.encode(pictures), asked, [0, 1, 1]) for model in (network, graphs))
    assert len(one) == len(other) == 21
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    for row in (0, 10, 20):
        np.testing.assert_allclose(one.logits(row), other.logits(row), atol=1e-3)


def test_a_refiner_and_a_segmenter_answer_as_their_networks(picture: np.ndarray) -> None:
    box = _boxes(1, picture)
    for name, asked in (("vns-sam-tiny+dis-sam-tiny", {"boxes": box}), ("ws-sam-tiny", {})):
        network, graphs = (Predictor(load_model(name, backend=b)) for b in ("torch", "onnx"))
        assert graphs.model.info.backend == "onnx"
        found = []
        for predictor in (network, graphs):
            predictor.set_image(picture)
            found.append(predictor.predict(**asked))
        assert iou(found[0].masks[0], found[1].masks[0]) > 0.999
        np.testing.assert_allclose(found[0].scores, found[1].scores, atol=1e-4)


def test_alpha_agrees_where_the_refiner_is_believed(picture: np.ndarray) -> None:
    network, graphs = (load_model("dis-sam-tiny", backend=b) for b in ("torch", "onnx"))
    mask = np.zeros(picture.shape[:2], bool)
    mask[60:140, 80:220] = True
    for model in (network, graphs):
        object.__setattr__(model.config, "guard", False)  # type: ignore[attr-defined]
    for again in (False, True):
        one, other = (model.refine(picture, mask, look_again=again) for model in (network, graphs))  # type: ignore[attr-defined]
        assert np.abs(one.alpha - other.alpha).mean() < 1e-3


def test_one_model_does_not_decode_what_the_other_encoded(picture: np.ndarray) -> None:
    network, graphs = (load_model("sam-tiny", backend=b) for b in ("torch", "onnx"))
    with pytest.raises(UsageError, match="expected features of 'sam-tiny'"):
        graphs.decode(network.encode([picture]), [Prompts(_boxes(1, picture))], [0])


def test_auto_takes_graphs_on_the_cpu_and_the_network_elsewhere(tmp_path: Path) -> None:
    assert load_model("sam-tiny").info.backend == "onnx"
    assert load_network("sam-tiny").info.backend == "torch"
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copy(registry.place("sam-tiny") / file, bare)
    assert load_model(bare).info.backend == "torch"
    with pytest.raises(UsageError, match="has no graphs"):
        load_model(bare, backend="onnx")
    with pytest.raises(UsageError, match="graphs run on the CPU"):
        load_model("sam-tiny", "cuda", backend="onnx")
    with pytest.raises(UsageError, match="backend must be"):
        load_model("sam-tiny", backend="tensorrt")  # type: ignore[arg-type]


def test_a_graph_refines_a_network_and_is_refined_by_one(picture: np.ndarray) -> None:
    mixed = refine_with(load_network("vns-sam-tiny"), "dis-sam-tiny")
    assert mixed.info.backend == "onnx"
    assert mixed.info.name == "vns-sam-tiny+dis-sam-tiny"
    other = refine_with(load_model("vns-sam-tiny"), "dis-sam-tiny", backend="torch")
    assert other.info.alpha
    assert mixed.info.digest != other.info.digest


def test_a_model_of_graphs_travels_to_other_processes(picture: np.ndarray) -> None:
    model = load_model("sam-tiny", backend="onnx")
    prompts = [Prompts(_boxes(2, picture))]
    before = model.decode(model.encode([picture]), prompts, [0]).scores
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.decode(copy.encode([picture]), prompts, [0]).scores, before)


def test_threads_open_a_graph_once() -> None:
    folder = OnnxFolder(registry.place("sam-tiny"))
    pixels = np.zeros((1, 3, 512, 512), np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: folder.run("encoder", {"pixels": pixels})[0], range(4)))
    assert folder.prepare("encoder") is folder.prepare("encoder")
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_many_runs_lie_side_by_side_and_answer_as_one_after_the_other() -> None:
    path = registry.place("sam-tiny")
    feeds = [{"pixels": np.full((1, 3, 512, 512), 40 * k, np.float32)} for k in range(5)]
    together, alone = OnnxFolder(path, threads=2), OnnxFolder(path, threads=1)
    expected = [alone.run("encoder", feed)[0] for feed in feeds]
    for folder in (together, alone):
        for (found,), one in zip(folder.run_each("encoder", feeds, dict), expected, strict=True):
            np.testing.assert_array_equal(found, one)
    assert [len(vars(folder)["_sessions"]) for folder in (together, alone)] == [1, 1]  # each was opened in one way only
    few = OnnxFolder(path, threads=2)
    few.run_each("encoder", feeds[:3], dict)
    assert [*vars(few)["_sessions"]] == [("encoder", False)]
    assert [OnnxFolder(path, threads).at_a_time for threads in (1, 16, 64)] == [1, 16, 16]


def test_boxes_answer_alike_however_many_are_decoded_side_by_side(picture: np.ndarray) -> None:
    prompts, path = [Prompts(_boxes(33, picture))], registry.place("vns-sam-tiny")
    found = []
    for threads in (1, 3):
        model = OnnxPromptable(OnnxFolder(path, threads))
        found.append(model.decode(model.encode([picture]), prompts, [0]))
    np.testing.assert_allclose(found[0].scores, found[1].scores, atol=1e-6)
    for row in (0, 16, 32):
        np.testing.assert_allclose(found[0].logits(row), found[1].logits(row), atol=1e-4)


def test_a_first_mask_waits_for_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys, numpy, vns_sam\n"
        "predictor = vns_sam.Predictor('sam-tiny')\n"
        "predictor.set_image(numpy.zeros((30, 40, 3), numpy.uint8))\n"
        "predictor.predict(boxes=[[3, 4, 20, 25]])\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "yaml", "urllib.request", "vns_sam.formats.registry"} & set(loaded)


def test_a_first_mask_of_the_command_waits_for_no_other_format_and_no_plan_of_a_run(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    arguments = ["segment", "a.png", "--model", "sam-tiny", "--box", "3", "4", "20", "25", "--quiet"]
    code = f"import sys; from vns_sam.cli.main import main; assert main({arguments}) == 0; print(*sys.modules)"
    given = [sys.executable, "-c", code]
    loaded = subprocess.run(given, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()
    formats = {name.rpartition(".")[2] for name in loaded if name.startswith("vns_sam.formats.")}
    assert formats & set(FORMATS) == {"png", "alpha", "candidates"}
    assert not {"xml", "vns_sam.runs.plan", "vns_sam.runs.engine"} & set(loaded)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 9}, "version"),
        ({"kind": "oracle"}, "kind"),
        ({"surplus": 1}, "surplus"),
        ({"weights": {"encoder": {}, "decoder": {}}}, "cannot be run"),
        ({"sources": []}, "weights lack"),
    ],
)
def test_a_wrong_manifest_is_one_line(change: dict[str, Any], reason: str, tmp_path: Path, picture: np.ndarray) -> None:
    folder = tmp_path / "model"
    shutil.copytree(registry.place("sam-tiny"), folder)
    manifest = json.loads((folder / "onnx.json").read_text())
    (folder / "onnx.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(CheckpointError, match=reason):
        load_model(folder, backend="onnx").encode([picture])


def test_the_digest_knows_weights_and_graphs(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(registry.place("sam-tiny"), folder)
    before = OnnxFolder(folder).digest
    assert before == OnnxFolder(registry.place("sam-tiny")).digest
    (folder / ".encoder.onnx.123.part").write_bytes(b"what a kill left")
    (folder / ".vns-sam.lock").touch()
    assert OnnxFolder(folder).digest == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert OnnxFolder(folder).digest != before


def test_the_digest_knows_what_becomes_of_the_graphs_answers(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(registry.place("dis-sam-tiny"), folder)
    before = load_model(folder, backend="onnx").info.digest
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "guard": not config["guard"]}))
    assert load_model(folder, backend="onnx").info.digest != before


def test_the_kind_of_a_folder_says_which_graphs_it_holds() -> None:
    assert set(GRAPHS_OF) == set(get_args(Kind))
    for name in registry.bundled():
        folder = registry.place(name)
        assert {path.stem for path in folder.glob("*.onnx")} == set(GRAPHS_OF[OnnxFolder(folder).manifest.kind])


@pytest.mark.parametrize("name", registry.bundled())
def test_bundled_graphs_name_each_weight_by_its_own_name(name: str) -> None:
    """New values under the same names are then right as well; tensors of zeros are not taken for each other."""
    for weights in OnnxFolder(registry.place(name)).manifest.weights.values():
        taken = [tuple(at) for at in weights.values()]
        assert len(set(taken)) == len(taken)
        for weight, (_, key) in weights.items():
            assert weight.split(".")[-2:] == key.split(".")[-2:]


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_everyday_commands_need_no_torch(tmp_path: Path) -> None:
    formats = [
        "png",
        "coco",
        "yolo",
        "labelme",
        "labelstudio",
        "cvat",
        "voc",
        "geojson",
        "svg",
        "cutout",
        "indexed",
        "npz",
    ]
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(DEMO, photos / name)
    (tmp_path / "boxes.csv").write_text("name,x0,y0,x1,y1\na.jpg,40,40,200,160\nb.jpg,60,50,220,180\n")
    demo = _run("demo", cwd=tmp_path)
    assert (demo.returncode, (tmp_path / "demo_mask.png").is_file()) == (0, True), demo.stderr
    folder = _run("segment", "photos", "--prompts", "boxes.csv", "--out", "set", "--format", *formats, cwd=tmp_path)
    assert folder.returncode == 0, folder.stderr
    again = _run("segment", "photos", "--prompts", "boxes.csv", "--out", "set", "--format", *formats, cwd=tmp_path)
    assert "0 done, 2 done before" in again.stdout
    refined = _run(
        "segment", "photos/a.jpg", "--box", "40", "40", "200", "160", "--refine", "dis-sam-tiny", cwd=tmp_path
    )
    assert refined.returncode == 0, refined.stderr
    found = _run("segment", "photos/b.jpg", "--model", "ws-sam-tiny", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert _run("models", "list", cwd=tmp_path).returncode == 0


def test_the_fastest_device_is_the_cpu_where_there_is_no_torch(tmp_path: Path) -> None:
    box = ("--box", "40", "40", "200", "160")
    told = _run("segment", str(DEMO), *box, "--device", "auto", "--backend", "auto", cwd=tmp_path)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("train", "recipes/vns_sam_tiny.yaml"),
        ("train", "vns_sam_tiny", "--help"),
        ("evaluate", "sam-tiny", "--data", "x"),
        ("bench",),
    ],
)
def test_what_needs_torch_says_so(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    told = _run(*command, cwd=tmp_path)
    assert told.returncode in (2, 3, 5)
    assert "fault of vns-sam" not in told.stderr
    model = _run("segment", str(DEMO), "--box", "1", "1", "90", "90", "--model", "vit_b", cwd=tmp_path)
    assert model.returncode == 5
    assert "vns-sam[torch]" in model.stderr
