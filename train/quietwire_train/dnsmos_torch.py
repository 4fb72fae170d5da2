"""DNSMOS P.835 with a gradient, for the loss.

The network of Reddy et al., ICASSP 2022, as the package speechmos ships it, converted to PyTorch. A
model trained on a score must be judged by other measures as well.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch.nn.functional import conv2d, max_pool2d, pad

from .dnsmos import POLYNOMIALS, RATE_HZ, model_path

WINDOW = 320  # samples at 16 kHz
HOP = 160
POOLED = (3, 4, 5)  # convolutions after which both axes are halved
FLOOR = 1e-12  # lowest power, as in the published graph


class Dnsmos:
    """DNSMOS scores BAK and OVRL, 1 to 5, of clips at 48 kHz.

    With `bf16` the convolutions are in bfloat16: scores change by at most 0.03, and a processor with
    bfloat16 products needs a fifth of the time.
    """

    def __init__(self, device: torch.device | str = "cpu", bf16: bool = False):
        graph = onnx.load(model_path()).graph
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}

        def weights(op: str) -> list[list[torch.Tensor]]:
            """Constants of the nodes with the operator `op`, in the order of the graph."""
            nodes = [
                [stored[name] for name in node.input if name in stored]
                for node in graph.node
                if node.op_type == op
            ]
            return [[torch.tensor(value, device=device) for value in node] for node in nodes if node]

        convolutions = weights("Conv")
        # The first two convolutions are the real and imaginary kernels of the Fourier transform.
        self.transform = torch.cat([kernel[..., 0] for (kernel,) in convolutions[:2]]).T
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        # Channels last throughout: a change of layout between layers takes longer than the products.
        self.convolutions = [
            (kernel.to(self.dtype, memory_format=torch.channels_last), bias.to(self.dtype))
            for kernel, bias in convolutions[2:]
        ]
        self.dense = [(w, b) for (w,), (b,) in zip(weights("MatMul"), weights("Add"))]
        self.curves = torch.tensor([POLYNOMIALS["bak"], POLYNOMIALS["ovrl"]], device=device)

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        """[n, samples] at 48 kHz -> scores [n, 2]. Any length; DNSMOS was trained on 9 s."""
        return self.scores(resample_to_16_khz(wave))

    def scores(self, wave: torch.Tensor) -> torch.Tensor:
        """[n, samples] at 16 kHz -> scores [n, 2]."""
        spectrum = wave.unfold(-1, WINDOW, HOP) @ self.transform
        real, imaginary = spectrum.chunk(2, -1)
        power = (real.square() + imaginary.square()).clamp_min(FLOOR)
        x = (power.log() / np.log(10.0)).to(self.dtype)
        (kernel, bias), *others = self.convolutions
        x = torch.relu(neighborhoods(x) @ kernel.flatten(1).T + bias).permute(0, 3, 1, 2)
        for at, (kernel, bias) in enumerate(others, 1):
            x = torch.relu(conv2d(x, kernel, bias, padding=1))
            if at in POOLED:
                x = max_pool2d(x, 2)
        x = x.amax((2, 3)).float()
        for at, (weight, bias) in enumerate(self.dense):
            x = x @ weight + bias
            if at + 1 < len(self.dense):
                x = torch.relu(x)
        square, slope, offset = self.curves.T
        raw = x[:, 1:]
        return square * raw.square() + slope * raw + offset


def neighborhoods(x: torch.Tensor) -> torch.Tensor:
    """[n, rows, columns] -> [n, rows, columns, 9]: each value and its eight neighbors, zeros outside.

    The input of a 3 x 3 kernel as a matrix product: PyTorch's convolution chooses a slow memory
    layout for a single channel.
    """
    rows, columns = x.shape[1:]
    padded = pad(x, (1, 1, 1, 1))
    shifted = [
        padded[:, row : row + rows, column : column + columns] for row in range(3) for column in range(3)
    ]
    return torch.stack(shifted, -1)


def resample_to_16_khz(wave: torch.Tensor) -> torch.Tensor:
    """[n, samples] at 48 kHz -> [n, samples / 3]; the spectrum above 8 kHz is cut off."""
    length = wave.shape[-1] // 3 * 3
    ratio = 48_000 // RATE_HZ
    spectrum = torch.fft.rfft(wave[..., :length])[..., : length // ratio // 2 + 1]
    return torch.fft.irfft(spectrum, n=length // ratio) / ratio
