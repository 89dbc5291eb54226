"""What ``mutants.py`` attacks, and which of its changes no result can tell."""

from __future__ import annotations

CORE = {
    "dis/channels": "dis/test_channels.py",
    "dis/windows": "dis/test_dis_windows.py",
    "formats/rle": "formats/test_rle.py formats/test_formats.py",
    "images/enlarge": "images/test_enlarge.py",
    "images/geometry": "images/test_geometry.py sam/test_promptable.py",
    "images/windows": "images/test_windows.py sam/test_second_look.py",
    "inference/predictor": "inference/test_predictor.py",
    "inference/regions": "inference/test_regions.py inference/test_automatic.py",
    "sam/second_look": "sam/test_second_look.py",
    "labelling/gates": "labelling/test_gates.py",
    "metrics/iou": "metrics/test_iou.py metrics/test_scoring.py",
    "prompts/clicks": "prompts/test_clicks.py",
    "prompts/simulate": "prompts/test_simulate.py",
    "prompts/validate": "prompts/test_validate.py",
    "runs/engine": "runs/test_engine.py",
    "runs/plan": "runs/test_engine.py inference/test_folder.py cli/test_segment_folder.py",
    "sam/attention": "sam/test_mask_decoder.py",
    "sam/mask_decoder": "sam/test_mask_decoder.py",
    "sam/prompt_rows": "sam/test_promptable.py",
    "sam/promptable": "sam/test_promptable.py sam/test_model.py",
    "vns/nsfm": "vns/test_bands.py vns/test_vns_model.py",
    "ws/grouping": "ws/test_grouping.py",
}
"""The files, and the tests that are there for each."""
SAME = {
    ("dis/channels", "BOX_LEVEL = 127 / 255", "127 / 256"),  # between them lies no value of a resized box
    ("dis/channels", "> BOX_LEVEL", ">= BOX_LEVEL"),  # a value exactly at a limit
    ("dis/channels", "line = np.zeros(", "np.zeros((2, 1"),  # only the first is read
    ("dis/channels", "line = np.zeros(", "np.zeros((1, 2"),  # likewise
    ("dis/channels", "line = np.zeros(", "np.zeros((1, 1, 2"),  # likewise
    ("dis/channels", "(1, size))[0, 0, 0]", "(2, size))"),  # likewise
    ("dis/windows", "(alpha > UNCERTAIN[0])", "(alpha >= UNCERTAIN[0])"),  # a value exactly at a limit
    ("dis/windows", "(alpha < UNCERTAIN[1])", "(alpha <= UNCERTAIN[1])"),  # likewise
    ("formats/rle", "((0, 0), (1, 1))", "((0, 1), (1, 1))"),  # one zero more changes nothing
    ("formats/rle", "((0, 0), (1, 1))", "((0, 0), (1, 2))"),  # likewise
    ("formats/rle", "len(bounds) > 2", "len(bounds) > 3"),  # they come in pairs
    ("images/enlarge", "down = _weights(values.shape[0]", "values.shape[1]"),  # maps are square
    ("images/enlarge", "slice(0, 0), slice(0, 0)", "slice(1, 0)"),  # empty either way
    ("inference/regions", "1e-09", "1.000000002"),  # whole pixels: what is shared out is 0 or at least 1
    ("inference/regions", "common.top >= common.bottom", "common.top > common.bottom"),  # nothing in common either way
    ("inference/regions", "common.left >= common.right", "common.left > common.right"),  # likewise
    ("inference/regions", "shares > 0)", "shares >= 0)"),  # masks of boxes that do not meet have nothing in common
    ("inference/regions", "(shares > box_iou)", "(shares >= box_iou)"),  # a value exactly at a limit
    ("inference/regions", "> mask_iou", ">= mask_iou"),  # likewise
    ("sam/second_look", "AT_ONCE = 4", "AT_ONCE = 5"),  # how many at a time
    ("sam/second_look", "prompts.points is not None and", "prompts.points is not None or"),  # both, or neither
    ("sam/second_look", "row, worth = (-1,", "row, worth = (-2,"),  # no row either way
    ("sam/second_look", "4 * away < THIN", "4 * away <= THIN"),  # a value exactly at a limit
    ("sam/second_look", "2 * half > side", "2 * half >= side"),  # likewise
    ("sam/second_look", "<= LARGEST * height", "< LARGEST * height"),  # likewise
    ("sam/second_look", "x0:x1], 1)", "x0:x1], 2)"),  # one rim more changes no distance
    ("prompts/simulate", "RESIDUE_THRESHOLD", "> RESIDUE_THRESHOLD"),  # likewise
    ("prompts/simulate", "strict=True", "strict=False"),  # a choice was drawn for each row
    ("prompts/simulate", "side=labels.shape[-1]", "side=labels.shape[-2]"),  # views are square
    ("prompts/validate", "isinstance(mask[0], str)", "isinstance(mask[1], str)"),  # a file's name and digest are text
    ("prompts/validate", "strict=True", "strict=False"),  # the lengths were compared before
    ("runs/engine", "sync=True", "sync=False"),  # only a power cut tells
    ("runs/engine", "missing_ok=True", "missing_ok=False"),  # what it raises is passed over
    ("runs/plan", "READERS", "READERS"),  # how many look at a time
    ("runs/plan", "strict=True", "strict=False"),  # one state was found for each item
    ("sam/attention", "query.shape[0] == key.shape[0]", "key.shape[0] and"),  # two ways to one result
    ("sam/mask_decoder", "out_channels, 2, 2)", "out_channels, 2, 3)"),  # a stride that its own forward does not use
    ("sam/mask_decoder", "surely / maybe, 1.0)", "surely / maybe, 3.0)"),  # both are enough
    ("sam/prompt_rows", "CELLS_AT_ONCE", "CELLS_AT_ONCE"),  # how many at a time
    ("sam/prompt_rows", "self.mask is not None)", "self.mask is None)"),  # what a group is called
    ("sam/prompt_rows", "if points is not None and", "if points is not None or"),  # both are set, or neither
    ("sam/prompt_rows", "pairs = zip(", "strict=False"),  # the lengths were compared before
    ("sam/promptable", "@abstractmethod ... False", "@abstractmethod ... True"),  # a default that nobody inherits
    ("sam/promptable", "CELLS_AT_ONCE_ELSEWHERE", "CELLS_AT_ONCE_ELSEWHERE"),  # how many at a time
    ("vns/nsfm", "strict=True", "strict=False"),  # how many there are was judged before
    ("vns/nsfm", "levels[0].shape", "levels[1].shape"),  # all levels have one grid
    (
        "sam/promptable",
        "@torch.inference_mode() ... False",
        "@torch.inference_mode() ... True",
    ),  # a wish it passes over
    ("ws/grouping", "shares + EPSILON", "shares - EPSILON"),  # a hundred-millionth
    ("ws/grouping", "inplace=True", "inplace=False"),  # where the result lies
}
"""Changes that were read and cannot be told by any result: file, a part of what stood there, a part of what stood there
instead. They are not counted.
"""
