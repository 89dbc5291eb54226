"""Does the wheel install and work as people install it: each extra alone, each Python, the oldest versions allowed?

python benchmarks/installs.py                                       the package alone and each extra, on this Python
python benchmarks/installs.py --pythons python3.12 python3.13 --extras "" serve hub completion
python benchmarks/installs.py --lowest --extras ""                  every dependency at its lower bound

Each is a wheel in an environment of its own, asked for what the extra is there for, outside the repository. Without
extras these are tried besides: no HOME, one that cannot be written, and, when root, a package that cannot be written
and no network. ``--first "torch==2.13.0"`` is installed before what needs torch.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "src" / "vns_sam" / "assets" / "demo.jpg"
SEGMENT = "{bin}/vns-sam segment demo.jpg --box 198 98 449 311 --force"
TRAIN = (
    "{bin}/vns-sam train vns_sam_tiny.yaml --out run --data.root . --data.sets '{{set: 1}}' --data.plain '[]'"
    " --data.sizes '[64]' --steps 1 --batch_size 1 --workers 0 --validation.every 1"
)
PROBES = {
    "": (SEGMENT, "{bin}/vns-sam demo", "{bin}/vns-sam models list", "{bin}/vns-sam train --list"),
    "torch": (SEGMENT + " --backend torch",),
    "hub": ("{bin}/python -c 'import huggingface_hub, vns_sam'", SEGMENT),
    "export": ("{bin}/vns-sam export sam-tiny --out graphs",),
    "eval": ("{bin}/vns-sam evaluate sam-tiny --data set --prompt box --out report",),
    "train": (TRAIN,),
    "serve": ("{bin}/python -c 'from vns_sam.serving.app import create_app'", "{bin}/vns-sam serve --help"),
    "cluster": ("{bin}/vns-sam segment set/images --prompts boxes.csv --out masks --cluster --actors 1",),
    "completion": ("{bin}/vns-sam completion bash",),
}
"""What an extra is there for, in a folder with ``demo.jpg`` and a small set."""
TORCH = {"torch", "export", "eval", "train"}
REFUSED = {
    "train": "vns-sam train vns_sam_tiny.yaml",
    "serve": "vns-sam serve",
    "completion": "vns-sam completion bash",
}
"""Of the package alone: must end with 5 and name the extra."""


def main() -> int:
    """Prints a row for each environment and place; 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythons", nargs="+", default=[sys.executable])
    parser.add_argument("--extras", nargs="+", default=list(PROBES), choices=list(PROBES))
    parser.add_argument("--lowest", action="store_true", help="every dependency at its lower bound")
    parser.add_argument("--first", default="torch", metavar="REQUIREMENT", help="installed before what needs torch")
    args = parser.parse_args()
    print("| Python | extra | place | what | ended |\n|---|---|---|---|---|")
    failed = 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)])
        (wheel,) = folder.glob("*.whl")
        for python in args.pythons:
            asked = [python, "-c", "import platform; print(platform.python_version())"]
            version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
            for extra in args.extras:
                environment = folder / "environment"
                shutil.rmtree(environment, ignore_errors=True)
                told = _install(python, environment, wheel, extra, args)
                for place, what, problem in told or _try(environment, extra, folder / "work"):
                    failed += bool(problem)
                    print(f"| {version} | {extra or '-'} | {place} | {what} | {problem or 'well'} |", flush=True)
    return int(failed > 0)


def _install(
    python: str, environment: Path, wheel: Path, extra: str, args: argparse.Namespace
) -> list[tuple[str, str, str]]:
    """Makes an environment; a row when that fails."""
    try:
        _run([python, "-m", "venv", str(environment)])
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        if extra in TORCH:
            _run([*pip, args.first])  # on its own: with the others, pip may move it
        pins = lower_bounds(extra) if args.lowest else []
        _run([*pip, f"{wheel}[{extra}]" if extra else str(wheel), *pins])
    except subprocess.CalledProcessError as error:
        return [("install", " ".join(map(str, error.cmd[-3:])), _last_line(error.stderr))]
    return []


