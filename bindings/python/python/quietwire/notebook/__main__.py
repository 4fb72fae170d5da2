"""python -m quietwire.notebook FOLDER -o PAGE"""

from __future__ import annotations

import argparse
import sys

import quietwire

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
    parser.add_argument("--model", help="id of a model, or the path of its folder (default: base)")
    parser.add_argument("--level", choices=["low", "medium", "high"], help="12, 20 or 40 dB (default: high)")
    parser.add_argument("--attenuation-db", type=float, metavar="DB", help="largest attenuation, dB")
    parser.add_argument("--channel-mode", choices=["independent", "linked"], default="independent")
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
