"""The recipe of a training run: every value that decides its result, as a TOML file.

A recipe has the tables [front_end], [network], [schedule], [loss], [mixture] and [start]; a key that
is left out has its default. `train --recipe FILE` reads one, and the run folder holds a full copy. The data are
not part of a recipe; the run folder records their hash.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import tomllib

from .frontend import FrontEnd
from .loss import LossWeights
from .manifest import to_toml
from .mixture import Mixture
from .net import NetShape

NEW_BLOCK = "new"  # in keep_blocks: an added block that starts as the identity


@dataclass(frozen=True)
class Schedule:
    """Length and speed of a run.

    The learning rate rises linearly over `warmup` steps to `learning_rate`, then falls along a
    cosine to `final_learning_rate` at the last step.
    """

    steps: int = 20_000
    batch: int = 8  # clips in a step
    seconds: float = 3.0  # length of a clip
    learning_rate: float = 2e-3
    final_learning_rate: float = 3e-5
    warmup: int = 200  # steps
    weight_decay: float = 1e-4
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.999  # exponential moving average of the weights, which is what is exported
    seed: int = 1
    parts: int = 2  # parts of a batch, computed in parallel; the loss is the mean over the parts
    bf16: bool = False  # bfloat16 products; only for processors that have them

    def learning_rate_at(self, step: int) -> float:
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        span = self.learning_rate - self.final_learning_rate
        return self.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Start:
    """Initial weights and the teacher: paths of checkpoints or model folders; empty for none."""

    weights: str = ""  # network to fine-tune
    keep_blocks: tuple[int | str, ...] = ()  # its blocks to keep, in order; "new" adds a block
    teacher: str = ""
    deepfilternet: str = ""  # graphs of DeepFilterNet3, made causal, instead of the network of [network]
    tap_gate: bool = False  # its taps are multiplied by a gate


@dataclass(frozen=True)
class Recipe:
    front_end: FrontEnd = field(default_factory=FrontEnd)
    network: NetShape = field(default_factory=NetShape)
    schedule: Schedule = field(default_factory=Schedule)
    loss: LossWeights = field(default_factory=LossWeights)
    mixture: Mixture = field(default_factory=Mixture)
    start: Start = field(default_factory=Start)

    def as_dict(self) -> dict[str, dict]:
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in table.items()}
            for name, table in asdict(self).items()
        }

    def to_toml(self) -> str:
        return to_toml(self.as_dict())


TABLES = {entry.name: type(getattr(Recipe(), entry.name)) for entry in fields(Recipe)}


def _checked(place: str, value: object, default: object) -> object:
    """`value` with the type of `default`, or a ValueError."""
    if isinstance(default, bool) or isinstance(value, bool):
        if type(value) is type(default):
            return value
    elif isinstance(default, float) and isinstance(value, (int, float)):
        if math.isfinite(value):
            return float(value)
    elif isinstance(default, tuple) and isinstance(value, list):
        if not default:
            return tuple(value)
        if len(value) == len(default):
            return tuple(_checked(place, item, one) for item, one in zip(value, default))
    elif type(value) is type(default):
        return value
    shown = list(default) if isinstance(default, tuple) else default
    raise ValueError(f"{place} = {value!r}: expected a value such as {shown!r}")


def parse_recipe(text: str, source: str) -> Recipe:
    """A recipe from TOML. Raises ValueError for unknown tables or keys and for wrong types."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source}: {error}") from error
    unknown = set(document) - set(TABLES)
    if unknown:
        raise ValueError(f"{source}: unknown table {sorted(unknown)}; a recipe has {', '.join(TABLES)}")
    made = {}
    for name, kind in TABLES.items():
        default, given = kind(), document.get(name, {})
        if not isinstance(given, dict):
            raise ValueError(f"{source}: {name} is not a table")
        known = {entry.name: getattr(default, entry.name) for entry in fields(kind)}
        if extra := set(given) - set(known):
            raise ValueError(f"{source}: [{name}] has no key {sorted(extra)}; it has {', '.join(known)}")
        values = {key: _checked(f"{source}: {name}.{key}", value, known[key]) for key, value in given.items()}
        made[name] = replace(default, **values)
    return Recipe(**made)


def read_recipe(path: Path) -> Recipe:
    return parse_recipe(path.read_text(encoding="utf-8"), str(path))


def differences(one: Recipe, other: Recipe) -> list[str]:
    """The values in which two recipes differ, as `table.key: ONE, now OTHER`."""
    a, b = one.as_dict(), other.as_dict()
    return [
        f"{table}.{key}: {a[table][key]!r}, now {value!r}"
        for table, values in b.items()
        for key, value in values.items()
        if a[table][key] != value
    ]
