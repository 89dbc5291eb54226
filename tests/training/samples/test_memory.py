"""What was read lately stays, up to a number of bytes."""

from __future__ import annotations

from vns_sam.training.samples.memory import Memory


def test_the_value_that_was_not_used_for_longest_makes_room() -> None:
    read: list[str] = []

    def make(key: str) -> str:
        read.append(key)
        return key * 10

    memory = Memory(make, len, 30)
    for key in "abcadb":
        assert memory[key] == key * 10
    assert read == ["a", "b", "c", "d", "b"]
    assert list(memory) == ["a", "d", "b"]


def test_a_value_that_is_too_large_stays_alone() -> None:
    memory = Memory(lambda key: "x" * key, len, 10)
    assert len(memory[3]) + len(memory[50]) == 53
    assert list(memory) == [50]
