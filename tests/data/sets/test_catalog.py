"""Facts about the field's sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from vns_sam.data.sets.catalog import benchmarks, catalog, find_benchmark, find_set
from vns_sam.errors import UsageError
from vns_sam.training.recipe import load_recipe


def test_vns_seg_has_the_sizes_of_the_paper() -> None:
    parts = benchmarks()["vns-seg"].parts
    train = {name: splits["train"] for name, splits in parts.items() if "train" in splits}
    test = {name: splits["test"] for name, splits in parts.items() if "test" in splits}
    assert train == {
        "camo": 1000,
        "cod10k": 3040,
        "kvasir_seg": 900,
        "cvc_clinicdb": 550,
        "dis_dark": 3000,
        "thin_dark": 4742,
        "fss_dark": 10000,
    }
    assert sum(train.values()) == 23232
    assert sum(test.values()) == 12175
    assert test["nc4k"] == 4121
    assert find_benchmark("vns-seg").expected == 23232 + 12175


def test_hqseg_parts_add_up() -> None:
    names = ("dis5k", "thinobject5k", "fss1000", "duts_tr", "duts_te", "ecssd", "msra10k")
    assert sum(catalog()[name].counts["train"] for name in names) == 44320
    parts = find_benchmark("hqseg-44k").parts
    assert tuple(parts) == names
    recipe = load_recipe("dis_sam_hqseg44k")
    assert {name: int(weight) for name, weight in recipe.data.sets.items()} == {n: s["train"] for n, s in parts.items()}
    assert recipe.steps == 200_000


def test_every_set_says_where_it_is_from() -> None:
    for facts in catalog().values():
        assert facts.home == "unknown" or facts.home.startswith("https://"), facts.name
        assert facts.get, facts.name
        assert facts.layouts, facts.name
        assert facts.licence, facts.name


def test_no_two_sets_share_an_alias() -> None:
    aliases = [alias for facts in catalog().values() for alias in facts.aliases]
    assert len(aliases) == len(set(aliases))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("camo", "camo"), ("Kvasir-SEG", "kvasir_seg"), ("CVC-ClinicDB", "cvc_clinicdb"), ("ETIS-LaribPolypDB", "etis")],
)
def test_a_set_is_found_by_any_of_its_names(name: str, expected: str) -> None:
    assert find_set(name).name == expected


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="'camoo'") as caught:
        find_set("camoo")
    assert "camo" in caught.value.hint


def test_an_unknown_benchmark_gets_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        find_benchmark("vns")
    assert "vns-seg" in caught.value.hint


def test_the_page_about_the_sets_has_every_fact() -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
    for facts in catalog().values():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{facts.name}` | {facts.title} |"))
        assert ", ".join(f"{split} {count}" for split, count in facts.counts.items()) in row
        assert facts.licence in row
        assert facts.home in row
        assert all(layout in page for layout in facts.layouts)
