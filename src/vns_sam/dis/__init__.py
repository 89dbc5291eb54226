"""DIS-SAM: a promptable model finds the object, IS-Net draws it to the pixel."""

from vns_sam.dis.isnet import GtEncoder, IsNet

__all__ = ["GtEncoder", "IsNet"]
