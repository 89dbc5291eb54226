"""transformers' ``AutoModel`` over folders of this package; see ``tests/sam/test_hub.py`` for hub ids."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from vns_sam.errors import UsageError
from vns_sam.inference.auto import register_auto_classes
from vns_sam.sam import registry
from vns_sam.ws.model import WsSamModel


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of a bundled model under another bundled name, which a path in the working directory never stands for."""
    shutil.copytree(registry.place("ws-sam-tiny"), tmp_path / "vns-sam-tiny")
    monkeypatch.chdir(tmp_path)
    register_auto_classes()
    return "vns-sam-tiny"


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({}, torch.float32),
        ({"dtype": torch.float16}, torch.float16),
        ({"torch_dtype": "bfloat16"}, torch.bfloat16),
        ({"dtype": "auto", "revision": "main", "cache_dir": "cache", "local_files_only": True}, torch.float32),
        ({"trust_remote_code": True, "low_cpu_mem_usage": True, "device_map": None}, torch.float32),
    ],
)
def test_what_was_asked_for_is_loaded(options: dict[str, Any], dtype: torch.dtype, folder: str) -> None:
    model: Any = AutoModel.from_pretrained(folder, **options)
    assert isinstance(model, WsSamModel)
    assert model.dtype is dtype
    assert not model.training


@pytest.mark.parametrize(
    ("options", "says", "hint"),
    [
        ({"revision": "v1.0"}, "expected a hub id for revision 'v1.0', found the path vns-sam-tiny", "leave it out"),
        ({"device_map": 0}, "option 'device_map' does not apply", 'model.to("cuda")'),
        ({"subfolder": "sub"}, "option 'subfolder' does not apply", "leave it out"),
        ({"dtype": "int8"}, "expected dtype float32, .*, found 'int8'", "leave it out"),
        ({"channels": 7}, "expected the configuration of .*vns-sam-tiny, found another 'channels'", "as it is"),
    ],
)
def test_what_would_be_something_else_is_refused(options: dict[str, Any], says: str, hint: str, folder: str) -> None:
    config = AutoConfig.from_pretrained(folder)
    with pytest.raises(UsageError, match=says) as caught:
        AutoModel.from_pretrained(folder, **options, **({"config": config} if "subfolder" in options else {}))
    assert hint in caught.value.hint


def test_a_configuration_that_is_as_it_is_stored_may_be_given(folder: str) -> None:
    model: Any = AutoModel.from_pretrained(folder, config=AutoConfig.from_pretrained(folder))
    assert isinstance(model, WsSamModel)
