"""Average precision of stored rows, in which the objects of a picture compete, class by class where there are some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vns_sam.evaluation.rows import Detection, Row
from vns_sam.metrics.detection import PRECISIONS, Finding, Truth, average_precision, precision_by_class

Precision = Mapping[str, float]
"""``ap``, ``ap50`` and ``ap75``."""


def precision_of(rows: Iterable[Row]) -> dict[str, float]:
    """Average precision over the objects of a set; nothing where no masks were kept."""
    found, true = _competing(rows)
    return average_precision(found, true) if true else {}


def precision_of_classes(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """The same of each class; nothing where the objects have none."""
    found, true = _competing(rows)
    if not any(each.label for objects in true for each in objects):
        return {}
    return precision_by_class(found, true)


def class_table(prompt: str, dataset: str, models: Mapping[str, Mapping[str, Precision]]) -> str:
    """Average precision by class in Markdown: a line for each class, three columns for each model.

    Args:
        prompt: What was asked with.
        dataset: Name of the set.
        models: By model, then by class.
    """
    heads = [f"{model} {name}" for model in models for name in PRECISIONS]
    lines = [f"**{prompt}**: {' / '.join(PRECISIONS)} by class of {dataset}", "", f"| class | {' | '.join(heads)} |"]
    lines.append("|---|" + "--:|" * len(heads))
    for label in dict.fromkeys(label for classes in models.values() for label in classes):
        cells = [
            f"{classes[label][name]:.3f}" if label in classes else "-"
            for classes in models.values()
            for name in PRECISIONS
        ]
        lines.append(f"| {label or '(none)'} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _competing(rows: Iterable[Row]) -> tuple[Sequence[Sequence[Finding]], Sequence[Sequence[Truth]]]:
    """What was found and what is true, by picture."""
    pictures: dict[str, list[Detection]] = {}
    for row in rows:
        if row.detection is not None:
            pictures.setdefault(row.key.stem, []).append(row.detection)
    found = [[Finding(each.found, each.score, each.label) for each in objects] for objects in pictures.values()]
    return found, [[Truth(each.truth, each.label) for each in objects] for objects in pictures.values()]
