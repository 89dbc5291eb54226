"""What every model on a frozen SAM shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from vns_sam.inference.load import load_model
from vns_sam.sam.frozen import FrozenSamNetwork


def test_training_leaves_the_sam_in_eval_mode_and_without_gradients() -> None:
    model = load_model("vns-sam-tiny")
    assert isinstance(model, FrozenSamNetwork)
    model.train()
    assert model.decoder.nsfm.training
    assert not any(module.training for module in model.sam.modules())
    trained = {id(parameter) for parameter in model.trainable_parameters()}
    assert trained
    assert not any(id(parameter) in trained for parameter in model.sam.parameters())


def test_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Hub:
        def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
            seen.append((repo, private, exist_ok))

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
            seen.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir()), commit_message))
            return "address"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    model = load_model("vns-sam-tiny")
    assert isinstance(model, FrozenSamNetwork)
    assert model.push_to_hub("me/mine", private=True) == "address"
    assert seen == [
        ("me/mine", True, True),
        ("me/mine", ["config.json", "model.safetensors"], "Upload vns-sam-tiny"),
    ]
