import inspect
import pickle

import numpy as np
import pytest
import torch
from toy import toy_sam
from transformers import SamImageProcessorPil

from vns_sam.errors import PromptError, UsageError
from vns_sam.images.geometry import boxes_to_model, fit, maps_to_original, points_to_model
from vns_sam.sam import promptable
from vns_sam.sam.model import SamModel
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.prompt_rows import prompt_rows
from vns_sam.types import PADDING_LABEL, Prompts

SIZES = [(60, 96), (96, 60), (200, 131), (33, 47), (96, 96), (301, 64)]


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    return SamModel(toy_sam(64)).eval()


def prompts_of_all_kinds(height, width, rng):
    """Entries of 3 boxes, 2 rows of ragged points, 1 mask, 2 boxes with points, and 1 of everything."""

    def boxes(count):
        corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1)
        return (corners * [width, height]).reshape(count, 4)

    def points(count, number):
        return rng.uniform(0, 1, (count, number, 2)) * [width, height]

    ragged = np.array([[1, 0, 1], [1, PADDING_LABEL, PADDING_LABEL]])
    mask = (rng.uniform(0, 1, (1, height, width)) > 0.5).astype(np.float32)
    return [
        Prompts(boxes=boxes(3)),
        Prompts(points=points(2, 3), labels=ragged),
        Prompts(masks=mask),
        Prompts(boxes=boxes(2), points=points(2, 1), labels=np.array([[1], [0]])),
        Prompts(boxes=boxes(1), points=points(1, 2), labels=np.array([[1, 0]]), masks=mask),
    ]


def single_rows(given):
    for row in range(len(given)):
        yield Prompts(**{key: None if value is None else value[row : row + 1] for key, value in vars(given).items()})


@pytest.mark.parametrize("chunk", [1, 2, 32])
def test_many_prompts_on_many_pictures_equal_one_at_a_time(model, chunk):
    rng = np.random.default_rng(4)
    images = [picture(50, 80, 1), picture(70, 40, 2), picture(64, 64, 3)]
    features = model.encode(images)
    entries, index = [], []
    for _ in range(2):
        for number, image in enumerate(images):
            entries += prompts_of_all_kinds(*image.shape[:2], rng)
            index += [number] * 5
    order = rng.permutation(len(entries))
    entries, index = [entries[i] for i in order], [index[i] for i in order]
    model.chunk = chunk
    together = model.decode(features, entries, index)
    model.chunk = type(model).chunk
    row = 0
    for given, image in zip(entries, index, strict=True):
        alone = model.encode([images[image]])
        for single in single_rows(given):
            out = model.decode(alone, [single], [0])
            torch.testing.assert_close(together.mask_logits[row], out.mask_logits[0], atol=1e-5, rtol=0)
            assert together.scores[row] == pytest.approx(out.scores[0], abs=1e-5)
            row += 1
    assert row == len(together.mask_logits) == 54
    assert together.mask_logits.std(0).max() > 1e-3


def test_chunks_bound_what_is_decoded_at_once(model, monkeypatch):
    sizes = []
    decode = model.decode_batch
    monkeypatch.setattr(model, "decode_batch", lambda f, b, **_: sizes.append(len(b)) or decode(f, b))
    monkeypatch.setattr(model, "chunk", 4)
    features = model.encode([picture(64, 64)])
    model.decode(features, [Prompts(boxes=np.tile([[4.0, 4.0, 30.0, 30.0]], (10, 1)))], [0])
    assert sizes == [4, 4, 2]


def test_rows_are_numbered_through():
    geometry = [fit(40, 50, 64)] * 2
    boxes = Prompts(boxes=np.array([[1.0, 1, 9, 9]] * 2))
    rows = list(prompt_rows([boxes, boxes], [1, 0], geometry))
    assert [(row.number, row.image, row.kind) for row in rows] == [
        (0, 1, (True, 0, False)),
        (1, 1, (True, 0, False)),
        (2, 0, (True, 0, False)),
        (3, 0, (True, 0, False)),
    ]
    with pytest.raises(ValueError, match="shorter"):
        list(prompt_rows([boxes, boxes], [0], geometry))
    with pytest.raises(PromptError, match="no prompt given"):
        list(prompt_rows([], [], geometry))


