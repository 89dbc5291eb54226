"""A page to click on, and a service that labelling tools plug into.

  vns-sam serve                              the page at http://127.0.0.1:8000: open, drop or paste pictures
  vns-sam serve photos/ --out masks/         label a folder; what was done is there again the next time
  vns-sam serve --host 0.0.0.0 --api-key "$(openssl rand -hex 16)"    for other machines, which show the key
  vns-sam serve --name segment.example.com --api-key ...    behind a proxy on this machine, see docs/serving.md

Label Studio and X-AnyLabeling connect to the same address, see docs/serving.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vns_sam.cli.lines import print_json
from vns_sam.cli.numbers import at_least, number
from vns_sam.cli.predictor import add_backend
from vns_sam.errors import DataError, MissingExtraError

MILLIONS = number(0.001, 1_000_000)
"""Of bytes or of pixels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="pictures to label")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where their masks go")
    parser.add_argument("--model", action="append", metavar="MODEL", help="on offer, the default first; repeatable")
    parser.add_argument("--refine", default="dis-sam-tiny", metavar="MODEL", help="what redraws masks on demand")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: %(default)s)")
    add_backend(parser)
    parser.add_argument(
        "--learn",
        metavar="DIR",
        help="where 'Learn from these' trains; 'off' offers it to nobody (runs/learned, off with --host and --name)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s, this machine only")
    parser.add_argument("--port", type=at_least(1, 65_535), default=8000, help="default: %(default)s")
    parser.add_argument(
        "--name", action="append", default=[], metavar="NAME", help="by which a proxy's clients ask it; repeatable"
    )
    parser.add_argument("--api-key", action="append", default=[], metavar="KEY", help="clients show it; repeatable")
    parser.add_argument(
        "--memory", type=MILLIONS, default=2000, metavar="MB", help="for pictures (default: %(default)g)"
    )
    parser.add_argument("--workers", type=at_least(1), default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument(
        "--log",
        action=argparse.BooleanOptionalAction,
        help="a line of JSON for each request on stderr (default: where that is no terminal)",
    )
    parser.add_argument("--label-studio", default="", metavar="URL", help="whose pictures may be fetched")
    parser.add_argument("--label-studio-token", default="", metavar="TOKEN", help="what it wants to be shown")
    parser.add_argument("--max-upload", type=MILLIONS, default=50, metavar="MB", help="default: %(default)g")
    parser.add_argument("--max-pixels", type=MILLIONS, default=64, metavar="MILLIONS", help="default: %(default)g")


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    try:
        import uvicorn  # noqa: F401

        from vns_sam.serving.server import build_server
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette"):
            raise
        raise MissingExtraError(str(error.name), extra="serve", purpose="vns-sam serve") from None
    from vns_sam.serving.settings import BUNDLED, Limits, Settings

    settings = Settings(
        models=tuple(args.model or BUNDLED),
        refiner=args.refine or None,
        device=args.device,
        backend=args.backend,
        host=args.host,
        port=args.port,
        names=tuple(args.name),
        memory=round(args.memory * 1e6),
        api_keys=tuple(args.api_key),
        folder=args.folder,
        out=args.out,
        learn=_learn(args),
        log=not (args.quiet or sys.stderr.isatty()) if args.log is None else args.log,
        label_studio=args.label_studio,
        label_studio_token=args.label_studio_token,
        limits=Limits(upload_bytes=round(args.max_upload * 1e6), pixels=round(args.max_pixels * 1e6)),
    )
    server = build_server(settings) if args.workers == 1 else None
    address = f"http://{args.host}:{args.port}"
    print_json({"address": address}) if args.json else print(f"{address}  (Ctrl+C stops it)", flush=True)
    if server is None:
        from vns_sam.serving.workers import run_workers

        run_workers(settings, args.workers)
        return 0
    try:
        server.run()
    except SystemExit:
        raise DataError(f"cannot listen on {args.host}:{args.port}", hint="another --port") from None
    return 0


def _learn(args: argparse.Namespace) -> Path | None:
    """Where it is learned: others may not put this machine to work unless that was said."""
    from vns_sam.serving.settings import is_loopback

    if args.learn is None:
        return Path("runs/learned") if is_loopback(args.host) and not args.name else None
    return None if args.learn == "off" else Path(args.learn)
