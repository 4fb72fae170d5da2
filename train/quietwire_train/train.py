"""Training: checkpoints, resumes, stops on a loss that is not a number.

A run is a folder: `run.json` (what was asked), `log.jsonl` (a line every few steps) and
`checkpoint.pt` (weights, averaged weights, optimiser, step). Batches are a function of seed and
step, so a resumed run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from .data import Store
from .export import NotThisNetwork, read
from .frontend import Analysis, FrontEnd
from .loss import Loss, LossWeights
from .mix import Mixer
from .net import Net, NetShape, apply


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. The rate rises over `warmup` steps, then falls along a cosine."""

    steps: int = 20_000
    batch: int = 32
    seconds: float = 3.0
    rate: float = 2e-3
    final_rate: float = 3e-5
    warmup: int = 200
    clip: float = 1.0  # gradient norm
    averaging: float = 0.999  # of the weights that are exported
    seed: int = 1
    parts: int = 1  # of a batch that are computed side by side, each by its own thread
    bf16: bool = False  # products of the network and of the opinion: twice as fast where the processor has it

    def rate_at(self, step: int) -> float:
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.final_rate + (self.rate - self.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


class LossNotANumber(RuntimeError):
    """The loss was NaN or infinite; the batch that did it is on disk."""


_mixer: Mixer | None = None


def _open_mixer(store: Path, rooms: Path | None, seconds: float, seed: int) -> None:
    global _mixer  # one per worker process
    torch.set_num_threads(1)
    _mixer = Mixer(Store(store), rooms, split="train", seconds=seconds, seed=seed)


def _mix(step: int, count: int) -> dict[str, np.ndarray]:
    assert _mixer is not None
    return _mixer.batch(step, count)


def pick_device(name: str) -> torch.device:
    """`auto` takes CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def save_atomically(value: dict, path: Path) -> None:
    """A run that is killed while it saves keeps its last checkpoint."""
    part = path.with_suffix(".part")
    torch.save(value, part)
    os.replace(part, path)


SIZES = {
    "channels": "of a subband",
    "blocks": "one after the other",
    "summary": "width of the view of all subbands",
    "tap_bins": "low bins that get a filter over time",
    "tap_order": "hops that it reaches over",
}
NEW = "new"  # among the blocks that are kept: one that starts as nothing


def found(source: Path) -> tuple[FrontEnd, NetShape, dict[str, np.ndarray]]:
    """A checkpoint or a model folder to start from."""
    try:
        return read(source)
    except (OSError, NotThisNetwork) as error:
        raise SystemExit(f"error: {error}") from error


def start(net: Net, source: Path, keep_blocks: tuple[int | str, ...] = ()) -> None:
    """Gives `net` the weights of a checkpoint or an exported model folder.

    It must be of the same network or, with `keep_blocks`, of one that is the same but for blocks
    that are left out or new.
    """
    front, shape, weights = found(source)
    weights = {name: torch.tensor(value) for name, value in weights.items()}
    if keep_blocks:
        kept = [at for at in keep_blocks if at != NEW]
        if not set(kept) <= set(range(shape.blocks)) or len(set(kept)) < len(kept):
            raise SystemExit(
                f"error: --keep-blocks {' '.join(map(str, keep_blocks))}: {source} has blocks "
                f"0 to {shape.blocks - 1}, each can be kept once"
            )
        shape = replace(shape, blocks=len(keep_blocks))
    if (front, shape) != (net.front, net.shape):
        sizes = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shape.as_dict().items())
        raise SystemExit(f"error: {source} is another network than {net.shape.as_dict()}: train with {sizes}")
    for to, at in enumerate(keep_blocks):
        if at == NEW:
            net.blocks[to].start_as_nothing()
    old_place = {f"blocks.{to}.": f"blocks.{at}." for to, at in enumerate(keep_blocks)}

    def old_name(name: str) -> str:
        return re.sub(r"^blocks\.\d+\.", lambda place: old_place.get(place[0], place[0]), name)

    # A block that is new has no weights there, and keeps its own.
    net.load_state_dict({name: weights.get(old_name(name), own) for name, own in net.state_dict().items()})


def open_teacher(source: Path, front: FrontEnd, device: torch.device) -> Net:
    """A checkpoint or a model folder, of any size, that says what it would do and learns nothing."""
    hears, shape, weights = found(source)
    if hears != front:
        raise SystemExit(f"error: {source} hears {hears.as_dict()}, what it should teach {front.as_dict()}")
    net = Net(front, shape)
    net.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return net.to(device).requires_grad_(False)


def run_training(
    store: Path,
    rooms: Path | None,
    out: Path,
    schedule: Schedule,
    shape: NetShape,
    weights: LossWeights,
    device: torch.device,
    workers: int,
    save_every: int,
    max_minutes: float,
    start_from: Path | None = None,
    keep_blocks: tuple[int | str, ...] = (),
    teacher: Path | None = None,
) -> Path:
    """Trains until `schedule.steps` or for `max_minutes`; returns the checkpoint's path."""
    if not 1 <= schedule.parts <= schedule.batch:
        raise SystemExit(f"error: a batch of {schedule.batch} clips has no {schedule.parts} parts")
    out.mkdir(parents=True, exist_ok=True)
    front = FrontEnd()
    torch.manual_seed(schedule.seed)
    net = Net(front, shape).to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=schedule.rate, weight_decay=1e-4)
    checkpoint = out / "checkpoint.pt"
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        if saved["shape"] != shape.as_dict() or saved["front"] != front.as_dict():
            raise SystemExit(
                f"{checkpoint}: made by another network ({saved['shape']}), "
                f"asked for {shape.as_dict()}: choose another --out"
            )
        net.load_state_dict(saved["net"])
        optimiser.load_state_dict(saved["optimiser"])
        average = saved["average"]
        first = saved["step"]
        print(f"resuming {checkpoint} at step {first}")
    else:
        if start_from is not None:
            start(net, start_from, keep_blocks)
        average = {name: value.detach().clone() for name, value in net.state_dict().items()}

    asked = {
        "schedule": asdict(schedule),
        "shape": shape.as_dict(),
        "loss": asdict(weights),
        "front": front.as_dict(),
        "start_from": None if start_from is None else str(start_from),
        "keep_blocks": list(keep_blocks),
        "teacher": None if teacher is None else str(teacher),
    }
    (out / "run.json").write_text(json.dumps(asked, indent=2) + "\n")
    analysis = Analysis(front, device)
    taught_by = None if teacher is None else open_teacher(teacher, front, device)
    loss_of = Loss(analysis, weights, device, schedule.bf16)

    def gradients(batch: dict[str, np.ndarray], rows: np.ndarray) -> tuple[dict, tuple[torch.Tensor, ...]]:
        """Parts of the loss of some clips of a batch, and the gradient of each weight."""
        noisy, target, bandwidth = (
            torch.from_numpy(batch[name][rows]).to(device) for name in ("noisy", "target", "bandwidth_hz")
        )
        noisy, target = analysis.spectrum(noisy), analysis.spectrum(target)
        with torch.autocast(device.type, torch.bfloat16, enabled=schedule.bf16):
            features = analysis.features(noisy)
            gain, taps, vad = net(features)
            heard = None if taught_by is None else taught_by(features)
        estimate = apply(noisy, gain, taps, analysis.bands)
        right = None if heard is None else torch.complex(*apply(noisy, *heard[:2], analysis.bands))
        loss, parts = loss_of(noisy, target, estimate, vad, bandwidth, right)
        if not math.isfinite(parts["loss"]):
            return parts, ()
        return parts, torch.autograd.grad(loss, list(net.parameters()))

    def save(step: int) -> None:
        save_atomically(
            {
                "step": step,
                "shape": shape.as_dict(),
                "front": front.as_dict(),
                "net": net.state_dict(),
                "average": average,
                "optimiser": optimiser.state_dict(),
            },
            checkpoint,
        )

    began = time.monotonic()
    pool = ProcessPoolExecutor(
        workers, initializer=_open_mixer, initargs=(store, rooms, schedule.seconds, schedule.seed)
    )
    ahead: dict[int, Future] = {}
    recent: list[dict[str, float]] = []
    step = first
    slices = np.array_split(np.arange(schedule.batch), schedule.parts)
    shares = [len(rows) / schedule.batch for rows in slices]
    # One thread of PyTorch in each of two parts is faster than two threads in every product.
    threads = torch.get_num_threads()
    side_by_side = ThreadPoolExecutor(schedule.parts, initializer=lambda: torch.set_num_threads(threads))
    with pool, side_by_side, open(out / "log.jsonl", "a", encoding="utf-8") as log:
        while step < schedule.steps:
            for later in range(step, min(step + 2 * workers + 1, schedule.steps)):
                if later not in ahead:
                    ahead[later] = pool.submit(_mix, later, schedule.batch)
            batch = ahead.pop(step).result()
            done = list(side_by_side.map(gradients, [batch] * schedule.parts, slices))
            parts = {
                key: sum(share * values[key] for share, (values, _) in zip(shares, done))
                for key in done[0][0]
            }
            if not math.isfinite(parts["loss"]):
                bad = out / f"bad-batch-{step}.npz"
                np.savez_compressed(bad, **batch)
                for future in ahead.values():
                    future.cancel()
                raise LossNotANumber(f"step {step}: loss is {parts['loss']}; batch saved to {bad}")
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate_at(step)
            for at, value in enumerate(net.parameters()):
                value.grad = sum(share * grads[at] for share, (_, grads) in zip(shares, done))
            torch.nn.utils.clip_grad_norm_(net.parameters(), schedule.clip)
            optimiser.step()
            # Early averages would drag the first random weights along.
            keep = min(schedule.averaging, (1 + step) / (10 + step))
            with torch.no_grad():
                for name, value in net.state_dict().items():
                    average[name].lerp_(value, 1 - keep)
            step += 1
            recent.append(parts)
            minutes = (time.monotonic() - began) / 60
            if step % 50 == 0 or step == schedule.steps:
                line = {key: round(float(np.mean([r[key] for r in recent])), 5) for key in parts}
                line = {"step": step, **line, "minutes": round(minutes, 2)}
                recent.clear()
                print(json.dumps(line), flush=True)
                log.write(json.dumps(line) + "\n")
                log.flush()
            if step % save_every == 0:
                save(step)
            if max_minutes and minutes >= max_minutes:
                break
        for future in ahead.values():
            future.cancel()
    save(step)
    return checkpoint


