import json

import pytest
import torch
import transformers
from toy import toy_sam

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam import registry, zoo
from vns_sam.sam.folder import PROCESSOR, PROCESSORS, WEIGHTS
from vns_sam.sam.model import SamModel
from vns_sam.sam.transformers_folder import write_transformers


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No network and nothing fetched before."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def hf_folder(tmp_path, hf_sam):
    hf_sam.save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


def equal(model, other):
    mine, theirs = model.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_the_three_sources_of_one_sam_agree(tmp_path, hf_folder, meta_state):
    torch.save(meta_state, tmp_path / "sam.pth")
    report = zoo.convert_sam(tmp_path / "sam.pth", tmp_path / "own")
    assert not report.missing
    from_meta, from_own, from_hf = (zoo.load_sam(tmp_path / name) for name in ("sam.pth", "own", "hf"))
    assert equal(from_own, from_meta)
    assert equal(from_hf, from_meta)
    assert from_own.config == from_meta.config == from_hf.config == toy_sam(96)
    assert not any(model.training for model in (from_meta, from_own, from_hf))


def test_a_sam_goes_out_as_a_folder_of_transformers(tmp_path, hf_sam, hf_folder):
    report = write_transformers(zoo.load_sam(hf_folder), tmp_path / "out")
    theirs = hf_sam.state_dict()
    assert set(report.used) == theirs.keys()
    again, told = transformers.SamModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert all(torch.equal(value, theirs[key]) for key, value in again.state_dict().items())
    pixels = torch.rand(1, 3, hf_sam.config.vision_config.image_size, hf_sam.config.vision_config.image_size)
    boxes = torch.tensor([[[4.0, 5.0, 60.0, 70.0]]])
    with torch.inference_mode():
        mine, other = (m.eval()(pixel_values=pixels, input_boxes=boxes).pred_masks for m in (again, hf_sam))
    torch.testing.assert_close(mine, other)
    assert equal(zoo.load_sam(tmp_path / "out"), zoo.load_sam(hf_folder))


def test_pixels_enter_after_the_way_through_transformers_as_before(tmp_path, hf_folder):
    tuned = zoo.with_input(zoo.load_sam(hf_folder), unit_pixels=True)
    write_transformers(tuned, tmp_path / "out")
    assert zoo.load_sam(tmp_path / "out").preprocessing == tuned.preprocessing
    write_transformers(zoo.load_sam(hf_folder), tmp_path / "out")
    assert zoo.load_sam(tmp_path / "out").config == toy_sam(96)
    with pytest.raises(UsageError, match=r"expected a SAM that pads pictures .* has fit 'stretch'"):
        write_transformers(zoo.with_input(tuned, fit="stretch"), tmp_path / "stretched")
    assert not (tmp_path / "stretched").exists()


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ({"image_mean": [0.5, 0.5, 0.5]}, (127.5, 127.5, 127.5), (58.395, 57.12, 57.375)),
        ({"do_normalize": False}, (0, 0, 0), (255, 255, 255)),
        ({"do_rescale": False, "image_mean": [9, 8, 7], "image_std": [1, 2, 3]}, (9, 8, 7), (1, 2, 3)),
        ({}, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ],
)
def test_a_processor_says_how_pixels_enter(hf_folder, values, mean, std):
    (hf_folder / PROCESSOR).write_text(json.dumps(values))
    config = zoo.load_sam(hf_folder).config
    assert (config.mean, config.std) == (mean, std)


def test_the_file_of_newer_processors_goes_first(hf_folder):
    half = [0.5, 0.5, 0.5]
    (hf_folder / PROCESSOR).write_text(json.dumps({"image_mean": [0.1, 0.1, 0.1]}))
    (hf_folder / PROCESSORS[0]).write_text(json.dumps({"image_processor": {"image_mean": half, "image_std": half}}))
    assert zoo.load_sam(hf_folder).config.mean == (127.5, 127.5, 127.5)
    (hf_folder / PROCESSORS[0]).write_text(json.dumps({"processor_class": "SamProcessor"}))
    assert zoo.load_sam(hf_folder).config.mean == (25.5, 25.5, 25.5)
    (hf_folder / PROCESSORS[0]).write_text('{"image_processor": 1}')
    with pytest.raises(CheckpointError, match=r"processor_config.json does not say how pixels are normalised"):
        zoo.load_sam(hf_folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"image_mean": 1}', '{"image_std": [1, 2]}', '{"rescale_factor": 0}'])
def test_a_processor_that_says_nothing_of_use_is_refused(hf_folder, content):
    (hf_folder / PROCESSOR).write_text(content)
    with pytest.raises(CheckpointError, match="does not say how pixels are normalised"):
        zoo.load_sam(hf_folder)


