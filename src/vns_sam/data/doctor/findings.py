"""What the dataset doctor can find: one code for each kind, how serious it is, and whether it can be repaired."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """The set cannot be read as it is, or numbers measured on it are wrong."""
    WARNING = "warning"
    """Probably a mistake; somebody should look."""
    NOTE = "note"
    """Good to know; nothing has to be done."""


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

KINDS: dict[str, tuple[Severity, str]] = {
    "no-mask": (_E, "pictures without mask"),
    "unreadable": (_E, "files that cannot be read"),
    "same-stem": (_E, "files of one folder that share a stem"),
    "case": (_E, "picture and mask named alike but for upper and lower case"),
    "size": (_E, "masks of another size than their picture"),
    "faint-mask": (_E, "masks that read as empty, since no value is above 127"),
    "ids": (_E, "files of object ids that hold colours which are no ids"),
    "list-missing": (_E, "stems in a list without picture"),
    "in-both-lists": (_E, "stems in more than one of train, val and test"),
    "leak": (_E, "one picture in two splits"),
    "near-leak": (_W, "nearly the same picture in two splits"),
    "shared": (_W, "one picture in two sets"),
    "near-shared": (_W, "nearly the same picture in two sets"),
    "duplicate": (_W, "the same picture with the same mask"),
    "no-picture": (_W, "masks without picture"),
    "case-clash": (_W, "stems of one folder that differ only in upper and lower case"),
    "misaligned": (_W, "masks that seem not to lie on their object"),
    "inverted": (_W, "masks that look inverted"),
    "empty": (_W, "masks without object"),
    "full": (_W, "masks without background"),
    "flat": (_W, "pictures without contrast"),
    "labels": (_W, "masks of several ids, colours or grays: every id, or what is above 127, is one object"),
    "colours": (_W, "masks of many colours or lossy ones: only the first channel is read"),
    "lossy-mask": (_W, "masks in a lossy format"),
    "soft-mask": (_W, "masks with much gray between 0 and 255"),
    "list-twice": (_W, "stems listed twice"),
    "soft-edges": (_N, "masks with a little gray between 0 and 255"),
    "zero-one": (_N, "masks of 0 and 1"),
    "off-white": (_N, "masks of 0 and one value between 128 and 254"),
    "alpha-mask": (_N, "masks stored as cut-outs: the object is in the alpha channel"),
    "colour-mask": (_N, "masks stored as RGB, RGBA, or palette"),
    "deep-mask": (_N, "masks of 16 bits"),
    "tiny": (_N, "objects of fewer than 16 pixels"),
    "exif": (_N, "pictures that are rotated by their EXIF data"),
    "several-masks": (_N, "one picture with several masks, as several pairs"),
    "similar": (_N, "pictures of one split that are nearly the same"),
    "unlisted": (_N, "pictures in none of the lists"),
}
"""Severity and meaning of each code, the most serious first."""


@dataclass(frozen=True)
class Finding:
    """One thing found in one file.

    Attributes:
        code: A key of :data:`KINDS`.
        file: Path relative to the set, as ``masks/frog.png`` or ``train.txt``.
        text: What was found there.
        repairable: Whether ``--fix`` mends it.
        dataset: Folder of the set; filled in by the doctor.
    """

    code: str
    file: str
    text: str
    repairable: bool = False
    dataset: str = ""

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return KINDS[self.code][0]
