"""Initial weights of a run, and its teacher."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch

from .checkpoint import IncompatibleNetwork, Weights, read
from .frontend import FrontEnd
from .net import Net, NetShape
from .recipe import NEW_BLOCK


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
