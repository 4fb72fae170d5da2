"""The recurrence: the compiled loop against PyTorch, causality, and no compiler."""

import pytest
import torch

from quietwire_train import recurrence
from quietwire_train.recurrence import Recurrence, _Compiled, by_hops


def clip(dtype: torch.dtype, hops: int = 40, rows: int = 5, width: int = 7) -> torch.Tensor:
    return torch.randn(hops, rows, width, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_compiled_loop_and_its_gradients_equal_pytorchs(
    dtype: torch.dtype, tolerance: float, threads: int
) -> None:
    assert recurrence.library() is not None, "this test needs a C++ compiler"
    torch.manual_seed(2)
    gates = Recurrence(7).gates
    found = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for way in (_Compiled.apply, by_hops):
            x = clip(dtype).requires_grad_()
            out = way(x, gates.weight, gates.bias)
            grads = torch.autograd.grad(out.float().square().sum(), [x, gates.weight, gates.bias])
            found.append([out, *grads])
    finally:
        torch.set_num_threads(before)
    for compiled, expected in zip(*found):
        assert compiled.dtype == expected.dtype and compiled.shape == expected.shape
        error = (compiled.float() - expected.float()).abs().max() / expected.float().abs().max()
        assert error < tolerance


def test_rows_are_independent_and_causal() -> None:
    layer, x = Recurrence(7), clip(torch.float32)
    other = x.clone()
    other[20:, 3] += 1
    change = (layer(other) - layer(x)).abs().amax(-1)
    assert change[20:, 3].min() > 0
    change[20:, 3] = 0
    assert change.max() == 0


def test_without_a_compiler_pytorch_runs_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layer, x = Recurrence(7), clip(torch.float32)
    expected = layer(x)
    recurrence.library.cache_clear()
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(recurrence.shutil, "which", lambda name: None)
    try:
        torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=0)
    finally:
        recurrence.library.cache_clear()
    assert "no C++ compiler" in capsys.readouterr().err
