"""Graphs: what they compute is what networks compute, and what is written is what was asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from foundation_models import narrow_foundation
from toy import toy_sam
from workshop import narrow_sam

from vns_sam.cli import adapt
from vns_sam.cli.main import main
from vns_sam.errors import CheckpointError, OutputError, UsageError
from vns_sam.export import onnx, parity
from vns_sam.export.anylabeling import (
    CANVAS,
    LONGER_SIDE,
    CanvasDecoder,
    CanvasEncoder,
    pack,
    unpack,
    write_anylabeling,
)
from vns_sam.export.graphs import DecoderGraph, EncoderGraph
from vns_sam.export.onnx import record, sources_of, write, write_named
from vns_sam.export.parity import compare
from vns_sam.inference.load import load_model, load_network
from vns_sam.inference.onnx.folder import Manifest, has_graphs
from vns_sam.inference.predictor import Predictor
from vns_sam.sam import registry
from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.folder import GRAPHS_OF
from vns_sam.sam.model import SamModel
from vns_sam.types import PromptBatch
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


def _graph_inputs(batch: PromptBatch, side: int, grid: int) -> tuple[torch.Tensor, ...]:
    """What a runtime makes of a batch of one kind."""
    rows = len(batch)
    points = torch.zeros(rows, 0, 2) if batch.points is None else batch.points
    labels = torch.zeros(rows, 0, dtype=torch.long) if batch.labels is None else batch.labels
    if batch.boxes is not None:
        points = torch.cat([points, batch.boxes.unflatten(1, (2, 2))], dim=1)
        labels = torch.cat([labels, torch.tensor([[2, 3]] * rows)], dim=1)
    elif batch.points is not None:
        points = torch.cat([points, torch.zeros(rows, 1, 2)], dim=1)
        labels = torch.cat([labels, torch.full((rows, 1), -1)], dim=1)
    empty = torch.zeros(rows, 1, 4 * grid, 4 * grid)
    masks = empty if batch.masks is None else batch.masks
    return points, labels, masks, torch.full((rows,), float(batch.masks is not None))


@pytest.mark.parametrize("name", ["sam-tiny", "vns-sam-tiny", "narrow"])
def test_prompts_without_branches_are_embedded_alike(name: str) -> None:
    model = narrow_sam() if name == "narrow" else load_network(name)
    assert isinstance(model, SamBasedNetwork)
    side, grid, index = model.preprocessing.image_size, model.grid, torch.zeros(2, dtype=torch.long)
    torch.manual_seed(0)
    boxes = torch.tensor([[0.1, 0.2, 0.6, 0.7], [0.3, 0.1, 0.9, 0.4]]) * side
    points, labels = torch.rand(2, 3, 2) * side, torch.tensor([[1, 0, 1], [0, 1, 1]])
    masks = torch.rand(2, 1, 4 * grid, 4 * grid)
    batches = [
        PromptBatch(index, boxes),
        PromptBatch(index, None, points, labels),
        PromptBatch(index, boxes, points, labels),
        PromptBatch(index, None, None, None, masks),
        PromptBatch(index, boxes, points, labels, masks),
    ]
    with torch.inference_mode():
        pixels = torch.rand(1, 3, side, side) * 255
        features = model.encode_pixels(model.preprocessing.normalise(pixels))
        embedding, *maps = EncoderGraph(model)(pixels)
        torch.testing.assert_close(embedding, features.embedding)
        graph = DecoderGraph(model, len(features.mined))
        for batch in batches:
            expected = model.decode_batch(features, batch, candidates=True)
            masks_found, scores, offered, offered_scores, *edges = graph(
                embedding, *_graph_inputs(batch, side, grid), *maps
            )
            torch.testing.assert_close(masks_found, expected.mask_logits, atol=1e-3, rtol=1e-4)
            torch.testing.assert_close(scores, expected.scores, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(offered, expected.candidate_logits, atol=1e-3, rtol=1e-4)
            torch.testing.assert_close(offered_scores, expected.candidate_scores, atol=1e-5, rtol=1e-4)
            assert bool(edges) == (expected.edge_logits is not None)


@pytest.mark.parametrize("name", ["vit", "sam2", "sam3", "mobile-sam"])
def test_a_foundation_is_asked_by_anylabeling_as_it_is_here(name: str) -> None:
    """Both programs add "not a point" to all that they ask; some foundations want it beside a box, others do not."""
    model = narrow_foundation(name).eval()
    side, index = model.preprocessing.image_size, torch.zeros(1, dtype=torch.long)
    box, click = torch.tensor([[0.1, 0.2, 0.6, 0.7]]) * side, torch.tensor([[[0.3, 0.4]]]) * side
    here, on = torch.full((1, 1), -1.0), torch.ones(1, 1)
    corners, kinds = box.unflatten(1, (2, 2)), torch.tensor([[2.0, 3.0]])
    nowhere = torch.zeros(1, 1, 2)
    asked = [
        (PromptBatch(index, box), [corners, nowhere], [kinds, here]),
        (PromptBatch(index, None, click, on.long()), [click, nowhere], [on, here]),
        (PromptBatch(index, box, click, on.long()), [click, corners, nowhere], [on, kinds, here]),
    ]
    with torch.no_grad():
        picture = torch.rand(side, side, 3) * 255
        features = model.encode_pixels(model.preprocessing.normalise(picture.permute(2, 0, 1)[None]))
        embedding = CanvasEncoder(model, (side, side))(picture)
        maps = EncoderGraph(model)(picture.permute(2, 0, 1)[None])
        decoder = CanvasDecoder(model, maps, 0, (side, side))
        for batch, points, labels in asked:
            expected = model.decode_batch(features, batch, candidates=False)
            places = torch.cat(points, dim=1) * LONGER_SIDE / side
            unused = torch.zeros(1, 1, 256, 256), torch.zeros(1), torch.tensor([float(side)] * 2)
            _, scores, low = decoder(embedding, places, torch.cat(labels, dim=1), *unused)
            torch.testing.assert_close(low, expected.mask_logits, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(scores[:, 0], expected.scores, atol=1e-5, rtol=1e-4)


def test_packed_maps_come_back_whole() -> None:
    maps = (torch.rand(1, 8, 4, 4), torch.rand(1, 2, 16, 16), torch.rand(1, 8, 4, 4))
    packed = pack(maps)
    assert packed.shape == (1, 8 + 2 * 16 + 8, 4, 4)
    for one, back in zip(maps, unpack(packed, tuple(m.shape[1:] for m in maps)), strict=True):
        torch.testing.assert_close(one, back)


def test_sources_are_the_model_and_the_bundled_one_below() -> None:
    assert sources_of(load_network("vns-sam-tiny")) == ("", "sam-tiny")
    assert sources_of(load_network("sam-tiny")) == ("",)
    assert sources_of(load_network("dis-sam-tiny")) == ("",)


@pytest.fixture
def standing(tmp_path: Path) -> Path:
    """A VNS-SAM on a SAM in another folder, each with its own weights alone."""
    sam = narrow_sam()
    sam.save_pretrained(tmp_path / "narrow")
    config = VnsSamConfig.for_sam(sam.config, base=str(tmp_path / "narrow"), inner_channels=8, head_channels=8)
    VnsSamModel.from_sam(sam, config).save_pretrained(tmp_path / "vns")
    return tmp_path / "vns"


def test_graphs_beside_weights_of_two_folders_are_refused_before_anything_is_recorded(
    standing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "record", lambda *_, **__: pytest.fail("a graph was recorded"))
    assert main(["export", str(standing), "--beside"]) == 2
    told = capsys.readouterr().err
    assert "expected a model with its own weights, or on a bundled one, 'vns-narrow' stands on" in told
    assert "try: vns-sam export MODEL --out graphs/" in told
    monkeypatch.setattr(adapt, "find_spec", lambda _: True)
    adapt._add_graphs(standing)
    assert capsys.readouterr().err.startswith("note: no graphs beside the model: expected a model with its own weights")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vns-sam-tiny"], "expected one of --out"),
        (["vns-sam-tiny", "--out", "a", "--beside"], "expected one of --out"),
        (["vns-sam-tiny", "--beside"], "holds graphs already"),
        (["vit_b", "--beside"], "expected a folder with weights"),
    ],
)
def test_a_wrong_call_is_refused_before_any_work(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vns_sam.inference.load.load_network", lambda *_: pytest.fail("a model was loaded"))
    assert main(["export", *arguments]) in (2, 3)
    assert message in capsys.readouterr().err


@pytest.fixture
def refining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DIS-SAM on a SAM in another folder, both without graphs; its graph, when it is written, is the bundled one."""
    for name, model in (("first", "sam-tiny"), ("dis", "dis-sam-tiny")):
        (tmp_path / name).mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(registry.place(model) / file, tmp_path / name)
    config = json.loads((tmp_path / "dis" / "config.json").read_text()) | {"base": str(tmp_path / "first")}
    (tmp_path / "dis" / "config.json").write_text(json.dumps(config))

    def write(_: object, folder: Path, *__: object) -> None:
        folder.mkdir(exist_ok=True)
        for file in ("onnx.json", "refiner.onnx"):
            shutil.copy(registry.place("dis-sam-tiny") / file, folder)
        shutil.copy(registry.place("dis-sam-tiny") / "model.safetensors", folder)  # which the bundled graph names
        (folder / "config.json").write_text(json.dumps(config))

    for name in ("write", "write_named"):
        monkeypatch.setattr(onnx, name, write)
    monkeypatch.setattr(parity, "PROMPTS", (1,))
    monkeypatch.setattr(parity, "CLICKS", (1,))
    monkeypatch.setattr(parity, "ROUNDS", 1)
    return tmp_path / "dis"


