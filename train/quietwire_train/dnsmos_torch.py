"""DNSMOS P.835 as a part of the loss: what listeners are predicted to think of the result.

The network of Reddy et al., ICASSP 2022, as the package speechmos carries it, read into PyTorch so
that it has a gradient. What is trained on it is no longer judged by it alone: the lab book says
which measures a run was held to besides.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch.nn.functional import conv2d, max_pool2d, pad

from .dnsmos import POLYNOMIALS, RATE_HZ, model_path

FRAME = 320  # samples at 16 kHz
HOP = 160
POOLED = (3, 4, 5)  # convolutions after which both axes are halved
FLOOR = 1e-12  # of a power, as in the graph


class Opinion:
    """Opinion scores, 1 to 5, of clips at 48 kHz: of the background and overall (BAK, OVRL).

    With `bf16` the convolutions are in bfloat16: scores within 0.03, a fifth of the time on processors
    that have such products.
    """

    def __init__(self, device: torch.device | str = "cpu", bf16: bool = False):
        graph = onnx.load(model_path()).graph
        held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}

        def weights(op: str) -> list[list[torch.Tensor]]:
            """Constants of the nodes of this kind, in the order of the graph."""
            nodes = [
                [held[name] for name in node.input if name in held]
                for node in graph.node
                if node.op_type == op
            ]
            return [[torch.tensor(value, device=device) for value in node] for node in nodes if node]

        convolutions = weights("Conv")
        # Two products with the transform's kernels come first.
        self.transform = torch.cat([kernel[..., 0] for (kernel,) in convolutions[:2]]).T
        self.kind = torch.bfloat16 if bf16 else torch.float32
        # Channels last all the way: copies from one order to the other would take longer than the products.
        self.convolutions = [
            (kernel.to(self.kind, memory_format=torch.channels_last), bias.to(self.kind))
            for kernel, bias in convolutions[2:]
        ]
        self.dense = [(w, b) for (w,), (b,) in zip(weights("MatMul"), weights("Add"))]
        self.curves = torch.tensor([POLYNOMIALS["bak"], POLYNOMIALS["ovrl"]], device=device)

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        """[n, samples] at 48 kHz -> scores [n, 2]. Clips of any length; DNSMOS was made for 9 s."""
        return self.scores(at_16_khz(wave))

    def scores(self, wave: torch.Tensor) -> torch.Tensor:
        """[n, samples] at 16 kHz -> scores [n, 2]."""
        turned = wave.unfold(-1, FRAME, HOP) @ self.transform
        real, imaginary = turned.chunk(2, -1)
        power = (real.square() + imaginary.square()).clamp_min(FLOOR)
        x = (power.log() / np.log(10.0)).to(self.kind)
        (kernel, bias), *others = self.convolutions
        x = torch.relu(neighbours(x) @ kernel.flatten(1).T + bias).permute(0, 3, 1, 2)
        for at, (kernel, bias) in enumerate(others, 1):
            x = torch.relu(conv2d(x, kernel, bias, padding=1))
            if at in POOLED:
                x = max_pool2d(x, 2)
        x = x.amax((2, 3)).float()
        for at, (weight, bias) in enumerate(self.dense):
            x = x @ weight + bias
            if at + 1 < len(self.dense):
                x = torch.relu(x)
        square, line, offset = self.curves.T
        raw = x[:, 1:]
        return square * raw.square() + line * raw + offset


def neighbours(x: torch.Tensor) -> torch.Tensor:
    """[n, rows, columns] -> [n, rows, columns, 9]: each value with those around it, zeros outside.

    What a kernel of three by three multiplies. A convolution of a single channel picks the wrong order.
    """
    rows, columns = x.shape[1:]
    wide = pad(x, (1, 1, 1, 1))
    around = [wide[:, row : row + rows, column : column + columns] for row in range(3) for column in range(3)]
    return torch.stack(around, -1)


def at_16_khz(wave: torch.Tensor) -> torch.Tensor:
    """[n, samples] at 48 kHz -> [n, samples / 3], what lies above 8 kHz cut off in the spectrum."""
    length = wave.shape[-1] // 3 * 3
    ratio = 48_000 // RATE_HZ
    spectrum = torch.fft.rfft(wave[..., :length])[..., : length // ratio // 2 + 1]
    return torch.fft.irfft(spectrum, n=length // ratio) / ratio
