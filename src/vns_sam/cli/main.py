"""The command ``vns-sam``: finds the verb, runs it, and turns errors into one line and an exit code.

Each verb is a module with ``add_arguments(parser)`` and ``run(args)``; it is imported when it is used, and
imports torch only when it runs, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from vns_sam.cli.ends import (
    INTERRUPTED,
    TERMINATED,
    Terminated,
    accept_all_names,
    drop_output,
    flush_output,
    leave,
    lost,
    signals_heard,
)
from vns_sam.cli.lines import add_json
from vns_sam.cli.threads import settle_threads, take_threads
from vns_sam.errors import MissingExtraError, UsageError, VnsSamError, printable, without_key

VERBS = {
    "demo": "segment a bundled picture with the bundled model, offline",
    "segment": "masks for a picture or a folder, from boxes or clicks",
    "serve": "a page to click on, and a service others plug into",
    "export": "a model as graphs that run without torch, and in other programs",
    "models": "list the models, tell their cost, convert the authors' checkpoints",
    "pseudo-label": "masks to learn from, out of scribbles, points or boxes",
    "train": "train from a recipe; continues a run that was stopped",
    "make": "a model from its sets: all steps of a pipeline",
    "study": "train and measure every row of a table",
    "bench": "speed and memory of models on this machine",
    "data": "list, build, check, import and score data sets",
    "evaluate": "measure a model on sets of pictures with masks",
    "completion": "completion of commands and options in your shell",
}
EXTRAS = {"torch": "torch", "scipy": "torch", "transformers": "torch", "huggingface_hub": "torch"}
"""Packages that whole verbs stand on, and the extra that brings them."""
VERB_EXTRAS = {
    **dict.fromkeys(("train", "make", "study"), "train,eval"),
    **{"evaluate": "eval", "export": "export"},
}
"""The extras that hold all that a verb may ask for, torch included: one installation, not one after the other."""
GLOBAL_FLAGS = ("--debug", "--quiet")


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as a :class:`UsageError` instead of printing the whole usage; knows ``--json``, as
    every verb and action does.
    """

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        add_json(self)

    def error(self, message: str) -> None:  # type: ignore[override]
        """Called by argparse."""
        raise UsageError(message, hint=f"{self.prog} --help")


def enter() -> NoReturn:
    """The command ``vns-sam`` as a process of its own. ``python -m`` ends as Python does: profilers wait for that."""
    leave(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        argv: Arguments after the program's name; those of the process when None.

    Returns:
        The exit code: 0 done, 2 usage, 3 bad input, 4 bad checkpoint, 5 a missing extra, 130 interrupted, 143 ended.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug, quiet = (flag in arguments for flag in GLOBAL_FLAGS)
    _calm(debug=debug, quiet=quiet)
    accept_all_names()
    try:
        threads, arguments = take_threads(arguments)
        settle_threads(threads)
        with signals_heard():
            code = dispatch([argument for argument in arguments if argument not in GLOBAL_FLAGS], quiet=quiet)
            flush_output()
            return code
    except Terminated:
        return TERMINATED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `vns-sam models list | head -1`
        drop_output()
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error)


def dispatch(arguments: list[str], *, quiet: bool) -> int:
    """Runs one verb; its errors are left to whoever calls.

    Args:
        arguments: Those after the program's name.
        quiet: Whether it prints results only.

    Returns:
        The verb's exit code.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else UsageError.exit_code
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version  # reads what is installed: nothing that other verbs wait for

        print(f"vns-sam {version('vns-sam')}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, 1)
        kind = "option" if verb.startswith("-") else "command"
        raise UsageError(f"unknown {kind} '{verb}'", hint=f"vns-sam {near[0]}" if near else "vns-sam --help")
    module = _module(verb)
    parser = Parser(
        prog=f"vns-sam {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    try:
        if "--help" in rest and hasattr(module, "explain") and (text := module.explain(rest)) is not None:
            print(text)
            return 0
        rest = getattr(module, "arrange", list)(rest)
        if getattr(module, "TAKES_OVERRIDES", False):
            args, overrides = parser.parse_known_args(rest)
            args.overrides = overrides
        else:
            args = parser.parse_args([_shield(argument) for argument in rest])
        args.quiet = quiet
        args.json = getattr(args, "json", False)
        args.command_line = shlex.join(["vns-sam", *map(without_key, arguments)])
        return int(module.run(args))
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise _missing(error.name, EXTRAS[error.name], "this command", verb) from error
    except MissingExtraError as error:
        raise _missing(error.package, error.extra, error.purpose, verb) from error


def whole_parser() -> argparse.ArgumentParser:
    """All verbs in one parser, as completion wants it."""
    parser = Parser(prog="vns-sam", allow_abbrev=False)
    verbs = parser.add_subparsers()
    for verb, summary in VERBS.items():
        _module(verb).add_arguments(verbs.add_parser(verb, help=summary, allow_abbrev=False))
    return parser


def _missing(package: str, extra: str, purpose: str, verb: str) -> MissingExtraError:
    """Names the extra of the whole verb where torch is what is missing first."""
    whole = VERB_EXTRAS.get(verb) if extra == "torch" else None
    return MissingExtraError(package, extra=whole or extra, purpose=purpose)


def _module(verb: str) -> ModuleType:
    return import_module(f"vns_sam.cli.{verb.replace('-', '_')}")


def _shield(argument: str) -> str:
    """Marks numbers such as -inf or -1e3, which argparse would take for options, as values."""
    try:
        float(argument)
    except ValueError:
        return argument
    return f" {argument}" if argument.startswith("-") else argument


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items())
    return (
        "Segment what hardly stands out: camouflage, polyps, objects in the dark, surface defects.\n\n"
        f"usage: vns-sam COMMAND [options]\n\n{verbs}\n\n"
        "  vns-sam COMMAND --help  tells the options of a command\n"
        "  -V, --version           tells the version\n"
        "  --threads N             computes in N threads instead of one for each core\n"
        "  --json                  prints results as JSON, one object a line, and all else on stderr\n"
        "  --quiet                 prints results only, no notes and no progress\n"
        "  --debug                 shows the traceback of an error\n\n"
        "exit codes: 0 done, in part too (what failed is told; with --strict it is 3); 2 usage; 3 bad input or data,\n"
        "or nothing could be done; 4 bad checkpoint; 5 a missing extra; 130 interrupted; 143 ended by a signal"
    )


def _calm(*, debug: bool, quiet: bool) -> None:
    """Lets our own notes through to stderr and silences the chatter of libraries."""
    if debug:
        logging.basicConfig(level=logging.INFO, force=True)
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    warnings.simplefilter("ignore")
    ours = logging.getLogger("vns_sam")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(logging.ERROR if quiet else logging.WARNING)


def _report(error: Exception) -> int:
    if isinstance(error, VnsSamError):
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"try: {error.hint}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
        drop_output()
        return _report(lost(error))
    line = printable(" ".join(str(error).split()))
    print(f"error: {type(error).__name__}: {line} (a fault of vns-sam, not of yours)", file=sys.stderr)
    print("try: the same command with --debug, and report what it prints", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
