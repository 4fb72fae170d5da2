"""`quietwire-train`: one command for each step from recordings to a scored model."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = {
    "import": ("import_set", "link an unpacked public data set into a folder for prepare"),
    "prepare": ("store", "decode a folder of speech and noise into a store"),
    "targets": ("targets", "clean noisy speech recordings of a store once, as targets"),
    "rir": ("rir", "simulate room impulse responses"),
    "train": ("train", "train a network, or resume a run"),
    "export": ("export", "write a checkpoint as a model folder"),
    "export-deepfilternet": (
        "export_deepfilternet",
        "write a checkpoint of DeepFilterNet3 as a model folder",
    ),
    "golden": ("golden", "write golden vectors of a model folder"),
    "devset": ("devset", "mix the pairs of a benchmark"),
    "score": ("score", "score systems on pairs"),
    "residue": ("residue", "measure what systems leave of noise: tones, onset, steadiness"),
}
OLD_COMMANDS = {"public": "import", "rooms": "rir"}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="quietwire-train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    argv = [OLD_COMMANDS.get(argv[0], argv[0]), *argv[1:]] if argv else argv
    for command, (module, text) in COMMANDS.items():
        # Only the module of the given command is imported: scoring does not need PyTorch, nor training PESQ.
        child = commands.add_parser(command, help=text, description=text)
        if argv[:1] == [command]:
            importlib.import_module(f".{module}", __package__).add_arguments(child)
    args = parser.parse_args(argv)
    return importlib.import_module(f".{COMMANDS[args.command][0]}", __package__).run(args)


if __name__ == "__main__":
    raise SystemExit(main())
