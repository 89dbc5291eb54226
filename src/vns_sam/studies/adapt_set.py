"""One's own pictures made ready to be learned from: gathered, examined, and divided."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vns_sam.data.doctor.alike import alike
from vns_sam.data.doctor.check import check
from vns_sam.data.doctor.findings import KINDS, Finding, Severity
from vns_sam.data.pairs import find_pairs
from vns_sam.data.sets.divide import Division, divide
from vns_sam.data.sets.gather import fingerprint, gather, is_flat
from vns_sam.errors import DataError
from vns_sam.images.find import folder_name
from vns_sam.images.write import write_text

DATA = "data"
PASSED_OVER = frozenset({"no-mask", "no-picture", "unlisted"})
"""What the doctor tells and nobody has to mend first: the pictures are left out."""
SHOWN = 3

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class OwnSet:
    """A set that is ready.

    Attributes:
        name: What it is called.
        folder: Where it is, with the lists ``train``, ``val`` and ``test``.
        division: What these lists say.
        fingerprint: Changes with the folder that it was made from.
        left_out: One line for each thing that is not used.
        noticed: Kinds of findings that are no errors, with their numbers.
    """

    name: str
    folder: Path
    division: Division
    fingerprint: str
    left_out: tuple[str, ...] = ()
    noticed: tuple[tuple[str, int], ...] = ()

    def told(self) -> Iterator[str]:
        """What a user should know of it, in lines."""
        if self.left_out:
            more = f", and {len(self.left_out) - SHOWN} more" if len(self.left_out) > SHOWN else ""
            yield f"left out: {'; '.join(self.left_out[:SHOWN])}{more}"
        for code, count in self.noticed:
            severity, meaning = KINDS[code]
            yield f"{severity}: {count} x {code}: {meaning}"
        train, val, test = (len(part) for part in self.division.lists().values())
        own = f" (own lists: {', '.join(self.division.given)})" if self.division.given else ""
        yield f"{train} pictures to train on, {val} to choose by, {test} held out to report on{own}"


def set_name(source: Path) -> str:
    """A folder's name as the name of a set."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder_name(source)).strip("-._") or "set"


def own_set(source: Path, out: Path, *, workers: int = 1, progress: Progress | None = None) -> OwnSet:
    """Gathers a folder's pairs under ``out``, examines them, and writes the lists of :func:`divide`.

    Args:
        source: A folder as :func:`gather` takes it.
        out: Folder of the run; the set goes to ``data/NAME`` in it.
        workers: Processes that examine.
        progress: Told after each picture.

    Raises:
        DataError: There is nothing to learn from, or the doctor finds errors.
    """
    name, mark = set_name(source), fingerprint(source, out.resolve())
    folder = out / DATA / name
    gathered = gather(source, folder, progress)
    flat = is_flat(source)
    examined = source if flat else folder
    findings = check([examined], workers=workers, progress=progress).findings
    _refuse_errors(findings, examined)
    empty = {PurePosixPath(finding.file).stem for finding in findings if finding.code == "empty"}
    stems = [stem for stem in gathered.stems if stem not in empty]
    pairs = {pair.stem: pair for pair in find_pairs(folder, broken={})}
    stems = [stem for stem in stems if stem in pairs]
    groups = [[stems[i] for i in group] for group in alike([pairs[stem].image for stem in stems], progress)]
    division = divide(stems, groups, gathered.lists)
    for split, listed in division.lists().items():
        write_text(folder / f"{split}.txt", "".join(f"{stem}\n" for stem in listed))
    counts = Counter(finding.code for finding in findings if finding.code not in PASSED_OVER)
    noticed = tuple((code, counts[code]) for code in KINDS if counts[code])
    return OwnSet(name, folder, division, mark, tuple(gathered.left_out), noticed)


def _refuse_errors(findings: Sequence[Finding], folder: Path) -> None:
    errors = [f for f in findings if f.severity is Severity.ERROR and f.code not in PASSED_OVER]
    if not errors:
        return
    first = errors[0]
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    repairable = " --fix" if all(error.repairable for error in errors) else ""
    text = f": {first.text}" if first.text else ""
    raise DataError(
        f"{folder} has errors: {first.file}: {first.code}{text}{more}", hint=f"vns-sam data check {folder}{repairable}"
    )
