"""Arguments that the commands of the package share."""

from __future__ import annotations

import argparse


def add_denoiser_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `quietwire.clean_file` with the same names."""
    parser.add_argument("--model", help="id of a model, or the path of its folder (default: base)")
    parser.add_argument("--level", choices=["low", "medium", "high"], help="12, 20 or 40 dB (default: high)")
    parser.add_argument("--attenuation-db", type=float, metavar="DB", help="largest attenuation, dB")
    parser.add_argument("--channel-mode", choices=["independent", "linked"], default="independent")
