"""`quietwire-train`: one verb a step."""

from __future__ import annotations

import argparse
import importlib
import sys

VERBS = {
    "public": ("public", "lay an unpacked public set into a folder for prepare"),
    "prepare": ("data", "decode a folder of speech and noise into one store"),
    "rooms": ("rooms", "simulate room impulse responses"),
    "train": ("train", "train a network; resumes"),
    "export": ("export", "write a checkpoint as a model folder"),
    "golden": ("golden", "write golden vectors of a model folder"),
    "devset": ("devset", "mix the development pairs"),
    "score": ("score", "score systems on pairs"),
}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="quietwire-train", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, (module, text) in VERBS.items():
        # Only the verb that runs is imported: scoring must not ask for PyTorch, nor training for PESQ.
        child = verbs.add_parser(verb, help=text, description=text)
        if argv[:1] == [verb]:
            importlib.import_module(f".{module}", __package__).add_arguments(child)
    args = parser.parse_args(argv)
    return importlib.import_module(f".{VERBS[args.verb][0]}", __package__).run(args)


if __name__ == "__main__":
    raise SystemExit(main())
