"""A folder of files that is a page to click on: the model runs in the browser, any file server will do."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from importlib.resources import files
from pathlib import Path

from vns_sam.errors import DataError, UsageError
from vns_sam.export.onnx import write
from vns_sam.export.store import Precision
from vns_sam.images.write import atomic_path, write_bytes
from vns_sam.sam.promptable import PromptableNetwork

RUNTIME = "onnxruntime-web@1.22.0"
"""What runs the graphs in a browser, by its name at npm; MIT licence."""
ELSEWHERE = "fetch it elsewhere and give --runtime FILE.tgz"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def write_page(
    model: PromptableNetwork, folder: Path, precision: Precision = "fp16", runtime: Path | None = None
) -> None:
    """Writes the page, the graphs and the runtime.

    Args:
        model: One that takes prompts.
        folder: Where the page goes.
        precision: Of the weights, which are most of what a visitor fetches.
        runtime: The package onnxruntime-web, a folder or a ``.tgz``; fetched with npm when omitted.

    Raises:
        UsageError: The model takes no prompts, or refines its masks.
        DataError: The package lacks a file, or is not given and cannot be fetched.
    """
    if not model.info.prompts or model.info.alpha:
        raise UsageError(f"expected a model with an encoder and a decoder, '{model.name}' is none", hint="vns-sam-tiny")
    _write_runtime(folder / "ort", runtime)
    for file in files("vns_sam.export").joinpath("page").iterdir():
        write_bytes(folder / file.name, file.read_bytes())
    write(model, folder, precision)


def _write_runtime(folder: Path, runtime: Path | None) -> None:
    with tempfile.TemporaryDirectory() as place:
        package = _fetched(Path(place)) if runtime is None else runtime
        if package.is_file():
            package = _unpacked(package, Path(place))
        dist = package / "dist" if (package / "dist").is_dir() else package
        for name in RUNTIME_FILES:
            if not (dist / name).is_file():
                raise DataError(f"{dist} holds no {name}", hint=f"give the package {RUNTIME}")
            with atomic_path(folder / name) as part:
                shutil.copyfile(dist / name, part)


def _fetched(place: Path) -> Path:
    """The package as npm packs it."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(f"fetching {RUNTIME} needs npm, which is not here", hint=f"install Node.js, or {ELSEWHERE}")
    done = subprocess.run([npm, "pack", "--json", RUNTIME], cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"npm could not fetch {RUNTIME}", hint=ELSEWHERE)
    return place / str(json.loads(done.stdout)[0]["filename"])


def _unpacked(archive: Path, place: Path) -> Path:
    """The files of a package that are needed; nothing else is unpacked."""
    try:
        with tarfile.open(archive) as package:
            wanted = [member for member in package if Path(member.name).name in RUNTIME_FILES and member.isfile()]
            package.extractall(place, wanted, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{archive} is no package of npm ({error})", hint=f"npm pack {RUNTIME}") from None
    return place / "package"
