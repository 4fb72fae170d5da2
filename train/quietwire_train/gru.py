"""GRUs of one layer on a CPU: many short rows, such as the subbands of every hop, and wide states.

PyTorch's loop spends most of its time between the steps. `recurrence.cpp` keeps the state of a narrow row in
registers, and reads the weights of a wide state once for several rows; the products with the input are one
matrix product.
"""

from __future__ import annotations

import ctypes

import torch
from torch import nn
from torch.nn.functional import linear

from .recurrence import library


def _call(name: str, tensors: list[torch.Tensor], sizes: tuple[int, int, int], is_reversed: bool) -> None:
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    numbers = [ctypes.c_int64(size) for size in sizes]
    threads = min(torch.get_num_threads(), sizes[1])
    getattr(library(), name)(*pointers, *numbers, ctypes.c_int(is_reversed), ctypes.c_int(threads))


class _Direction(torch.autograd.Function):
    """inputs [steps, rows, 3 width], weight [3 width, width], bias [3 width] -> states [steps, rows, width]."""

    @staticmethod
    def forward(
        ctx, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, is_reversed: bool
    ) -> torch.Tensor:
        inputs = inputs.contiguous()
        steps, rows, wide = inputs.shape
        sizes = (steps, rows, wide // 3)
        state, product = (torch.empty(sizes, dtype=torch.float32) for _ in range(2))
        gates = torch.empty_like(inputs)
        transposed, bias = weight.T.contiguous(), bias.contiguous()
        _call("gru_forward_f32", [inputs, transposed, bias, state, gates, product], sizes, is_reversed)
        ctx.save_for_backward(weight, state, gates, product)
        ctx.sizes, ctx.is_reversed = sizes, is_reversed
        return state

    @staticmethod
    def backward(ctx, grad_out: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, state, gates, product = ctx.saved_tensors
        grad_out, weight = grad_out.contiguous(), weight.contiguous()
        grad_inputs, grad_products = torch.empty_like(gates), torch.empty_like(gates)
        tensors = [grad_out, weight, state, gates, product, grad_inputs, grad_products]
        _call("gru_backward_f32", tensors, ctx.sizes, ctx.is_reversed)
        # The first step has a state of zero before it and adds nothing.
        after, before = (
            (slice(None, -1), slice(1, None)) if ctx.is_reversed else (slice(1, None), slice(None, -1))
        )
        grad_weight = grad_products[after].flatten(0, 1).T @ state[before].flatten(0, 1)
        return grad_inputs, grad_weight, grad_products.sum((0, 1)), None


def _run_direction(gru: nn.GRU, x: torch.Tensor, suffix: str) -> torch.Tensor:
    w_input, w_state, b_input, b_state = (
        getattr(gru, f"{kind}_l0{suffix}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = linear(x, w_input, b_input).float()
    with torch.autocast("cpu", enabled=False):
        return _Direction.apply(inputs, w_state, b_state, suffix != "")


def run_gru(gru: nn.GRU, x: torch.Tensor) -> torch.Tensor:
    """`gru(x)[0]` of a GRU of one layer, steps first: x [steps, rows, k] to [steps, rows, width], or twice the
    width if it is bidirectional."""
    if x.device.type != "cpu" or library() is None:
        return gru(x)[0]
    suffixes = ("", "_reverse") if gru.bidirectional else ("",)
    return torch.cat([_run_direction(gru, x, suffix) for suffix in suffixes], -1)
