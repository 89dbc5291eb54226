"""Models put on a hub and taken from it, over HTTP against a stand-in on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_standin import TOKEN, Hub, running_hub

from vns_sam.cli.demo import ASSETS
from vns_sam.errors import CheckpointError, MissingExtraError, UsageError
from vns_sam.sam import hub
from vns_sam.sam.cards import card
from vns_sam.sam.registry import BUNDLED

PICTURE = str(ASSETS / "demo.jpg")
BOX = ["--box", "198", "98", "449", "311"]


def asked(served: Hub | None, home: Path, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Runs Python as a user of that hub would."""
    address = served.address if served else "http://127.0.0.1:9"
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(home)}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=home.parent)


def test_a_folder_goes_to_the_hub_and_its_graphs_run_without_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")  # in the folder that is run from
    segment = ["-m", "vns_sam", "segment", PICTURE, *BOX, "--second-look", "off", "--force"]
    with running_hub() as served:
        pushed = asked(
            served, tmp_path / "home", "-m", "vns_sam", "models", "push", "vns-sam-tiny", "me/mine", "--private"
        )
        assert (pushed.returncode, pushed.stderr) == (0, "")
        assert pushed.stdout == f"{served.address}/me/mine/commit/{'c' * 40}\n"
        assert served.private == {"me/mine"}
        files = served.files["me/mine"]
        kept = {"config.json", "model.safetensors", "onnx.json", "encoder.onnx", "decoder.onnx"}
        assert set(files) == kept | {"README.md"}
        assert all(files[name] == (BUNDLED / "vns-sam-tiny" / name).read_bytes() for name in kept)
        head, page = files["README.md"].decode().split("---\n")[1:]
        assert "pipeline_tag: mask-generation" in head
        assert page == (BUNDLED / "vns-sam-tiny" / "README.md").read_text()
        first = asked(served, tmp_path / "home", *segment, "--model", "me/mine", "--out", "hub.png")
        assert first.returncode == 0, first.stderr
    bundled = asked(None, tmp_path / "home", *segment, "--model", "vns-sam-tiny", "--out", "bundled.png")
    again = asked(None, tmp_path / "home", *segment, "--model", "me/mine", "--out", "again.png")
    assert (bundled.returncode, again.returncode) == (0, 0), again.stderr
    masks = [(tmp_path / name).read_bytes() for name in ("hub.png", "bundled.png", "again.png")]
    assert masks[0] == masks[1] == masks[2]


SHARE = """
import numpy as np, vns_sam
from transformers import AutoConfig, AutoModel
from vns_sam.inference.load import load_network
from vns_sam.vns.model import VnsSamModel
model = load_network("vns-sam-tiny")
print(model.push_to_hub("me/toy"))
vns_sam.register_auto_classes()
back = VnsSamModel.from_pretrained("me/toy")
auto = AutoModel.from_pretrained("me/toy")
assert AutoConfig.from_pretrained("me/toy").head_channels == 64
for other in (back, auto):
    assert type(other) is VnsSamModel
    assert other.info.digest == model.info.digest
    assert not other.training
"""


def test_python_shares_a_network_and_takes_it_back_through_auto_classes(tmp_path: Path) -> None:
    with running_hub() as served:
        done = asked(served, tmp_path / "home", "-c", SHARE)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{served.address}/me/toy/commit/{'c' * 40}\n"
        assert served.private == set()
        assert set(served.files["me/toy"]) == {"config.json", "model.safetensors", "README.md"}
        assert "Nothing has been measured" in served.files["me/toy"]["README.md"].decode()


PINNED = """
import json, sys, torch, vns_sam
from transformers import AutoModel
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.hub import download
vns_sam.register_auto_classes()
for revision in ("v1.0", "main", None):
    model = AutoModel.from_pretrained("me/mine", revision=revision, dtype="float16")
    assert model.dtype == torch.float16
    folder = download("me/mine", revision=revision)
    print(model.config.name, *sorted(path.name for path in folder.iterdir()))
for options in ({"revision": "v2.0"}, {"token": "hf_secret"}, {"device_map": "auto"}, {"output_loading_info": True}):
    try:
        AutoModel.from_pretrained("me/mine", **options)
    except (UsageError, OSError) as error:
        print(str(error).splitlines()[0])
try:
    download("me/mine", revision="v2.0")
except CheckpointError as error:
    print(str(error).split(" (")[0])
"""


def test_a_pinned_revision_is_loaded_whole_and_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    kept = {name: (BUNDLED / "ws-sam-tiny" / name).read_bytes() for name in ("config.json", "model.safetensors")}
    config = json.loads(kept["config.json"])
    older = {**kept, "config.json": json.dumps(config | {"name": "older"}).encode(), "preprocessor_config.json": b"{}"}
    with running_hub() as served:
        served.files["me/mine"], served.tags["me/mine"] = (
            {**kept, "segmenter.onnx": b"", "onnx.json": b"{}"},
            {"v1.0": older},
        )
        done = asked(served, tmp_path / "home", "-c", PINNED)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "older config.json model.safetensors preprocessor_config.json"
    assert lines[1:3] == ["ws-sam-tiny config.json model.safetensors onnx.json segmenter.onnx"] * 2
    assert "v2.0 is not a valid git identifier" in lines[3]
    assert lines[4:] == [
        *(
            f"AutoModel's option '{option}' does not apply to models of vns-sam"
            for option in ("token", "device_map", "output_loading_info")
        ),
        "the hub gives no model 'me/mine' at 'v2.0'",
    ]


