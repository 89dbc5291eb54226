from __future__ import annotations

import pytest

from vns_sam.data.sets.divide import divide
from vns_sam.errors import DataError

STEMS = [f"p{i:02d}" for i in range(40)]
ALONE = [[stem] for stem in STEMS]


def test_a_fifth_is_reported_on_and_a_part_chosen_by_and_the_order_does_not_matter() -> None:
    found = divide(STEMS, ALONE, {})
    assert [len(part) for part in found.lists().values()] == [24, 8, 8]
    assert sorted((*found.train, *found.val, *found.test)) == STEMS
    assert divide(STEMS[::-1], ALONE[::-1], {}) == found


def test_groups_stay_together() -> None:
    groups = [STEMS[i : i + 4] for i in range(0, 40, 4)]
    found = divide(STEMS, groups, {})
    for part in found.lists().values():
        assert all(set(group) <= set(part) or not set(group) & set(part) for group in groups)
    assert len(found.test) == 8


def test_one_large_group_is_trained_on() -> None:
    found = divide(STEMS, [STEMS[:30], *([stem] for stem in STEMS[30:])], {})
    assert set(STEMS[:30]) <= set(found.train)
    assert found.test
    assert found.val


def test_own_lists_are_followed() -> None:
    found = divide(STEMS, ALONE, {"train": STEMS[:20], "test": STEMS[20:35]})
    assert set(found.test) == set(STEMS[20:35])
    assert set(found.train) | set(found.val) == set(STEMS[:20])
    assert len(found.val) == 4
    assert found.given == ("train", "test")
    only_test = divide(STEMS, ALONE, {"test": STEMS[:10]})
    assert set(only_test.train) | set(only_test.val) == set(STEMS[10:])


def test_own_val_list_is_followed_and_never_trained_on() -> None:
    found = divide(STEMS, ALONE, {"train": STEMS, "val": STEMS[:5], "test": STEMS[5:9]})
    assert set(found.val) == set(STEMS[:5])
    assert set(found.train) == set(STEMS[9:])


@pytest.mark.parametrize(
    ("stems", "groups", "says"),
    [(STEMS[:5], ALONE[:5], "at least 12 pictures"), (STEMS, [STEMS], "nearly copies"), ([], [], "found 0")],
)
def test_what_cannot_be_divided(stems: list[str], groups: list[list[str]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        divide(stems, groups, {})


def test_own_lists_divide_what_are_nearly_copies() -> None:
    found = divide(STEMS, [STEMS], {"val": STEMS[:2], "test": STEMS[2:4]})
    assert set(found.train) == set(STEMS[4:])