@pytest.mark.parametrize("way", [["--beside"], ["--out", "graphs"]])
def test_a_refiner_is_compared_after_a_first_stage_in_torch(
    way: list[str], refining: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(refining), *way, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["least_iou"] > 0.999
    assert "refiner.onnx" in told["files"]
    assert load_model(told["out"]).info.backend == "onnx"


def test_graphs_that_cannot_be_compared_do_not_stay(
    refining: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        (tmp_path / "graphs" / "model.safetensors").unlink(missing_ok=True)
        raise CheckpointError("refiner.onnx cannot be run")

    monkeypatch.setattr(parity, "compare", fail)
    assert main(["export", str(refining), "--beside"]) == 4
    assert main(["export", str(refining), "--out", str(tmp_path / "graphs")]) == 4
    assert "refiner.onnx cannot be run" in capsys.readouterr().err
    assert load_model(refining).info.backend == "torch"
    assert list((tmp_path / "graphs").iterdir()) == []


@pytest.mark.parametrize(
    ("way", "there", "says"),
    [
        ("--out", "model.safetensors", "expected no folder of another model"),
        ("--page", "model.safetensors", "expected no folder of another model"),
        ("--anylabeling", "model.safetensors", "expected no folder of another model"),
        ("--out", "config.json", "expected to replace no file"),
        ("--out", "config.yaml", "expected to replace no file"),
        ("--page", "index.html", "expected to replace no file"),
        ("--anylabeling", "config.yaml", "expected to replace no file"),
    ],
)
def test_graphs_go_into_no_folder_of_something_else(
    way: str, there: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vns_sam.inference.load.load_network", lambda *_: pytest.fail("a model was loaded"))
    (tmp_path / there).write_text("mine")
    assert main(["export", "sam-tiny", way, str(tmp_path)]) == 2
    assert f"{says}, found {tmp_path / there}" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_graphs_may_go_into_the_models_own_folder_whatever_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    monkeypatch.setattr("vns_sam.inference.load.load_network", lambda *_: pytest.fail("a model is loaded"))
    for model in ("narrow", "./narrow", "narrow/model.safetensors"):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(pytest.fail.Exception, match="a model is loaded"):
            main(["export", model, "--out", str(tmp_path / "narrow")])


@pytest.mark.parametrize(
    ("name", "graph"), [("vns-sam-tiny", "encoder"), ("vns-sam-tiny", "decoder"), ("sam-tiny", "decoder")]
)
def test_every_gelu_is_one_operation_to_the_runtime(name: str, graph: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(registry.place(name) / f"{graph}.onnx", load_external_data=False)
    users = {value: node for node in model.graph.node for value in node.input}
    halves = {v.name for v in model.graph.initializer if list(v.dims) == [] and onnx.numpy_helper.to_array(v) == 0.5}
    raised = [users[node.output[0]] for node in model.graph.node if node.op_type == "Erf"]
    assert raised
    assert all(halves.isdisjoint(users[node.output[0]].input) for node in raised)  # x * (1 + erf) comes before the half
    assert all(halves & {*users[users[node.output[0]].output[0]].input} for node in raised)


@pytest.mark.parametrize(("name", "graph"), [("vns-sam-tiny", "encoder"), ("ws-sam-tiny", "segmenter")])
def test_norms_are_left_to_the_runtime_and_no_bias_is_of_zeros(name: str, graph: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(registry.place(name) / f"{graph}.onnx", load_external_data=False)
    constant = {value.name for value in model.graph.initializer}
    folded = [node.op_type for node in model.graph.node if node.input and {*node.input} <= constant]
    assert not {"Sqrt", "Reciprocal"} & {*folded}  # a norm's weights, which were 480 of an encoder's 622 nodes
    held = [onnx.numpy_helper.to_array(value) for value in model.graph.initializer if not value.external_data]
    assert not [values.shape for values in held if values.size > 8 and not values.any()]


@pytest.mark.parametrize("graph", ["encoder", "decoder"])
def test_nothing_is_computed_in_doubles_and_no_notes_are_kept(graph: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(registry.place("vns-sam-tiny") / f"{graph}.onnx", load_external_data=False)
    assert not model.graph.metadata_props  # the tracer's notes, in another order each time
    double = onnx.TensorProto.DOUBLE
    assert double not in {value.data_type for value in model.graph.initializer}
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert casts
    assert double not in {node.attribute[0].i for node in casts}  # a browser's runtime has few operations for them


def test_another_opset_is_refused() -> None:
    with pytest.raises(UsageError, match="--opset must be 18 to 21, found 9"):
        record(narrow_sam(), 9)


@pytest.mark.parametrize("way", ["--out", "--anylabeling"])
def test_zero_is_another_opset(way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    assert main(["export", str(tmp_path / "narrow"), way, str(tmp_path / "graphs"), "--opset", "0"]) == 2
    assert "--opset must be 18 to 21, found 0" in capsys.readouterr().err
    assert not (tmp_path / "graphs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True])
def test_weights_saved_over_graphs_are_the_ones_that_answer(tmp_path: Path, beside: bool) -> None:
    folder, model, picture = tmp_path / "model", narrow_sam(), np.full((48, 64, 3), 90, np.uint8)
    model.save_pretrained(folder)
    manifest = write_named(model, folder) if beside else write(model, folder)
    assert {path.stem for path in folder.glob("*.onnx")} == set(GRAPHS_OF[manifest.kind])
    assert load_model(folder).info.backend == "onnx"
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.01)
    model.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    loaded = load_model(folder)
    assert loaded.info.backend == "torch"
    found, wanted = (Predictor(one, second_look="off") for one in (loaded, model))
    for predictor in (found, wanted):
        predictor.set_image(picture)
    box = [[10, 10, 40, 40]]
    np.testing.assert_allclose(found.predict(boxes=box).logits, wanted.predict(boxes=box).logits, atol=1e-4)


class _Graph:
    """A graph that is its model's name, as far as writing goes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def SerializeToString(self) -> bytes:
        return self.name.encode()


@pytest.mark.parametrize("way", [write, write_named])
@pytest.mark.parametrize("failing", ["encoder", "decoder"])
def test_an_export_over_another_that_fails_leaves_no_graphs_of_two_models(
    way: Callable[..., object], failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(graph: _Graph, path: Path, *_: object) -> None:
        write_bytes(path, graph.SerializeToString())

    def write_bytes(path: Path, content: bytes) -> None:
        if (path.stem, content) == (failing, b"second"):
            raise OutputError(f"cannot write {path}: no space left on device")
        path.write_bytes(content)

    def recorded(model: SamModel, *_: object, **__: object) -> tuple[Manifest, dict[str, _Graph]]:
        return Manifest("promptable", model.name, model.preprocessing), dict.fromkeys(
            ("encoder", "decoder"), _Graph(model.name)
        )

    stubs = {"record": recorded, "store": save, "write_bytes": write_bytes, "_name_weights": lambda *_: {}}
    for name, stub in {**stubs, "ir": lambda: SimpleNamespace(to_proto=lambda graph: graph)}.items():
        monkeypatch.setattr(onnx, name, stub)
    model = narrow_sam()
    model.save_pretrained(tmp_path)
    model.name = "first"
    way(model, tmp_path)
    assert has_graphs(tmp_path)
    model.name = "second"
    with pytest.raises(OutputError):
        way(model, tmp_path)
    assert not has_graphs(tmp_path)
    assert {path.read_bytes() for path in tmp_path.glob("*.onnx")} <= {b"second"}


@pytest.mark.slow
def test_a_vit_is_exported_in_each_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SamModel(toy_sam()).eval()
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    sizes = {}
    for precision, least in (("fp32", 0.999), ("fp16", 0.95), ("int8", 0.8)):
        folder = tmp_path / precision
        write(network, folder, precision)  # type: ignore[arg-type]
        graphs = load_model(folder)
        assert graphs.info.backend == "onnx"
        told = compare(network, graphs, [picture])
        assert told.answers == 64
        assert told.mean_iou > least
        sizes[precision] = sum(file.stat().st_size for file in folder.glob("*.onnx"))
    assert sizes["fp16"] < sizes["fp32"]
    assert json.loads((tmp_path / "fp32" / "config.json").read_text())["model_type"] == "sam"


@pytest.mark.slow
def test_the_pair_for_anylabeling_answers_on_its_canvas(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network = load_network("vns-sam-tiny")
    write_anylabeling(network, tmp_path)
    encoder, decoder = (runtime.InferenceSession(str(tmp_path / f"{name}.onnx")) for name in ("encoder", "decoder"))
    assert [one.name for one in encoder.get_inputs()] == ["input_image"]
    assert len(encoder.get_outputs()) == 1
    canvas = np.random.default_rng(0).uniform(0, 255, (*CANVAS, 3)).astype(np.float32)
    (embedding,) = encoder.run(None, {"input_image": canvas})
    box = np.array([[[100, 100], [700, 500], [0, 0]]], np.float32) * LONGER_SIDE / max(CANVAS)
    masks, scores, low = decoder.run(
        None,
        {
            "image_embeddings": embedding,
            "point_coords": box,
            "point_labels": np.array([[2, 3, -1]], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(CANVAS, np.float32),
        },
    )
    assert masks.shape == (1, 1, *CANVAS)
    assert (scores.shape, low.shape) == ((1, 1), (1, 1, 88, 128))  # 684 x 1024 is 342 x 512, in steps of 32