def loss_weight(text: str) -> tuple[str, float]:
    """NAME=WEIGHT of a part of the loss."""
    name, _, weight = text.partition("=")
    known = asdict(LossWeights())
    if name not in known:
        raise argparse.ArgumentTypeError(f"the loss has no part {name!r}; it has {', '.join(known)}")
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    most = 1 if name == "taught" else math.inf
    if not 0 <= value <= most or math.isinf(value):
        bounds = "a share is a number from 0 to 1" if most == 1 else "a weight is a number from 0 on"
        raise argparse.ArgumentTypeError(f"{text!r}: {bounds}, as in {name}={known[name]}")
    return name, value


def kept_block(text: str) -> int | str:
    """Place of a block, or the word for one that is new."""
    if text == NEW:
        return NEW
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: a block is a number from 0 on, or {NEW}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    schedule = Schedule()
    parser.add_argument("--data", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument("--rooms", type=Path, help="file made by `rooms`; none: no reverberation")
    parser.add_argument(
        "--out", type=Path, required=True, help="run folder; resumes if it holds a checkpoint"
    )
    parser.add_argument("--start-from", type=Path, help="checkpoint or model folder to fine-tune from")
    parser.add_argument(
        "--keep-blocks",
        type=kept_block,
        nargs="+",
        default=[],
        metavar="N",
        help=f"start from these blocks of another network, the first is 0; {NEW}: one that does nothing yet",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="MODEL",
        help="checkpoint or model folder, of any size, to whose results as well as to the clean speech "
        "spectrum and ratio are measured; --loss taught=SHARE says how much",
    )
    parser.add_argument("--steps", type=int, default=schedule.steps)
    parser.add_argument("--batch", type=int, default=schedule.batch)
    parser.add_argument("--seconds", type=float, default=schedule.seconds, help="length of a clip")
    parser.add_argument("--rate", type=float, default=schedule.rate, help="highest learning rate")
    parser.add_argument("--warmup", type=int, default=schedule.warmup)
    parser.add_argument("--averaging", type=float, default=schedule.averaging)
    parser.add_argument("--seed", type=int, default=schedule.seed)
    sizes = parser.add_argument_group("sizes", "default: of the network that is started from")
    for name, value in NetShape().as_dict().items():
        sizes.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"{SIZES[name]}; else {value}")
    parser.add_argument(
        "--loss",
        type=loss_weight,
        nargs="+",
        default=[],
        metavar="NAME=WEIGHT",
        help="other weights of the loss's parts than "
        + " ".join(f"{name}={weight}" for name, weight in asdict(LossWeights()).items())
        + "; opinion and background (DNSMOS) need the package speechmos",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16, weights in float32")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch, in each part; 0: its own choice")
    parser.add_argument("--parts", type=int, default=schedule.parts, help="of a batch, side by side")
    parser.add_argument("--workers", type=int, default=1, help="processes that mix")
    parser.add_argument("--save-every", type=int, default=200, help="steps")
    parser.add_argument("--max-minutes", type=float, default=0, help="stop after; 0: no limit")


