"""python -m quietwire.ray INPUT OUTPUT"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from typing import Any

import ray.data

from quietwire import QuietwireError
from quietwire._arguments import add_denoiser_arguments

from ._pipeline import Summary, clean_folder


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m quietwire.ray",
        description="Cleans every recording of a folder on all cores. An interrupted run goes on where it "
        "ended when it is started again.",
        epilog="Exit codes: 0 all done, 1 a file failed, 2 wrong usage.",
    )
    parser.add_argument("input", metavar="INPUT", help="folder: a path, or an address such as s3://bucket/folder")
    parser.add_argument("output", metavar="OUTPUT", help="folder for the cleaned recordings")
    add_denoiser_arguments(parser)
    parser.add_argument("--format", choices=["wav", "flac"], default="wav")
    parser.add_argument("--workers", type=int, metavar="N", help="workers, one core each (default: all cores)")
    parser.add_argument(
        "--storage-options",
        action="append",
        default=[],
        type=storage_options,
        metavar="OPTIONS",
        help="arguments for the file systems of fsspec: key=value, a JSON object, or @FILE with a JSON object; "
        "may be repeated. Example: endpoint_url=http://localhost:9000",
    )
    parser.add_argument("--quiet", action="store_true", help="print only failures and the summary")
    return parser


def storage_options(text: str) -> dict[str, Any]:
    """The options of one argument. In key=value, true and false are truth values, all else is text."""
    if not text.startswith(("{", "@")):
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise argparse.ArgumentTypeError(f"expected key=value, a JSON object or @FILE, found {text!r}")
        return {key: {"true": True, "false": False}.get(value, value)}
    try:
        if text.startswith("@"):
            with open(text[1:], encoding="utf-8") as file:
                text = file.read()
        options = json.loads(text)
    except (OSError, ValueError) as error:
        # The text may have a password.
        raise argparse.ArgumentTypeError(f"expected a JSON object: {error}") from None
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, found {type(options).__name__}")
    return options


def main() -> int:
    arguments = parser().parse_args()
    is_terminal = sys.stderr.isatty()
    # This program prints its own progress.
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def progress(summary: Summary, total: int) -> None:
        done = summary.cleaned + summary.done_before + summary.failed
        text = f"{done} of {total} files, {summary.audio_s / 3600:.2f} h of audio, {summary.failed} failed"
        if is_terminal:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif done % 100 == 0 or done == total:
            print(text, file=sys.stderr, flush=True)

    try:
        summary = clean_folder(
            arguments.input,
            arguments.output,
            model=arguments.model,
            level=arguments.level,
            attenuation_db=arguments.attenuation_db,
            channel_mode=arguments.channel_mode,
            format=arguments.format,
            workers=arguments.workers,
            storage_options={key: value for given in arguments.storage_options for key, value in given.items()},
            progress=None if arguments.quiet else progress,
        )
    except (QuietwireError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if is_terminal and not arguments.quiet:
        print(file=sys.stderr)
    for failure in summary.failures:
        print(f"failed: {failure.name}: {failure.error}", file=sys.stderr)
    print(
        f"{summary.cleaned} cleaned, {summary.done_before} done before, {summary.failed} failed, "
        f"{summary.other_files} other files; {summary.audio_s / 3600:.3f} h of audio in "
        f"{summary.run_s:.0f} s, {summary.hours_per_core_hour:.1f} h for each core-hour"
    )
    return 1 if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