def test_what_stands_on_no_vit_does_not_become_a_sam_of_transformers(tmp_path):
    with pytest.raises(UsageError, match="which stands on a ViT"):
        write_transformers(zoo.load_sam("sam-tiny"), tmp_path / "out")


def test_the_two_way_blocks_have_the_eps_of_meta_whatever_transformers_says(hf_folder):
    values = json.loads((hf_folder / "config.json").read_text())
    values["mask_decoder_config"]["layer_norm_eps"] = 1e-6
    (hf_folder / "config.json").write_text(json.dumps(values))
    two_way = zoo.load_sam(hf_folder).mask_decoder.transformer
    norms = [module for module in two_way.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-5}
    assert len(norms) == 9


def test_a_truncated_weights_file_is_refused(hf_folder):
    whole = (hf_folder / WEIGHTS).read_bytes()
    (hf_folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is damaged"):
        zoo.load_sam(hf_folder)


def test_a_folder_of_another_model_is_refused(hf_folder):
    (hf_folder / "config.json").write_text(json.dumps({"model_type": "sam9", "vision_config": {}}))
    with pytest.raises(CheckpointError, match="holds a 'sam9' model, expected one of 'sam'"):
        zoo.load_sam(hf_folder)


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path):
    SamModel(toy_sam(64)).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text()) | {"image_size": 96}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"pos_embed' must have shape \(1, 6, 6, 32\), found \(1, 4, 4, 32\)"):
        zoo.load_sam(tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("vit_b", "the weights of vit_b (facebook/sam-vit-base, 0.37 GB)"),
        ("vit_l", "the weights of vit_l (facebook/sam-vit-large, 1.25 GB)"),
        ("vit_h", "the weights of vit_h (facebook/sam-vit-huge, 2.56 GB)"),
    ],
)
def test_without_network_one_line_says_how_to_get_the_weights(name, line, empty_cache):
    with pytest.raises(CheckpointError) as caught:
        zoo.load_sam(name)
    assert caught.value.message == f"{line} are not on this machine and the hub cannot be reached"
    assert f"hf download facebook/{registry.PUBLISHED[name].repo.split('/')[1]}" in caught.value.hint
    assert f"sam_{name}_*.pth" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("vit_x", "no model 'vit_x'"),
        ("someone/model", "there is no folder 'someone/model' and the hub cannot be reached"),
        ("absent/sam_vit_b.pth", r"no file absent/sam_vit_b\.pth"),
    ],
)
def test_an_unknown_name_is_said(name, line, empty_cache):
    with pytest.raises(CheckpointError, match=line):
        zoo.load_sam(name)


def test_what_is_in_the_cache_needs_no_network(hf_folder, empty_cache, monkeypatch):
    snapshot = {"config.json": hf_folder / "config.json", WEIGHTS: hf_folder / WEIGHTS}
    asked = []

    def cached(repo, file, *, revision, local_files_only):
        assert revision is None
        asked.append((repo, file, local_files_only))
        return str(snapshot[file])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", cached)
    assert zoo.load_sam("vit_b").grid == 6
    assert asked == [("facebook/sam-vit-base", "config.json", True), ("facebook/sam-vit-base", WEIGHTS, True)]


def test_catalog_names_sizes_and_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "BUNDLED", tmp_path)
    rows = list(registry.catalog())
    assert [(row.name, round(row.mib), row.bundled) for row in rows] == [
        ("vit_b", 358, False),
        ("vit_l", 1191, False),
        ("vit_h", 2446, False),
        ("mobile-sam", 39, False),
        ("sam2.1-t", 149, False),
        ("sam2.1-s", 176, False),
        ("sam2.1-b+", 308, False),
        ("sam2.1-l", 856, False),
        ("sam3", 3280, False),
        ("hq_vit_b", 362, False),
        ("hq_vit_l", 1197, False),
        ("hq_vit_h", 2452, False),
        ("hq_mobile-sam", 40, False),
        ("hq_sam2.1-l", 857, False),
    ]
    model = SamModel(toy_sam(64))
    model.save_pretrained(tmp_path / "sam-tiny", dtype=torch.float16)
    bundled = next(registry.catalog())
    assert (bundled.name, bundled.source, bundled.bundled) == ("sam-tiny", "bundled", True)
    assert bundled.parameters == sum(value.numel() for value in model.state_dict().values())
    assert bundled.mib == pytest.approx(bundled.parameters * 2 / 2**20, rel=0.02)


def test_a_model_counts_with_the_one_that_it_builds_on():
    rows = {row.name: row for row in registry.catalog() if row.bundled}
    assert rows["vns-sam-tiny"].parameters > rows["sam-tiny"].parameters > 5e6
    assert rows["vns-sam-tiny"].mib > rows["sam-tiny"].mib
    assert rows["dis-sam-tiny"].parameters > rows["vns-sam-tiny"].parameters
