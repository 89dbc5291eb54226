import numpy as np
import pytest

from vns_sam.errors import UsageError
from vns_sam.labelling.fusion import Selection, Uncertainty, entropy, fuse, measure, pixel_weights

VOTES = {0: 1.0, 1: 0.586, 2: 0.350, 3: 0.189, 4: 0.082, 5: 0.020, 6: 0.0}


@pytest.mark.parametrize(("votes", "weight"), VOTES.items())
def test_weights_of_twelve_votes(votes: int, weight: float) -> None:
    logits = [np.full((1, 1), 3.0 if k < votes else -0.1) for k in range(12)]
    assert pixel_weights(fuse(logits))[0, 0] == pytest.approx(weight, abs=5e-4)
    assert pixel_weights(fuse([-one for one in logits]))[0, 0] == pytest.approx(weight, abs=5e-4)


def test_votes_and_probabilities() -> None:
    logits = [np.array([[2.0, -1.0, 0.0]]), np.array([[2.0, 1.0, -900.0]])]
    assert fuse(logits).tolist() == [[1.0, 0.5, 0.0]]
    assert fuse(logits, "prob")[0] == pytest.approx([0.8808, 0.5, 0.25], abs=1e-4)


def test_entropy_at_its_ends() -> None:
    assert entropy(np.array([0, 0.5, 1.0])).tolist() == [0, 1, 0]


def field(uncertain: int, objects: int, size: int = 1000) -> np.ndarray:
    fused = np.zeros(size, np.float32)
    fused[:uncertain] = 0.5
    fused[uncertain : uncertain + objects] = 1
    return fused.reshape(10, -1)


def test_the_three_ratios() -> None:
    found = measure(field(50, 200))
    assert (found.absolute, found.relative) == (0.05, 0.25)
    assert found.relative_to_all == pytest.approx(50 / 950)


def test_no_certain_object_is_endlessly_uncertain() -> None:
    assert measure(field(0, 0)).relative == float("inf")
    assert not Selection().keeps(measure(field(0, 0)))
    assert measure(np.full((4, 4), 0.5)).relative_to_all == float("inf")


@pytest.mark.parametrize(("share", "is_uncertain"), [(0.316, False), (0.317, True), (0.683, True), (0.684, False)])
def test_uncertain_is_an_entropy_above_nine_tenths(share: float, is_uncertain: bool) -> None:
    assert measure(np.full((2, 2), share)).absolute == is_uncertain


@pytest.mark.parametrize(
    ("uncertain", "objects", "kept"),
    [(99, 900, True), (100, 900, False), (49, 100, True), (50, 100, False), (0, 1, True)],
)
def test_a_value_on_a_limit_is_not_kept(uncertain: int, objects: int, kept: bool) -> None:
    assert Selection().keeps(measure(field(uncertain, objects))) is kept


def test_with_all_certain_pixels_the_second_limit_never_acts() -> None:
    small = measure(field(99, 10))
    assert not Selection().keeps(small)
    assert Selection(denominator="all").keeps(small)


def test_too_few_believed_views() -> None:
    sure = Uncertainty(0, 0, 0)
    assert Selection().keeps(sure, views=0.5)
    assert not Selection().keeps(sure, views=5 / 12)


def test_an_infinite_limit_judges_nothing() -> None:
    assert Selection(relative=float("inf")).keeps(Uncertainty(0, float("inf"), float("inf")))


@pytest.mark.parametrize("wrong", [{"absolute": 1.1}, {"relative": -1.0}, {"relative": float("nan")}, {"views": 2.0}])
def test_limits_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Selection(**wrong)
