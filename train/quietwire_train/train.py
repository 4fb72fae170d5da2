"""The command `train`: options, a recipe, and a run of trainer.py."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from .initialization import load_source
from .loss import OLD_WEIGHT_NAMES, LossWeights
from .net import BLOCKS, NetShape
from .recipe import NEW_BLOCK, Recipe, Schedule, Start, read_recipe
from .trainer import Limits, NonFinite, Trainer, prepare_run

SHARES = {"distillation", "multi_resolution"}  # parts of the loss with a weight from 0 to 1
INTERRUPTED = 130  # exit code after SIGINT or SIGTERM
SIZES = {
    "channels": "channels of a subband",
    "blocks": "blocks in series",
    "summary": "width of the fullband summary",
    "tap_bins": "low bins with a filter over time",
    "tap_order": "hops of that filter",
    "input_hops": "hops at the input",
    "frequency": "state of the GRU over frequency, for each direction",
}


def pick_device(name: str) -> torch.device:
    """`auto` means CUDA if it is available."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def loss_weight(text: str) -> tuple[str, float]:
    """NAME=WEIGHT of a part of the loss."""
    name, _, weight = text.partition("=")
    name = OLD_WEIGHT_NAMES.get(name, name)
    known = asdict(LossWeights())
    if name not in known:
        raise argparse.ArgumentTypeError(f"the loss has no part {name!r}; it has {', '.join(known)}")
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    highest = 1 if name in SHARES else math.inf
    if not 0 <= value <= highest or math.isinf(value):
        bounds = "a share is a number from 0 to 1" if highest == 1 else "a weight is a number from 0 up"
        raise argparse.ArgumentTypeError(f"{text!r}: {bounds}, as in {name}={known[name]}")
    return name, value


