"""The containers that travel between the rooms of the package, and the protocol that every model follows.

Shape letters: I images, P prompts, N points of one prompt, C channels, H x W pixels of the original picture,
g x g' embedding grid (stride 16 of the model's input). Nothing here loads torch.
"""

from vns_sam.types.answers import Answers, Candidates, DecoderOutput, Prediction
from vns_sam.types.features import ImageFeatures
from vns_sam.types.info import SECOND_LOOK, Backend, ModelInfo, PromptKind, SecondLook
from vns_sam.types.pieces import Piece, Pieces, Size, cut_out, piece_boxes
from vns_sam.types.prompts import PADDING_LABEL, Geometry, PromptBatch, Prompts
from vns_sam.types.protocol import PromptableModel

__all__ = [
    "PADDING_LABEL",
    "SECOND_LOOK",
    "Answers",
    "Backend",
    "Candidates",
    "DecoderOutput",
    "Geometry",
    "ImageFeatures",
    "ModelInfo",
    "Piece",
    "Pieces",
    "Prediction",
    "PromptBatch",
    "PromptKind",
    "PromptableModel",
    "Prompts",
    "SecondLook",
    "Size",
    "cut_out",
    "piece_boxes",
]