def lower_bounds(extra: str) -> list[str]:
    """``name==bound.*`` of each dependency of the package and an extra; torch stays what is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = list(project["dependencies"])
    wanted = [extra] if extra else []
    while wanted:
        for text in project["optional-dependencies"][wanted.pop()]:
            requirement = Requirement(text)
            if requirement.name == "vns-sam":
                wanted += requirement.extras
            elif requirement.name != "torch":
                listed.append(text)
    bounds = []
    for text in listed:
        found = re.search(r">=\s*([\d.]+)", text)
        if found is not None:
            numbers = [*found.group(1).split("."), "0"][: max(2, found.group(1).count(".") + 1)]
            bounds.append(f"{Requirement(text).name}=={'.'.join(numbers)}.*")
    return bounds


def _try(environment: Path, extra: str, work: Path) -> Iterator[tuple[str, str, str]]:
    """Place, command and what went wrong."""
    _make_work(work, environment)
    usual = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    home = work / "home"
    home.mkdir(exist_ok=True)
    yield from _ask(PROBES[extra], environment, work, usual | {"HOME": str(home)}, "its own folder")
    if extra:
        return
    for needs, command in REFUSED.items():
        ended = _shell(f"{environment}/bin/{command}", work, usual | {"HOME": str(home)})
        said = re.search(rf"vns-sam\[[\w,]*{needs}", ended.stderr) is not None
        right = ended.returncode == 5 and said
        yield "without the extra", command, "" if right else f"{ended.returncode}: {_last_line(ended.stderr)}"
    asked = (SEGMENT,)
    yield from _ask(asked, environment, work, usual, "no HOME")
    yield from _ask(asked, environment, work, usual | {"HOME": "/proc/1/nowhere"}, "a HOME that cannot be written")
    if os.geteuid() == 0:
        sealed = (
            f"unshare -m sh -c 'mount --bind {environment} {environment} && mount -o remount,ro,bind {environment} && "
        )
        yield from _ask((f"{sealed}{SEGMENT}'",), environment, work, usual, "a package that cannot be written")
        yield from _ask((f"unshare -n {SEGMENT}",), environment, work, usual, "no network")


def _ask(
    commands: tuple[str, ...], environment: Path, work: Path, variables: dict[str, str], place: str
) -> Iterator[tuple[str, str, str]]:
    for command in commands:
        ended = _shell(command.format(bin=environment / "bin"), work, variables)
        shown = command[command.index("{bin}") :].replace("{bin}/", "").rstrip("'") if "{bin}" in command else command
        yield place, shown, f"{ended.returncode}: {_last_line(ended.stderr)}" if ended.returncode else ""


def _make_work(work: Path, environment: Path) -> None:
    """A folder with the demo's picture, and a set of four copies of it with masks."""
    shutil.rmtree(work, ignore_errors=True)
    for part in ("images", "masks"):
        (work / "set" / part).mkdir(parents=True)
    shutil.copy(PICTURE, work / "demo.jpg")
    code = (
        "import numpy as np; from vns_sam.images.read import read_image; from vns_sam.images.write import write_mask; "
        "image = read_image('demo.jpg'); mask = np.zeros(image.shape[:2], bool); mask[98:311, 198:449] = True; "
        "[write_mask(f'set/masks/{k}.png', mask) for k in range(4)]"
    )
    subprocess.run([environment / "bin" / "python", "-c", code], cwd=work, check=True)
    for k in range(4):
        shutil.copy(PICTURE, work / "set" / "images" / f"{k}.jpg")
    rows = "".join(f"{k}.jpg,198,98,449,311\n" for k in range(4))
    (work / "boxes.csv").write_text("image,x1,y1,x2,y2\n" + rows)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _shell(command: str, work: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, shell=True, cwd=work, env=variables, capture_output=True, text=True)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no words"])[-1][:200]


if __name__ == "__main__":
    raise SystemExit(main())
