"""A gated recurrence whose gates depend on the input alone, not on the state.

All gates of a sequence are therefore one matrix product, and only an elementwise loop over time is
left. On a CPU `recurrence.cpp` runs that loop; on other devices, or without a compiler, PyTorch does.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import linear

SOURCE = Path(__file__).with_name("recurrence.cpp")
FLAGS = ["-O3", "-march=native", "-ffast-math", "-std=c++17", "-shared", "-fPIC", "-pthread"]
KERNELS = {torch.float32: "f32", torch.bfloat16: "bf16"}


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled loop, built once per source file and processor; None without a compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        print(
            "no C++ compiler (c++ or g++): recurrences run hop by hop in PyTorch, and a training step "
            "takes about 1.3 times as long",
            file=sys.stderr,
        )
        return None
    machine = Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0] if Path("/proc/cpuinfo").exists() else b""
    flags = b"".join(line for line in machine.splitlines() if line.startswith((b"flags", b"model name")))
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode() + flags).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quietwire-train"
    built = cache / f"recurrence-{key}.so"
    if not built.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / "made.so"
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(made)]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                reason = getattr(error, "stderr", "") or error
                print(f"{compiler} failed, recurrences run in PyTorch: {reason}", file=sys.stderr)
                return None
            made.replace(built)  # atomic, so that two runs may compile at once
    return ctypes.CDLL(str(built))


def _call(name: str, tensors: list[torch.Tensor]) -> None:
    first = tensors[0]
    steps, rows, width = first.shape
    function = getattr(library(), f"{name}_{KERNELS[first.dtype]}")
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    sizes = [ctypes.c_int64(size) for size in (steps, rows, width)]
    function(*pointers, *sizes, ctypes.c_int(min(torch.get_num_threads(), rows)))


class _Compiled(torch.autograd.Function):
    """x [hops, rows, width], weight [3 * width, width], bias -> x + sigmoid(gate) * tanh(state)."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        weight = weight.to(x.dtype)
        gates = linear(x, weight, bias.to(x.dtype))
        out, state = torch.empty_like(x), torch.empty_like(x)
        _call("forward", [x, gates, out, state])
        ctx.save_for_backward(x, gates, state, weight)
        return out

    @staticmethod
    def backward(ctx, grad_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, gates, state, weight = ctx.saved_tensors
        grad_out = grad_out.contiguous()
        grad_gates = torch.empty_like(gates)
        _call("backward", [grad_out, gates, state, grad_gates])
        flat = grad_gates.flatten(0, 1)
        # A product with ones accumulates in float32 without a float32 copy of `flat`.
        grad_bias = (torch.ones(1, len(flat), dtype=flat.dtype) @ flat)[0]
        grad_weight = flat.T @ x.flatten(0, 1)
        return grad_out + grad_gates @ weight, grad_weight.float(), grad_bias.float()


def by_hops(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The same in PyTorch, for other devices, with gradients by autograd."""
    gates = linear(x, weight.to(x.dtype), bias.to(x.dtype)).float()
    update, candidate, output_gate = gates.chunk(3, -1)
    update = torch.sigmoid(update)
    state, states = torch.zeros_like(candidate[0]), []
    for share, new in zip(update, candidate):
        state = torch.lerp(state, new, share)
        states.append(state)
    return x + (torch.sigmoid(output_gate) * torch.tanh(torch.stack(states))).to(x.dtype)


class Recurrence(nn.Module):
    """A residual recurrence over time in every row: x [hops, rows, width] -> the same shape.

    state = state + sigmoid(update) * (candidate - state); out = x + sigmoid(gate) * tanh(state),
    where update, candidate and gate are linear in x. minGRU (Feng et al. 2024, "Were RNNs all we
    needed?") with the output gate of SRU (Lei et al. 2018).
    """

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.gates = nn.Linear(width, 3 * width)
        with torch.no_grad():
            # Update gates from 0.02 to 0.9: time constants from half a second to one hop.
            self.gates.bias[:width] = torch.linspace(-4, 2, width)[torch.randperm(width)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        compiled = x.device.type == "cpu" and x.dtype in KERNELS and library() is not None
        with torch.autocast(x.device.type, enabled=False):
            return (_Compiled.apply if compiled else by_hops)(x, self.gates.weight, self.gates.bias)
