"""Training of a network from a recipe.

A run is a folder: `recipe.toml` (every value of the run), `run.json` (one entry per session: commit,
versions, data), `log.jsonl`, `checkpoint.pt` and `best.pt` (lowest validation loss). Batches depend
on the seed and the step alone, so a resumed run computes what an uninterrupted one would have.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from .checkpoint import IncompatibleNetwork, Weights, load, read, save_atomically
from .data import Store
from .frontend import Analysis, FrontEnd
from .loss import OLD_WEIGHT_NAMES, Loss, LossWeights
from .mix import Mixer, Mixture
from .net import BLOCKS, Net, NetShape, apply_mask
from .recipe import NEW_BLOCK, Recipe, Schedule, Start, differences, read_recipe
from .run_record import add_session, data_state, read_record

LOG_EVERY = 50  # steps
VALIDATION_CLIPS = 64
VALIDATION_SEED = 0x7A1  # never the seed of a run's own batches, which are of another split
INTERRUPTED = 130  # exit code after SIGINT or SIGTERM


class NonFinite(RuntimeError):
    """The loss or a gradient was NaN or infinite. The batch that caused it was saved."""


@dataclass(frozen=True)
class Limits:
    """When a session saves, validates and ends."""

    save_steps: int = 200
    save_minutes: float = 10.0
    validate_steps: int = 500  # 0: never
    max_minutes: float = 0.0  # 0: no limit


_mixer: Mixer | None = None


def _open_mixer(store: Path, rir: Path | None, seconds: float, seed: int, mixture: Mixture) -> None:
    global _mixer  # one per worker process
    # An interrupt from the terminal reaches all processes of the group; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _mixer = Mixer(Store(store), rir, split="train", seconds=seconds, seed=seed, mixture=mixture)


def _mix(step: int, count: int) -> dict[str, np.ndarray]:
    assert _mixer is not None
    return _mixer.batch(step, count)


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


SIZES = {
    "channels": "channels of a subband",
    "blocks": "blocks in series",
    "summary": "width of the fullband summary",
    "tap_bins": "low bins with a filter over time",
    "tap_order": "hops of that filter",
}


def load_source(source: Path) -> tuple[FrontEnd, NetShape, Weights]:
    """Network of a checkpoint or model folder; ends the program with a message if it cannot be read."""
    try:
        return read(source)
    except (OSError, IncompatibleNetwork) as error:
        raise SystemExit(f"error: {error}") from error


def init_from(net: Net, source: Path, keep_blocks: tuple[int | str, ...] = ()) -> None:
    """Gives `net` the weights of a checkpoint or an exported model folder.

    The two networks must be equal, or differ only in their blocks if `keep_blocks` lists for each
    block of `net` its index in the source, or "new".
    """
    front, shape, arrays = load_source(source)
    weights = {name: torch.tensor(value) for name, value in arrays.items()}
    if keep_blocks:
        kept = [at for at in keep_blocks if at != NEW_BLOCK]
        if not set(kept) <= set(range(shape.blocks)) or len(set(kept)) < len(kept):
            raise SystemExit(
                f"error: --keep-blocks {' '.join(map(str, keep_blocks))}: {source} has blocks "
                f"0 to {shape.blocks - 1}, and each can be kept once"
            )
        shape = replace(shape, blocks=len(keep_blocks))
    if (front, shape) != (net.front, net.shape):
        sizes = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shape.as_dict().items())
        raise SystemExit(f"error: {source} is another network than {net.shape.as_dict()}: train with {sizes}")
    for to, at in enumerate(keep_blocks):
        if at == NEW_BLOCK:
            net.blocks[to].init_identity()
    old_prefix = {f"blocks.{to}.": f"blocks.{at}." for to, at in enumerate(keep_blocks)}

    def old_name(name: str) -> str:
        return re.sub(r"^blocks\.\d+\.", lambda prefix: old_prefix.get(prefix[0], prefix[0]), name)

    # A new block has no weights in the source and keeps its own.
    net.load_state_dict({name: weights.get(old_name(name), own) for name, own in net.state_dict().items()})


def load_teacher(source: Path, front: FrontEnd, device: torch.device) -> Net:
    """A frozen network of any size with the front end `front`."""
    teacher_front, shape, weights = load_source(source)
    if teacher_front != front:
        raise SystemExit(
            f"error: {source} has the front end {teacher_front.as_dict()}, the student {front.as_dict()}"
        )
    net = Net(front, shape)
    net.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return net.to(device).requires_grad_(False)


class Interrupt:
    """Set by SIGINT or SIGTERM, so that the loop can end after the current step."""

    def __init__(self) -> None:
        self.requested = False

    def _request(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"{signal.Signals(number).name}: ending after this step; again: at once", flush=True)

    @contextmanager
    def installed(self):
        """Handles both signals inside the block."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        try:
            before = {number: signal.signal(number, self._request) for number in numbers}
        except ValueError:  # not the main thread: a caller handles signals
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Trainer:
    """A run: network, optimizer, averaged weights and the step, with their folder."""

    def __init__(
        self, recipe: Recipe, store: Path, rir: Path | None, out: Path, device: torch.device, workers: int = 1
    ) -> None:
        schedule = recipe.schedule
        if not 1 <= schedule.parts <= schedule.batch:
            raise SystemExit(f"error: a batch of {schedule.batch} clips cannot have {schedule.parts} parts")
        self.recipe, self.schedule, self.device = recipe, schedule, device
        self.store, self.rir, self.out, self.workers = store, rir, out, workers
        self.checkpoint = out / "checkpoint.pt"
        self.front = FrontEnd()
        torch.manual_seed(schedule.seed)
        self.net = Net(self.front, recipe.network).to(device)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self.step = 0
        self.best_loss = math.inf
        self.analysis = Analysis(self.front, device)
        self.loss = Loss(self.analysis, recipe.loss, device, schedule.bf16)
        # Comparable between recipes of other weights: only the parts that need no other model.
        plain = replace(recipe.loss, dnsmos=0.0, dnsmos_bak=0.0, regression_penalty=0.0)
        self.validation_loss = Loss(self.analysis, plain, device)
        self.validation_batches: list[dict[str, np.ndarray]] | None = None
        teacher = recipe.start.teacher
        self.teacher = load_teacher(Path(teacher), self.front, device) if teacher else None

    # State

    def initialize(self) -> None:
        """Initial weights for a new run."""
        start = self.recipe.start
        if start.weights:
            init_from(self.net, Path(start.weights), start.keep_blocks)
        self.average = {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def resume(self) -> None:
        """Continues from the checkpoint of the run folder."""
        try:
            saved = load(self.checkpoint, self.device)
            same = (NetShape(**saved["shape"]), FrontEnd(**saved["front"])) == (
                self.recipe.network,
                self.front,
            )
        except (IncompatibleNetwork, KeyError, TypeError) as error:
            raise SystemExit(f"error: {error}; choose another --out") from error
        if not same:
            raise SystemExit(
                f"error: {self.checkpoint}: made by another network ({saved['shape']}), "
                f"this recipe has {self.recipe.network.as_dict()}: choose another --out"
            )
        self.net.load_state_dict(saved["net"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average = saved["average"]
        self.step = saved["step"]
        self.best_loss = saved.get("best_loss", math.inf)
        print(f"resuming {self.checkpoint} at step {self.step}")

    def save(self, path: Path | None = None) -> None:
        save_atomically(
            {
                "step": self.step,
                "shape": self.recipe.network.as_dict(),
                "front": self.front.as_dict(),
                "net": self.net.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "best_loss": self.best_loss,
            },
            path or self.checkpoint,
        )

    # One step

    def estimate(
        self, net: Net, noisy: torch.Tensor, bf16: bool
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Estimate (real, imaginary) and VAD logit of `net` for a noisy spectrum [n, hops, bins]."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            gain, taps, vad = net(self.analysis.features(noisy))
        return apply_mask(noisy, gain, taps, self.analysis.bands), vad

    def spectra(self, batch: dict[str, np.ndarray], rows: np.ndarray | slice) -> tuple[torch.Tensor, ...]:
        """Noisy and target spectra and the bandwidth of the clips `rows` of a batch."""
        noisy, target, bandwidth_hz = (
            torch.from_numpy(batch[name][rows]).to(self.device)
            for name in ("noisy", "target", "bandwidth_hz")
        )
        return self.analysis.spectrum(noisy), self.analysis.spectrum(target), bandwidth_hz

    def gradients(
        self, batch: dict[str, np.ndarray], rows: np.ndarray
    ) -> tuple[dict[str, float], tuple[torch.Tensor, ...]]:
        """Parts of the loss for the clips `rows` of a batch, and the gradient of each weight."""
        noisy, target, bandwidth_hz = self.spectra(batch, rows)
        estimate, vad = self.estimate(self.net, noisy, self.schedule.bf16)
        teacher = None
        if self.teacher is not None:
            teacher = torch.complex(*self.estimate(self.teacher, noisy, self.schedule.bf16)[0])
        loss, parts = self.loss(noisy, target, estimate, vad, bandwidth_hz, teacher)
        if not math.isfinite(parts["loss"]):
            return parts, ()
        return parts, torch.autograd.grad(loss, list(self.net.parameters()))

    def train_step(self, batch: dict[str, np.ndarray], pool: ThreadPoolExecutor) -> dict[str, float]:
        """One step of the optimizer; returns the parts of the loss.

        Raises NonFinite, with the weights unchanged, if the loss or a gradient is not finite.
        """
        schedule = self.schedule
        rows = np.array_split(np.arange(schedule.batch), schedule.parts)
        shares = [len(part) / schedule.batch for part in rows]
        done = list(pool.map(self.gradients, [batch] * schedule.parts, rows))
        parts = {
            key: sum(share * values[key] for share, (values, _) in zip(shares, done)) for key in done[0][0]
        }
        if not math.isfinite(parts["loss"]):
            self._fail(batch, f"the loss is {parts['loss']}")
        for at, value in enumerate(self.net.parameters()):
            value.grad = sum(share * grads[at] for share, (_, grads) in zip(shares, done))
        norm = float(torch.nn.utils.clip_grad_norm_(self.net.parameters(), schedule.max_gradient_norm))
        if not math.isfinite(norm):
            self._fail(batch, f"the loss is {parts['loss']:.4g}, but the norm of its gradient is {norm}")
        rate = schedule.learning_rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        # A lower decay at first, so that the average does not keep the initial weights.
        decay = min(schedule.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        self.step += 1
        return parts | {"gradient_norm": norm, "learning_rate": rate}

    def _fail(self, batch: dict[str, np.ndarray], reason: str) -> None:
        path = self.out / f"bad-batch-{self.step}.npz"
        np.savez_compressed(path, **batch)
        raise NonFinite(f"step {self.step}: {reason}; batch saved to {path}")

    # Validation

    def open_validation(self) -> bool:
        """Mixes the validation batches; False, with a message, if the store has no `val` split."""
        store = Store(self.store)
        if not store.clips("speech", "val") or not store.clips("noise", "val"):
            print("no validation: the store has no speech or no noise in the split val")
            return False
        seconds, mixture = self.schedule.seconds, self.recipe.mixture
        mixer = Mixer(store, self.rir, "val", seconds, VALIDATION_SEED, mixture)
        sizes = [8] * (VALIDATION_CLIPS // 8)
        self.validation_batches = [mixer.batch(step, size) for step, size in enumerate(sizes)]
        return True

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss and SDR of the averaged weights on the validation clips."""
        net = Net(self.front, self.recipe.network).to(self.device)
        net.load_state_dict(self.average)
        found = []
        for batch in self.validation_batches or []:
            noisy, target, bandwidth_hz = self.spectra(batch, slice(None))
            estimate, vad = self.estimate(net, noisy, False)
            found.append(self.validation_loss(noisy, target, estimate, vad, bandwidth_hz)[1])
        return {f"val_{key}": float(np.mean([one[key] for one in found])) for key in ("loss", "sdr_db")}

    # The loop

    def run(self, limits: Limits) -> bool:
        """Trains to the last step of the recipe or to a limit; False if a signal ended it.

        The checkpoint is saved in every case, also before NonFinite is raised.
        """
        schedule = self.schedule
        setup = (self.store, self.rir, schedule.seconds, schedule.seed, self.recipe.mixture)
        mixers = ProcessPoolExecutor(self.workers, initializer=_open_mixer, initargs=setup)
        threads = torch.get_num_threads()
        # Threads of one part each are faster than several threads in every product.
        parts_pool = ThreadPoolExecutor(schedule.parts, initializer=lambda: torch.set_num_threads(threads))
        validates = limits.validate_steps > 0 and self.open_validation()
        ahead: dict[int, Future] = {}
        recent: list[dict[str, float]] = []
        began = saved_at = time.monotonic()
        first = self.step
        interrupt = Interrupt()
        consistent = True
        try:
            with open(self.out / "log.jsonl", "a", encoding="utf-8") as log, interrupt.installed():

                def write(line: dict[str, float | int | str]) -> None:
                    print(json.dumps(line), flush=True)
                    log.write(json.dumps(line) + "\n")
                    log.flush()

                while self.step < schedule.steps and not interrupt.requested:
                    for later in range(self.step, min(self.step + 2 * self.workers + 1, schedule.steps)):
                        if later not in ahead:
                            ahead[later] = mixers.submit(_mix, later, schedule.batch)
                    recent.append(self.train_step(ahead.pop(self.step).result(), parts_pool))
                    now = time.monotonic()
                    step_s = (now - began) / (self.step - first)
                    done = self.step == schedule.steps
                    if self.step - first in (1, 10) and not done:
                        print(_forecast(self.step, schedule, step_s), flush=True)
                    if self.step % LOG_EVERY == 0 or done:
                        line = {key: round(float(np.mean([r[key] for r in recent])), 7) for key in recent[0]}
                        recent.clear()
                        left_h = step_s * (schedule.steps - self.step) / 3600
                        timing = {"step_s": round(step_s, 3), "hours_left": round(left_h, 2)}
                        write({"step": self.step, **line, **timing, "minutes": round((now - began) / 60, 2)})
                    if validates and (self.step % limits.validate_steps == 0 or done):
                        found = self.validate()
                        write({"step": self.step, **{key: round(value, 5) for key, value in found.items()}})
                        if found["val_loss"] < self.best_loss:
                            self.best_loss = found["val_loss"]
                            self.save(self.out / "best.pt")
                    if self.step % limits.save_steps == 0 or now - saved_at > 60 * limits.save_minutes:
                        self.save()
                        saved_at = now
                    if limits.max_minutes and now - began >= 60 * limits.max_minutes:
                        break
        except KeyboardInterrupt:
            consistent = False  # a step may have been cut short: the last checkpoint stays
        finally:
            if consistent:
                self.save()
            for future in ahead.values():
                future.cancel()
            mixers.shutdown(cancel_futures=True)
            parts_pool.shutdown()
        return consistent and not interrupt.requested


def _forecast(step: int, schedule: Schedule, step_s: float) -> str:
    """How long the rest of a run takes at `step_s` seconds a step."""
    left_s = step_s * (schedule.steps - step)
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + left_s))
    mixed = schedule.batch * schedule.seconds / step_s
    return (
        f"step {step} of {schedule.steps}: {step_s:.2f} s a step, {mixed:.0f} h of mixtures an hour, "
        f"{left_s / 3600:.1f} h left, ends about {end}"
    )


def prepare_run(trainer: Trainer, allow_changes: bool) -> None:
    """Starts or resumes the run of `trainer`, and records the session in its folder.

    A resumed run must have the recipe and the data that it began with, unless `allow_changes`.
    """
    out = trainer.out
    out.mkdir(parents=True, exist_ok=True)
    data = data_state(trainer.store, trainer.rir)
    changes: list[str] = []
    if trainer.checkpoint.exists():
        kept = out / "recipe.toml"
        if kept.exists():
            changes = differences(read_recipe(kept), trainer.recipe)
        for session in read_record(out / "run.json")[-1:]:
            before = session.get("data", {})
            changes += [
                f"data: another {name}" for name in data if data[name] != before.get(name, data[name])
            ]
        if changes and not allow_changes:
            listed = "\n  ".join(changes)
            raise SystemExit(
                f"error: {trainer.checkpoint} was made with other values:\n  {listed}\n"
                "Choose another --out, or resume with these values by --allow-changes."
            )
        trainer.resume()
    else:
        trainer.initialize()
    (out / "recipe.toml").write_text(trainer.recipe.to_toml(), encoding="utf-8")
    add_session(out / "run.json", trainer.step, data, changes=changes)


# Command line


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
    highest = 1 if name == "distillation" else math.inf
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
    network = recipe.network
    if args.start_from is not None:
        network = load_source(args.start_from)[1]
    if args.keep_blocks:
        network = replace(network, blocks=len(args.keep_blocks))
    given = {name: getattr(args, name) for name in NetShape().as_dict()}
    network = replace(network, **{name: size for name, size in given.items() if size is not None})
    given = {entry.name: getattr(args, entry.name, None) for entry in fields(Schedule)}
    schedule = replace(recipe.schedule, **{name: value for name, value in given.items() if value is not None})
    return replace(
        recipe, network=network, schedule=schedule, loss=replace(recipe.loss, **weights), start=start
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
