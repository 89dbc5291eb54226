"""The log of a run: JSON lines always, TensorBoard on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vns_sam.errors import MissingExtraError
from vns_sam.runs.lines import LineFile, read_lines, write_lines

LOG = "log.jsonl"


class Tracker:
    """Appends to ``log.jsonl``; after a resume the lines beyond the checkpoint are dropped first.

    Args:
        folder: Of the run.
        step: Optimiser steps already done.
        tensorboard: Also write TensorBoard events under ``tensorboard/``.

    Raises:
        OutputError: The log cannot be written.
        MissingExtraError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool = False) -> None:
        self.path = folder / LOG
        kept = [line for line in read_log(folder) if line["step"] <= step]
        write_lines(self.path, kept)
        self._lines = LineFile(self.path)
        self.events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise MissingExtraError("tensorboard", extra="train", purpose="tensorboard: true") from None
            self.events = SummaryWriter(str(folder / "tensorboard"))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Writes one line, ``{"step": ..., **values}``."""
        self._lines.add({"step": step, **{k: round(v, 6) for k, v in values.items()}})
        if self.events is not None:
            for name, value in values.items():
                self.events.add_scalar(name, value, step)


def read_log(folder: Path) -> list[dict[str, float]]:
    """Lines of a run's log; a line cut short by a kill, or in which somebody else wrote, is left out."""
    return [line for line in read_lines(folder / LOG) if isinstance(line.get("step"), int)]
