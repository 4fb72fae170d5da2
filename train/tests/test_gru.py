"""The GRU of many rows: the compiled loop against PyTorch."""

import pytest
import torch
from torch import nn

from quietwire_train import recurrence
from quietwire_train.gru import run_gru


@pytest.mark.parametrize("width", [4, 24])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_compiled_loop_and_its_gradients_equal_pytorchs(width: int, threads: int) -> None:
    assert recurrence.library() is not None, "this test needs a C++ compiler"
    torch.manual_seed(1)
    gru = nn.GRU(5, width, bidirectional=True)
    weights = list(gru.parameters())
    found = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for run in (run_gru, lambda gru, x: gru(x)[0]):
            x = torch.randn(9, 7, 5, generator=torch.Generator().manual_seed(2)).requires_grad_()
            out = run(gru, x)
            weighted = (out * torch.linspace(0.5, 1.5, out.numel()).reshape(out.shape)).square().sum()
            found.append([out, *torch.autograd.grad(weighted, [x, *weights])])
    finally:
        torch.set_num_threads(before)
    for compiled, expected in zip(*found):
        torch.testing.assert_close(compiled, expected, atol=1e-5, rtol=1e-4)


def test_bfloat16_products_stay_near() -> None:
    torch.manual_seed(1)
    gru = nn.GRU(16, 8, bidirectional=True)
    x = torch.randn(9, 7, 16)
    expected = gru(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = run_gru(gru, x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)


def test_without_a_compiler_pytorch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    gru = nn.GRU(3, 2, bidirectional=True)
    x = torch.randn(4, 5, 3)
    expected = run_gru(gru, x)
    monkeypatch.setattr("quietwire_train.gru.library", lambda: None)
    torch.testing.assert_close(run_gru(gru, x), expected, atol=1e-5, rtol=1e-4)
