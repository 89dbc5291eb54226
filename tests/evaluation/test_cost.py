"""The cost report: counts that can be worked out by hand, and the sizes of the paper's Table XV."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from foundation_models import narrow_foundation
from workshop import NARROW, narrow_sam

from vns_sam.cli.main import main
from vns_sam.errors import UsageError
from vns_sam.evaluation.cost import Cost, cost, hardware, median_seconds, weightless
from vns_sam.sam.foundations.names import CONFIGS
from vns_sam.sam.model import SamModel
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel

IMAGE = np.zeros((48, 64, 3), np.uint8)


def test_a_model_is_counted_and_timed() -> None:
    model = narrow_sam()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = cost(model, IMAGE, calls=2)
    assert found.parameters == found.trainable == sum(p.numel() for p in model.parameters())
    assert found.mib == pytest.approx(found.parameters * 4 / 2**20)
    assert found.encode_seconds
    assert found.decode_seconds
    assert found.pictures_per_second == pytest.approx(1 / (found.encode_seconds + found.decode_seconds))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_work_is_that_of_the_layers() -> None:
    """The upscaling of the decoder: what one more level of it costs is known."""
    narrow = VnsSamConfig.for_sam(NARROW, inner_channels=8, head_channels=8)
    plain = cost(VnsSamModel.from_sam(narrow_sam(), narrow).eval(), IMAGE, calls=1)
    bare = VnsSamConfig.for_sam(NARROW, ablation="epl-epl", inner_channels=8, head_channels=8)
    without = cost(VnsSamModel.from_sam(narrow_sam(), bare).eval(), IMAGE, calls=1)
    head = 4 * 4 * (32 * 8 * 9 + 8)
    fusion = 16 * 16 * (2 * 8 * 9 + 8 * 8 * 9 + 8 * 9)
    assert plain.decode_flops - without.decode_flops == 2 * (head + fusion)
    assert plain.encode_flops == without.encode_flops


def test_without_weights_it_is_counted_alike_and_not_timed() -> None:
    with torch.device("meta"):
        blank = SamModel(NARROW).eval()
    found, expected = cost(blank, IMAGE), cost(narrow_sam(), IMAGE, calls=1)
    assert found.encode_seconds is None
    assert found.pictures_per_second is None
    assert (found.encode_flops, found.decode_flops) == (expected.encode_flops, expected.decode_flops)


def test_table_fifteen_on_vit_b() -> None:
    """Sizes in MiB; the work of SAM's encoder is known from its layers: 486, less 15.2 for the tokens that pad the
    windows of eight layers (4900 for 4096, four projections of 768 x 768) and 2.0 for their attention.
    """
    rows: list[Cost] = [cost(model, IMAGE) for model in weightless("vit_b")]
    assert [row.name for row in rows] == ["vit_b", "hq-vit_b", "vns-vit_b", "vns-vit_b + adapter"]
    assert rows[0].mib == pytest.approx(357.6, abs=0.1)
    assert rows[2].trainable == 2_476_618
    assert rows[0].encode_flops / 2e9 == pytest.approx(468.8, abs=0.1)
    work = [row.multiply_adds for row in rows]
    assert work == sorted(work)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "sam2.1-t" else pytest.mark.slow) for n in CONFIGS])
def test_every_foundation_is_counted_with_what_stands_on_it(name: str) -> None:
    rows = [cost(model, IMAGE) for model in weightless(name)]
    assert [row.name for row in rows] == [name, f"hq-{name}", f"vns-{name}", f"vns-{name} + adapter"]
    sam, hq, vns, adapted = rows
    assert sam.parameters + hq.trainable == hq.parameters
    assert sam.parameters + vns.trainable == vns.parameters < adapted.parameters
    assert sam.encode_flops < vns.encode_flops < adapted.encode_flops
    assert 2.3e6 < vns.trainable < 2.8e6


@pytest.mark.parametrize("name", ["sam2", "sam3", "mobile-sam"])
def test_with_random_weights_it_is_timed_too(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CONFIGS, "toy", lambda: narrow_foundation(name).config)  # type: ignore[arg-type]
    assert main(["models", "cost", "toy", "--random-weights", "--calls", "1"]) == 0
    head, *rows, machine = capsys.readouterr().out.splitlines()
    assert " ".join(head.split()).endswith("encode ms decode ms per s")
    assert len(rows) == 4
    assert all(float(cell) > 0 for row in rows for cell in row.split()[-3:])
    assert "medians of 1 calls" in machine
    assert main(["models", "cost", "toy", "--random-weights", "--no-weights"]) == 2


def test_another_name_has_no_blank_model() -> None:
    with pytest.raises(UsageError, match="found 'sam-tiny'"):
        list(weightless("sam-tiny"))


def test_the_first_call_is_not_counted() -> None:
    calls: list[int] = []
    assert median_seconds(lambda: calls.append(0), 3) >= 0
    assert len(calls) == 4


def test_the_machine_is_told() -> None:
    assert torch.__version__ in hardware(torch.device("cpu"))


def test_the_command_prints_a_table(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    narrow_sam().save_pretrained(str(tmp_path))
    assert main(["models", "cost", str(tmp_path), "--calls", "1"]) == 0
    head, row, machine = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["model", "parameters"]
    assert row.startswith("narrow")
    assert "medians of 1 calls" in machine
    assert main(["models", "cost", str(tmp_path), "--calls", "0"]) == 2
    assert main(["models", "cost", "vit_x", "--no-weights"]) == 2