def test_one_prompt_at_least_is_decoded_at_once(model, monkeypatch):
    monkeypatch.setattr(promptable, "CELLS_AT_ONCE", 1)
    monkeypatch.setattr(model, "chunk", 0)
    assert model.at_once == 1


def test_a_fresh_model_refuses_the_features_of_another():
    one, other = (SamModel(toy_sam(64)).eval() for _ in range(2))
    features = one.encode([picture(40, 50)])
    with pytest.raises(UsageError):
        other.decode(features, [Prompts(boxes=np.array([[1, 2, 30, 40]]))], [0])


def test_a_copy_answers_alike_and_knows_nothing_of_the_first_ones_weights(model):
    assert model.info.digest
    copy = pickle.loads(pickle.dumps(model))
    assert "_known" not in vars(copy)
    assert copy.info.digest == model.info.digest
    box = [Prompts(boxes=np.array([[1, 2, 30, 40]]))]
    first, second = (one.decode(one.encode([picture(40, 50)]), box, [0]).mask_logits for one in (model, copy))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("index", [-1, 1])
def test_a_prompt_on_no_picture_is_refused(model, index):
    features = model.encode([picture(64, 64)])
    with pytest.raises(PromptError, match="image index must be 0 to 0"):
        model.decode(features, [Prompts(boxes=np.array([[1.0, 1.0, 9.0, 9.0]]))], [index])


@pytest.fixture(scope="module")
def processor():
    return SamImageProcessorPil(size={"longest_edge": 96}, pad_size={"height": 96, "width": 96})


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pictures_enter_as_in_transformers(height, width, processor):
    image = picture(height, width)
    pixels, geometry = Preprocessing(96)(image, torch.device("cpu"))
    theirs = processor(image, return_tensors="pt")
    assert (geometry.fitted_height, geometry.fitted_width) == tuple(theirs["reshaped_input_sizes"][0].tolist())
    torch.testing.assert_close(pixels, theirs["pixel_values"][0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_maps_come_back_as_in_transformers(height, width, processor):
    maps = torch.randn(3, 1, 24, 24, generator=torch.Generator().manual_seed(6))
    geometry = fit(height, width, 96)
    theirs = processor.post_process_masks(
        [maps],
        [(height, width)],
        [(geometry.fitted_height, geometry.fitted_width)],
        binarize=False,
        pad_size={"height": 96, "width": 96},
    )
    torch.testing.assert_close(maps_to_original(maps, geometry), theirs[0][:, 0])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_prompts_enter_as_in_transformers(height, width):
    from transformers import SamProcessor

    sam = SamProcessor(SamImageProcessorPil(size={"longest_edge": 96}, pad_size={"height": 96, "width": 96}))
    box, point = [3.0, 5.0, 0.8 * width, 0.7 * height], [0.4 * width, 0.6 * height]
    theirs = sam(
        picture(height, width),
        input_boxes=[[box]],
        input_points=[[[point]]],
        input_labels=[[[1]]],
        return_tensors="pt",
    )
    geometry = fit(height, width, 96)
    own = boxes_to_model(np.array([box]), geometry)
    np.testing.assert_allclose(own, theirs["input_boxes"][0].numpy(), rtol=1e-5)
    own = points_to_model(np.array([[point]]), geometry)
    np.testing.assert_allclose(own, theirs["input_points"][0].numpy(), rtol=1e-5)


def test_candidates_are_made_when_they_are_asked_for(model):
    features = model.encode([picture(60, 96)])
    box = [Prompts(boxes=np.array([[5.0, 5, 40, 40]]))]
    assert len(model.decode(features, box, [0]).candidate_scores(0)) == 1
    assert len(model.decode(features, box, [0], candidates=True).candidate_scores(0)) == 3


def test_what_is_shared_is_public_unless_told():
    assert inspect.signature(SamModel.push_to_hub).parameters["private"].default is False


def test_the_digest_follows_the_weights_and_is_made_once():
    changing = SamModel(toy_sam(64)).eval()
    before = changing.info
    digest = before.digest
    assert changing.info is before
    features = changing.encode([picture(60, 96)])
    with torch.no_grad():
        next(changing.parameters()).add_(1)
    assert changing.info.digest != digest
    with pytest.raises(UsageError):
        changing.decode(features, [Prompts(boxes=np.array([[5.0, 5, 40, 40]]))], [0])