def test_what_a_hub_refuses_is_one_line(tmp_path: Path) -> None:
    push = ["-m", "vns_sam", "models", "push"]
    with running_hub() as served:
        stranger = asked(served, tmp_path / "home", *push, "sam-tiny", "me/mine", token="hf_wrong")
        absent = asked(served, tmp_path / "home", "-m", "vns_sam", "segment", PICTURE, *BOX, "--model", "me/absent")
    nowhere = asked(None, tmp_path / "home", *push, "sam-tiny", "me/mine")
    assert [done.returncode for done in (stranger, absent, nowhere)] == [4, 4, 4]
    assert stranger.stderr.startswith("error: the hub does not take 'me/mine' (")
    assert absent.stderr.startswith("error: the hub gives no model 'me/absent' (")
    assert nowhere.stderr.startswith("error: the hub cannot be reached (")
    assert all(done.stderr.count("\n") == 2 for done in (stranger, absent, nowhere))  # the error, and what to try


@pytest.mark.parametrize("broken", ["encoder.onnx", "onnx.json", "model.safetensors"])
def test_a_download_that_was_cut_off_goes_on_with_what_is_missing(tmp_path: Path, broken: str) -> None:
    fetch = ["-c", "from vns_sam.sam.hub import download; print(download('me/mine'))"]
    processors = {"preprocessor_config.json", "processor_config.json"}
    names = {"config.json", "model.safetensors", "encoder.onnx", "onnx.json"} | processors
    with running_hub() as served:
        served.files["me/mine"] = {name: name.encode() for name in names}
        served.broken = {broken}
        assert asked(served, tmp_path / "home", *fetch).returncode == 1
        served.broken = set()
        done = asked(served, tmp_path / "home", *fetch)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {path.name for path in folder.iterdir()} == names
    again = asked(None, tmp_path / "home", *fetch)
    assert again.stdout == done.stdout


def test_a_push_without_graphs_takes_those_of_an_earlier_one_away(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "v2" / name).write_bytes((BUNDLED / "ws-sam-tiny" / name).read_bytes())
    (tmp_path / "v2" / "preprocessor_config.json").write_bytes(b"{}")
    others = {"figure.png": b"1", "small/encoder.onnx": b"2"}
    with running_hub() as served:
        served.files["me/mine"] = {"onnx.json": b"{}", "encoder.onnx": b"1", "encoder.onnx.data": b"1", **others}
        pushed = asked(served, tmp_path / "home", "-m", "vns_sam", "models", "push", "v2", "me/mine")
        assert (pushed.returncode, pushed.stderr) == (0, "")
        new = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
        assert set(served.files["me/mine"]) == new | set(others)


def test_graphs_that_a_killed_export_left_are_not_shared(tmp_path: Path) -> None:
    names = ["config.json", "model.safetensors", "encoder.onnx", "encoder.onnx.data"]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in hub.shared_files(tmp_path)] == names[:2]
    (tmp_path / "onnx.json").touch()
    assert [path.name for path in hub.shared_files(tmp_path)] == [*names[:2], "onnx.json", *names[2:]]


def test_what_can_be_judged_before_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="expected a hub id such as 'owner/model', found 'mine'"):
        hub.upload(BUNDLED / "sam-tiny", "mine")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        hub.upload(tmp_path, "me/mine")
    (tmp_path / "sams" / "mine").mkdir(parents=True)
    for base in (
        "/data/sam",
        "/data/medsam_vit_b.pth",
        "data/medsam_vit_b.pth",
        "sam.pt",
        "sams/mine",
        "../sam",
        "~/sam",
    ):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "vns-sam", "base": base}))
        with pytest.raises(UsageError, match=f"a known name or a hub id as 'base' in .*, found '{base}'"):
            hub.upload(tmp_path, "me/mine")
    for base in ("sam-tiny", "vit_b", "me/sam"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "vns-sam", "base": base}))
        with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
            hub.upload(tmp_path, "me/mine")
    (tmp_path / "config.json").write_text('{"model_type": "vns-sam"}')
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        hub.upload(tmp_path, "me/mine")
    monkeypatch.setattr(hub, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="there is no folder 'me/mine', and fetching it from the hub needs"):
        hub.download("me/mine")
    assert not hub.is_cached("me/mine")


def test_a_card_says_what_a_model_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "ws-sam", "name": "cracks"}')
    (tmp_path / "model.safetensors").write_bytes(bytes(2**20))
    page = card(tmp_path, "me/cracks")
    assert "pipeline_tag: image-segmentation" in page
    assert "A model of kind `ws-sam`, 1.0 MiB of weights." in page
    assert "vns-sam segment PICTURE --model me/cracks" in page
    (tmp_path / "config.json").write_text('{"model_type": "is-net", "name": "isnet"}')
    assert "vns-sam segment PICTURE --model me/isnet" in card(tmp_path, "me/isnet")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    assert card(tmp_path, "me/cracks") == "---\nlicense: mit\n---\n# Mine\n"
