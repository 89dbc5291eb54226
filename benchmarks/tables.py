"""Writes the tables of README, cards and documents from ``results/*.json``; ``make docs`` runs it.

python benchmarks/tables.py            writes them
python benchmarks/tables.py --check    only says which are not what the results say; exit code 1 when one is

A table stands between two comments in a Markdown file; the first says what it shows::

    <!-- table results/bundled.json rows=set columns=model cells=iou/biou prompt=box best=yes -->
    <!-- end of table -->

``rows`` and ``columns`` name fields out of model, set, prompt and metric, several with commas. ``cells`` are metrics,
with ``/`` between those that share a cell. ``model``, ``set`` and ``prompt`` choose among the rows, with commas, and
give their order. ``best=yes`` makes the best of each line bold, ``interval=yes`` shows 95 % intervals, ``count=yes``
and ``kind=yes`` add columns about the set, ``command=yes`` a last column with the command that measures its line again:
``vns-sam evaluate`` is told of the line's models and set alone. What measures the whole table at once stands below it.
"""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import figure

from vns_sam.evaluation.results import ResultRow, Results, Score, read_results

Scores = list[Score | None]
"""Of the metrics that share a cell."""

REPOSITORY = Path(__file__).parents[1]
FILES = ("README.md", "docs/**/*.md", "src/vns_sam/weights/*/README.md")
TABLE = re.compile(r"(<!-- table (.*?) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)
EVALUATE = "vns-sam evaluate"
DECIMALS = {"ms": 0, "ratio": 2, "floors": 2, "hce": 0, "noc85": 2, "noc90": 2, "worth_iou": 4, "worth_biou": 4}
LESS_IS_BETTER = {"ms", "ratio", "mae", "hce", "noc85", "noc90"}
TITLES = {
    "iou": "IoU",
    "biou": "boundary IoU",
    "mae": "MAE",
    "hce": "HCE",
    "s": "S",
    "mean_f": "mean F",
    "max_f": "max F",
    "adaptive_f": "adaptive F",
    "weighted_f": "weighted F",
    "mean_e": "mean E",
    "label_iou": "label IoU",
    "points:1": "1 point",
    "points:10": "10 points",
    "points": "10 points",
    "noise-box": "noise box",
    "ms": "milliseconds",
    "taken": "seconds",
    "floors": "in floors",
    "ratio": "sam-tiny = 1",
    "count": "pictures",
    "vns-sam-tiny+runs/dis-no-guard": "always refined",
    "thin_structures": "thin structures",
    "worth_iou": "IoU",
    "worth_biou": "boundary IoU",
    "score_r": "correlation",
    "score_error": "mean error",
    "score_bias": "score less IoU",
    "box: zero": "nothing in its place",
    "box: mean": "its mean",
    "box: shuffle": "its places shuffled",
}


def main() -> int:
    """Writes or checks; the exit code."""
    check = "--check" in sys.argv[1:]
    wrong = [path for path in documents() if not refresh(path, check=check)]
    wrong += figure.refresh(check=check)
    for path in wrong:
        print(f"{path.relative_to(REPOSITORY)}: {'is not what the results say' if check else 'written'}")
    if check and wrong:
        print("try: make docs", file=sys.stderr)
    return 1 if check and wrong else 0


def documents() -> list[Path]:
    """Files that may hold tables."""
    return sorted({path for pattern in FILES for path in REPOSITORY.glob(pattern)})


def refresh(path: Path, *, check: bool) -> bool:
    """Whether a file's tables are what the results say; writes them unless ``check``."""
    text = path.read_text(encoding="utf-8")
    made = TABLE.sub(lambda match: f"{match[1]}{table(match[2])}{match[4]}", text)
    if made != text and not check:
        path.write_text(made, encoding="utf-8")
    return made == text


def table(order: str) -> str:
    """The table that a comment orders, in Markdown."""
    file, *words = shlex.split(order)
    options = dict(word.split("=", 1) for word in words)
    results = read_results(REPOSITORY / file)
    cells = [tuple(cell.split("/")) for cell in options["cells"].split(",")]
    down, across = ([name for name in options[key].split(",") if name] for key in ("rows", "columns"))
    chosen = list(choose(results.rows, options, [*down, *(name for name in across if name != "metric")]))
    heads = unique(tuple(field(row, name) for name in across if name != "metric") for row in chosen)
    columns = [(head, cell) for head in heads for cell in cells]
    more = [name for name in ("kind", "count") if options.get(name) == "yes"]
    titles = [*down, *(TITLES.get(name, name) for name in more)]
    for head, cell in columns:
        titles.append(" / ".join(title(results, part) for part in (*head, *(cell if "metric" in across else ()))))
    commands = options.get("command") == "yes" and "set" in down and EVALUATE in results.command
    text = [f"| {' | '.join([*titles, *['command'] * commands])} |"]
    numbers = "--:|" * (len(columns) + ("count" in more))
    text.append("|" + "---|" * (len(down) + ("kind" in more)) + numbers + "---|" * commands)
    for line in unique(tuple(field(row, name) for name in down) for row in chosen):
        mine = [row for row in chosen if tuple(field(row, name) for name in down) == line]
        about = [results.sets.get(mine[0].set, "") if name == "kind" else str(mine[0].count or "") for name in more]
        shown = cells_of([find(mine, across, head, cell) for head, cell in columns], [c for _, c in columns], options)
        last = [f"`{command_of(results.command, dict(zip(down, line, strict=True)))}`"] if commands else []
        text.append(f"| {' | '.join([*(TITLES.get(name, name) for name in line), *about, *shown, *last])} |")
    block = "\n".join(text) + "\n"
    return block + (f"\n```\n{results.command}\n```\n" if options.get("command") == "yes" and not commands else "")


def command_of(command: str, line: Mapping[str, str]) -> str:
    """The command of one line out of that of a whole table: its set alone, and its model where the line has one."""
    words = shlex.split(command)
    place = words.index("--data") + 1
    sets = list(itertools.takewhile(lambda word: not word.startswith("-"), words[place:]))
    own = [word for word in sets if Path(word).name in (line["set"], line["set"].split()[0])] or sets
    words[place : place + len(sets)] = own
    models = list(itertools.takewhile(lambda word: not word.startswith("-"), words[2:]))
    words[2 : 2 + len(models)] = [word for word in models if word == line.get("model")] or models
    for option in ("--out", "--save", "--group"):
        while option in words:
            del words[words.index(option) : words.index(option) + 2]
    return shlex.join(words)


def cells_of(scores: Sequence[Scores], cells: Sequence[Sequence[str]], options: Mapping[str, str]) -> list[str]:
    """The cells of one line."""
    best = winners(scores, cells) if options.get("best") == "yes" else set()
    interval = options.get("interval") == "yes"
    return [
        write(part, cell, {place for column, place in best if column == i}, interval=interval)
        for i, (part, cell) in enumerate(zip(scores, cells, strict=True))
    ]


def choose(rows: Sequence[ResultRow], options: Mapping[str, str], down: Sequence[str]) -> Iterator[ResultRow]:
    """The rows that the options name, in the order of the table's lines and of the options."""
    wanted = {name: options[name].split(",") for name in ("model", "set", "prompt") if name in options}
    for name, values in wanted.items():
        missing = set(values) - {field(row, name) for row in rows}
        if missing:
            sys.exit(f"error: no {name} '{sorted(missing)[0]}' in the results of a table")
    kept = [row for row in rows if all(field(row, name) in values for name, values in wanted.items())]
    order = {name: wanted.get(name, unique(field(row, name) for row in kept)) for name in down}
    yield from sorted(kept, key=lambda row: [order[name].index(field(row, name)) for name in order])


def field(row: ResultRow, name: str) -> str:
    """A field of a row by its name."""
    return {"model": row.model, "set": row.set, "prompt": row.prompt}[name]


def find(
    rows: Sequence[ResultRow], across: Sequence[str], head: Sequence[str], cell: Sequence[str]
) -> list[Score | None]:
    """The scores of one cell."""
    names = [name for name in across if name != "metric"]
    row = next((row for row in rows if [field(row, name) for name in names] == [*head]), None)
    return [row.scores.get(metric) if row else None for metric in cell]


def winners(scores: Sequence[Scores], cells: Sequence[Sequence[str]]) -> set[tuple[int, int]]:
    """Column and place in its cell of the best score of each metric."""
    found: set[tuple[int, int]] = set()
    for part in range(max(map(len, cells))):
        for metric in unique(cell[part] for cell in cells if len(cell) > part):
            sign = -1 if metric in LESS_IS_BETTER else 1
            values = {
                i: sign * round(score.mean, decimals(metric))
                for i, (cell, group) in enumerate(zip(cells, scores, strict=True))
                if len(cell) > part and cell[part] == metric and (score := group[part]) is not None
            }
            best = [i for i, value in values.items() if value == max(values.values())]
            found |= {(best[0], part)} if len(values) > 1 and len(best) == 1 else set()
    return found


def write(scores: Scores, cell: Sequence[str], best: set[int], *, interval: bool) -> str:
    """One cell; ``best`` are the places in it that are bold."""
    parts = []
    for place, (metric, score) in enumerate(zip(cell, scores, strict=True)):
        digits = decimals(metric)
        text = "-" if score is None else f"{score.mean + 0.0:.{digits}f}"  # -0.0 is 0
        if score is not None and score.sd is not None:
            text += f" ± {score.sd:.{digits}f}"
        if score is not None and interval and score.low is not None and score.high is not None:
            text += f" [{score.low + 0.0:.{digits}f}, {score.high + 0.0:.{digits}f}]"
        parts.append(f"**{text}**" if place in best else text)
    return " / ".join(parts) if any(scores) else "-"


def decimals(metric: str) -> int:
    """Digits behind the point."""
    return DECIMALS.get(metric, 3)


def title(results: Results, name: str) -> str:
    """A column's title; sets that no model saw in training say so."""
    return f"{name} (unseen)" if "unseen" in results.sets.get(name, "") else TITLES.get(name, name)


def unique(items: Iterable[Any]) -> list[Any]:
    """Each item once, in order."""
    return list(dict.fromkeys(items))


if __name__ == "__main__":
    sys.exit(main())