def run(args: argparse.Namespace) -> int:
    if args.threads:
        torch.set_num_threads(args.threads)
    schedule = Schedule(
        steps=args.steps,
        batch=args.batch,
        seconds=args.seconds,
        rate=args.rate,
        warmup=args.warmup,
        averaging=args.averaging,
        seed=args.seed,
        parts=args.parts,
        bf16=args.bf16,
    )
    weights = dict(args.loss)
    if "taught" in weights and args.teacher is None:
        raise SystemExit("error: --loss taught=SHARE needs --teacher, the model that it is measured to")
    if args.keep_blocks and args.start_from is None:
        raise SystemExit("error: --keep-blocks needs --start-from, the network whose blocks they are")
    shape = NetShape() if args.start_from is None else found(args.start_from)[1]
    if args.keep_blocks:
        shape = replace(shape, blocks=len(args.keep_blocks))
    given = {name: getattr(args, name) for name in shape.as_dict()}
    shape = replace(shape, **{name: size for name, size in given.items() if size is not None})
    try:
        path = run_training(
            args.data,
            args.rooms,
            args.out,
            schedule,
            shape,
            LossWeights(**weights),
            pick_device(args.device),
            args.workers,
            args.save_every,
            args.max_minutes,
            args.start_from,
            tuple(args.keep_blocks),
            args.teacher,
        )
    except LossNotANumber as error:
        print(f"error: {error}")
        return 1
    print(f"checkpoint: {path}")
    return 0
