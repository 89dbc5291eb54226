"""The figures of accuracy over latency and of speed beside transformers, drawn from ``results/*.json``; ``make docs``
writes them beside the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from xml.sax.saxutils import escape

from vns_sam.evaluation.results import read_results

REPOSITORY = Path(__file__).parents[1]
IMAGES = REPOSITORY / "docs" / "images"
LATENCY, PEERS = "latency.json", "peers.json"
WIDTH, HEIGHT = 860, 470
LEFT, TOP, RIGHT, BOTTOM = 70, 52, 640, 400
INK, GREY, RULE = "#212529", "#6c757d", "#e2e5e9"


@dataclass(frozen=True)
class Point:
    """A model as the measurement calls it, in a file of results and in that of latencies."""

    file: str
    model: str
    latency: str


@dataclass(frozen=True)
class Line:
    """A question: its sets, whose IoU with a box is averaged, and the models that were asked."""

    title: str
    colour: str
    sets: tuple[str, ...]
    points: tuple[Point, ...]


SAM, VNS = "sam-tiny", "vns-sam-tiny"
REFINED = tuple(Point("refined.json", name, name) for name in (SAM, VNS, f"{SAM}+dis-sam-tiny", f"{VNS}+dis-sam-tiny"))
LINES = (
    Line(
        "small and thin",
        "#0072b2",
        ("crackforest", "magnetic_tile", "misc_samples"),
        (
            Point("bundled.json", SAM, SAM),
            Point("bundled.json", VNS, VNS),
            Point("second_look.json", "two looks", f"{VNS}, two looks"),
        ),
    ),
    Line("fine outlines", "#d55e00", ("cwfid",), REFINED),
    Line("ordinary", "#009e73", ("davis345", "sod_bsds", "coco_mval"), REFINED),
)


def refresh(*, check: bool) -> list[Path]:
    """The figures that are not what the results say; writes them unless ``check``."""
    wrong = []
    for path, draw in FIGURES.items():
        made = draw()
        if not path.is_file() or path.read_text(encoding="utf-8") != made:
            wrong.append(path)
            if not check:
                path.write_text(made, encoding="utf-8")
    return wrong


def draw_accuracy() -> str:
    """IoU over time, as SVG."""
    lines = [(line, list(_places(line))) for line in LINES]
    longest = max(x for _, places in lines for x, _ in places)
    parts = [
        *_axes(longest),
        *_models(
            {
                point.latency: _x(x, longest)
                for line, found in lines
                for (x, _), point in zip(found, line.points, strict=True)
            }
        ),
    ]
    for number, (line, places) in enumerate(lines):
        parts += _series(line, [(_x(x, longest), _y(y)) for x, y in places], number)
    return _page("IoU with a box over the time for one picture", parts, HEIGHT)


def draw_speed() -> str:
    """How many times as long, or as much memory, transformers takes, as SVG."""
    found = read_results(REPOSITORY / "results" / PEERS)
    rows = [row for row in found.rows if row.model != "vns-sam"]
    longest, left, step = max(row.scores["ratio"].mean for row in rows), 330, 34
    parts = []
    for number, row in enumerate(rows):
        ratio, top = row.scores["ratio"].mean, TOP + step * number
        wide = (RIGHT - left) * ratio / longest
        kind = row.set.split()[-1]
        parts.append(_text(left - 10, top + 15, f"{row.prompt}, {kind}: {row.model}", INK, anchor="end"))
        parts.append(f'<rect x="{left}" y="{top}" width="{wide:.1f}" height="20" fill="{LINES[0].colour}"/>')
        parts.append(_text(left + wide + 8, top + 15, f"{ratio:.2f} x", INK))
    ours, foot = left + (RIGHT - left) / longest, TOP + step * len(rows)
    parts.append(f'<line x1="{ours:.1f}" y1="{TOP - 6}" x2="{ours:.1f}" y2="{foot}" stroke="{LINES[1].colour}"/>')
    parts.append(_text(ours, foot + 18, "vns-sam = 1", LINES[1].colour, anchor="middle"))
    return _page(f"{found.title}: what it takes beside vns-sam", parts, foot + 34)


FIGURES: dict[Path, Callable[[], str]] = {
    IMAGES / "accuracy_latency.svg": draw_accuracy,
    IMAGES / "speed.svg": draw_speed,
}


def _page(title: str, parts: Sequence[str], height: int) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">'
    ground = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, ground, _text(LEFT, 28, title, INK, size=17), *parts, "</svg>", ""])


def _places(line: Line) -> Iterator[tuple[float, float]]:
    """Time relative to sam-tiny's, and the mean over the line's sets, of each point."""
    times = {row.model: row.scores["ratio"].mean for row in read_results(REPOSITORY / "results" / LATENCY).rows}
    for point in line.points:
        rows = read_results(REPOSITORY / "results" / point.file).rows
        asked = {row.set: row for row in rows if (row.model, row.prompt) == (point.model, "box")}
        yield times[point.latency], fmean(asked[name].scores["iou"].mean for name in line.sets)


def _series(line: Line, places: Sequence[tuple[float, float]], number: int) -> Iterator[str]:
    """Points in the order of their time, joined, each with its model's name; and the line's own in the legend."""
    ordered = sorted(zip(places, line.points, strict=True), key=lambda pair: pair[0])
    path = " ".join(f"{x:.1f},{y:.1f}" for (x, y), _ in ordered)
    yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.5" stroke-opacity="0.5"/>'
    for (x, y), point in ordered:
        name = f"{line.title}: {point.latency}"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{line.colour}"><title>{escape(name)}</title></circle>'
    top = TOP + 44 + 56 * number
    yield f'<circle cx="{RIGHT + 32}" cy="{top - 4}" r="5" fill="{line.colour}"/>'
    yield _text(RIGHT + 44, top, line.title, INK)
    for at in range(0, len(line.sets), 2):
        yield _text(RIGHT + 44, top + 16 + 6 * at, ", ".join(line.sets[at : at + 2]), GREY, size=9)


def _models(places: Mapping[str, float]) -> Iterator[str]:
    """A rule at the time of each model, with its name in one of two rows above it."""
    for number, (name, x) in enumerate(sorted(places.items(), key=lambda pair: pair[1])):
        y = TOP - 2 + 14 * (number % 2)
        yield f'<line x1="{x:.1f}" y1="{y + 4}" x2="{x:.1f}" y2="{BOTTOM}" stroke="{RULE}" stroke-dasharray="3 3"/>'
        yield _text(x, y, _short(name), GREY, size=11, anchor="middle")


def _axes(longest: float) -> Iterator[str]:
    for tenth in range(3, 10):
        y = _y(tenth / 10)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="{RULE}"/>'
        yield _text(LEFT - 8, y + 4, f"{tenth / 10:.1f}", GREY, anchor="end")
    for tick in range(int(longest) + 2):
        x = _x(tick, longest)
        if x <= RIGHT:
            yield _text(x, BOTTOM + 20, str(tick), GREY, anchor="middle")
    yield f'<line x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}" stroke="{GREY}"/>'
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 44, "time, sam-tiny = 1", INK, anchor="middle")


def _x(time: float, longest: float) -> float:
    return LEFT + (RIGHT - LEFT) * time / (longest * 1.12)


def _y(iou: float) -> float:
    return BOTTOM - (BOTTOM - TOP - 24) * (iou - 0.3) / 0.65


def _short(name: str) -> str:
    return name.removesuffix("-tiny").replace("-tiny+dis-sam", " + dis").replace("vns-sam-tiny", "vns-sam")


def _text(x: float, y: float, text: str, colour: str, *, size: int = 13, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
    )