def parse_block(text: str) -> int | str:
    """Index of a block, or "new"."""
    if text == NEW_BLOCK:
        return NEW_BLOCK
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: a block is a number from 0 up, or {NEW_BLOCK}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # The perceptual distance needs 0.4 s.
    if not 0.4 <= value <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length from 0.4 to 60 seconds")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    schedule, limits = Schedule(), Limits()
    parser.add_argument("--data", type=Path, required=True, help="folder written by `prepare`")
    parser.add_argument(
        "--rir", "--rooms", type=Path, help="file written by `rir`; without it no reverberation"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="run folder; the run resumes if it holds a checkpoint"
    )
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="values of the run (see train/recipes); options below override it",
    )
    parser.add_argument("--start-from", type=Path, help="checkpoint or model folder to fine-tune")
    parser.add_argument(
        "--keep-blocks",
        type=parse_block,
        nargs="+",
        metavar="N",
        help=f"blocks of that network to keep, counted from 0; {NEW_BLOCK} adds one that starts as the identity",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="MODEL",
        help="checkpoint or model folder of any size; --loss distillation=SHARE measures that share of "
        "spectrum and SDR to its output instead of the clean speech",
    )
    values = parser.add_argument_group("schedule")
    values.add_argument("--steps", type=_count, help=f"default {schedule.steps}")
    values.add_argument("--batch", type=_positive, help=f"clips in a step, default {schedule.batch}")
    values.add_argument("--seconds", type=_seconds, help=f"length of a clip, default {schedule.seconds:g}")
    values.add_argument(
        "--learning-rate", "--rate", type=float, help=f"highest, default {schedule.learning_rate:g}"
    )
    values.add_argument("--warmup", type=_count, help=f"steps, default {schedule.warmup}")
    values.add_argument("--ema-decay", "--averaging", type=float, help=f"default {schedule.ema_decay:g}")
    values.add_argument("--seed", type=int, help=f"default {schedule.seed}")
    values.add_argument(
        "--parts", type=_positive, help=f"parts of a batch in parallel, default {schedule.parts}"
    )
    values.add_argument(
        "--bf16", action="store_true", default=None, help="bfloat16 products, float32 weights"
    )
    sizes = parser.add_argument_group("network", "default: that of the network to fine-tune")
    sizes.add_argument("--block", choices=BLOCKS, help=f"kind of block; else {NetShape().block}")
    for name, text in SIZES.items():
        default = getattr(NetShape(), name)
        sizes.add_argument(f"--{name.replace('_', '-')}", type=_positive, help=f"{text}; else {default}")
    parser.add_argument(
        "--loss",
        type=loss_weight,
        nargs="+",
        default=[],
        metavar="NAME=WEIGHT",
        help="weights of parts of the loss, by default "
        + " ".join(f"{name}={weight}" for name, weight in asdict(LossWeights()).items())
        + "; dnsmos and dnsmos_bak need the package speechmos",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=_count, default=0, help="of PyTorch in each part; 0: cores / parts")
    parser.add_argument("--workers", type=_positive, default=1, help="processes that mix")
    parser.add_argument("--save-every", type=_positive, default=limits.save_steps, help="steps")
    parser.add_argument(
        "--save-minutes", type=float, default=limits.save_minutes, help="save at least as often"
    )
    parser.add_argument(
        "--validate-every", type=_count, default=limits.validate_steps, help="steps; 0: no validation"
    )
    parser.add_argument("--max-minutes", type=float, default=0, help="end the session after; 0: no limit")
    parser.add_argument(
        "--allow-changes", action="store_true", help="resume although recipe or data differ from the start"
    )


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe of the command line: the file, or defaults, with the options that were given."""
    try:
        recipe = read_recipe(args.recipe) if args.recipe else Recipe()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    start = recipe.start
    if args.start_from is not None:
        start = Start(str(args.start_from), (), start.teacher)
    if args.keep_blocks:
        start = replace(start, keep_blocks=tuple(args.keep_blocks))
    if args.teacher is not None:
        start = replace(start, teacher=str(args.teacher))
    weights = dict(args.loss)
    if "distillation" in weights and not start.teacher:
        raise SystemExit("error: --loss distillation=SHARE needs --teacher, the model to learn from")
    if start.keep_blocks and not start.weights:
        raise SystemExit("error: --keep-blocks needs --start-from, the network that has the blocks")
    front_end, network = recipe.front_end, recipe.network
    if args.start_from is not None:
        front_end, network, _ = load_source(args.start_from)
    if args.keep_blocks:
        network = replace(network, blocks=len(args.keep_blocks))
    given = {name: getattr(args, name) for name in NetShape().as_dict()}
    network = replace(network, **{name: size for name, size in given.items() if size is not None})
    given = {entry.name: getattr(args, entry.name, None) for entry in fields(Schedule)}
    schedule = replace(recipe.schedule, **{name: value for name, value in given.items() if value is not None})
    return replace(
        recipe,
        front_end=front_end,
        network=network,
        schedule=schedule,
        loss=replace(recipe.loss, **weights),
        start=start,
    )


def run(args: argparse.Namespace) -> int:
    recipe = recipe_of(args)
    device = pick_device(args.device)
    for path, option in ((args.data / "clips.json", "--data"), (args.rir, "--rir")):
        if path is not None and not path.is_file():
            raise SystemExit(f"error: {option}: there is no file {path}")
    if recipe.schedule.bf16 and not has_fast_bf16(device):
        raise SystemExit(
            "error: bf16: this processor has no bfloat16 products, and PyTorch would compute them "
            "several times slower than float32. Train without bf16."
        )
    torch.set_num_threads(args.threads or max(1, (os.cpu_count() or 1) // recipe.schedule.parts))
    limits = Limits(args.save_every, args.save_minutes, args.validate_every, args.max_minutes)
    try:
        trainer = Trainer(recipe, args.data, args.rir, args.out, device, args.workers)
        prepare_run(trainer, args.allow_changes)
        finished = trainer.run(limits)
    except (NonFinite, ValueError, ModuleNotFoundError) as error:
        print(f"error: {error}")
        return 1
    print(f"checkpoint: {trainer.checkpoint}, step {trainer.step} of {recipe.schedule.steps}")
    return 0 if finished else INTERRUPTED
