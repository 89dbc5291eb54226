"""WS-SAM: a segmenter that needs no prompt and learns from scribbles, points and boxes."""

from vns_sam.ws.config import BackboneConfig, WsSamConfig
from vns_sam.ws.model import WsSamModel

__all__ = ["BackboneConfig", "WsSamConfig", "WsSamModel"]
