"""The training loop.

A run is a folder: `recipe.toml` (every value of the run), `run.json` (one entry per session: commit,
versions, data), `log.jsonl`, `checkpoint.pt` and `best.pt` (lowest validation loss). Batches depend
on the seed and the step alone, so a resumed run computes what an uninterrupted one would have.
"""

from __future__ import annotations

import copy
import json
import math
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .checkpoint import IncompatibleNetwork, load, save_atomically
from .deepfilternet import DeepFilterAnalysis, DeepFilterFront, DeepFilterNet3, read_graphs
from .frontend import Analysis, FrontEnd
from .initialization import init_from, load_teacher
from .interrupt import Interrupt
from .loss import Loss
from .mix import Mixer
from .mixture import Mixture
from .net import Net, NetShape, apply_mask
from .recipe import Recipe, Schedule, differences, read_recipe
from .run_record import add_session, data_state, read_record
from .store import Store

LOG_EVERY = 50  # steps
VALIDATION_CLIPS = 64
VALIDATION_SEED = 0x7A1  # the same validation clips in every run


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


def build(recipe: Recipe, device: torch.device) -> tuple[Analysis, nn.Module]:
    """The analysis and the network of a recipe, with initial weights."""
    if recipe.start.deepfilternet:
        front = DeepFilterFront()
        graphs = read_graphs(Path(recipe.start.deepfilternet))
        net = DeepFilterNet3(graphs, causal=True, gated=recipe.start.tap_gate)
        return DeepFilterAnalysis(front, device), net.to(device)
    return Analysis(recipe.front_end, device), Net(recipe.front_end, recipe.network).to(device)


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
        torch.manual_seed(schedule.seed)
        self.analysis, self.net = build(recipe, device)
        self.front = self.analysis.front
        self.trained = [value for value in self.net.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self.step = 0
        self.best_loss = math.inf
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
                self.recipe.front_end,
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
                "front": self.recipe.front_end.as_dict(),
                "net": self.net.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "best_loss": self.best_loss,
            },
            path or self.checkpoint,
        )

    # One step

    def estimate(
        self, net: nn.Module, noisy: torch.Tensor, bf16: bool
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
        return parts, torch.autograd.grad(loss, self.trained)

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
        for at, value in enumerate(self.trained):
            value.grad = sum(share * grads[at] for share, (_, grads) in zip(shares, done))
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained, schedule.max_gradient_norm))
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
        net = copy.deepcopy(self.net)
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
                    # The first step includes the start of the processes.
                    if self.step - first == 1:
                        step_s, first_done = now - began, now
                    else:
                        step_s = (now - first_done) / (self.step - first - 1)
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
