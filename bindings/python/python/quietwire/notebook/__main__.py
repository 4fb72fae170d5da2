"""python -m quietwire.notebook FOLDER -o PAGE"""

from __future__ import annotations

import argparse
import sys

import quietwire
from quietwire._arguments import add_denoiser_arguments

from ._gallery import gallery


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m quietwire.notebook",
        description="Writes one HTML page with players and spectrograms of every recording of a folder, before "
        "and after noise suppression. Spectrograms need matplotlib.",
        epilog="Exit codes: 0 all done, 1 a file failed, 2 wrong usage.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of recordings")
    parser.add_argument("-o", "--output", metavar="PAGE", default="gallery.html", help="default: gallery.html")
    add_denoiser_arguments(parser)
    parser.add_argument("--max-s", type=float, default=15.0, metavar="S", help="seconds of each (default: 15)")
    parser.add_argument("--title", help="heading (default: the name of the folder)")
    return parser


def main() -> int:
    arguments = parser().parse_args()
    try:
        written = gallery(
            arguments.folder,
            arguments.output,
            arguments.model,
            level=arguments.level,
            attenuation_db=arguments.attenuation_db,
            channel_mode=arguments.channel_mode,
            max_s=arguments.max_s,
            title=arguments.title,
            progress=lambda name: print(name, file=sys.stderr, flush=True),
        )
    except (quietwire.QuietwireError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, cause in written.failures:
        print(f"failed: {name}: {cause}", file=sys.stderr)
    print(
        f"{arguments.output}: {len(written.recordings)} recordings, {len(written.failures)} failed, "
        f"{written.size / 1e6:.1f} MB"
    )
    return 1 if written.failures else 0


if __name__ == "__main__":
    sys.exit(main())
