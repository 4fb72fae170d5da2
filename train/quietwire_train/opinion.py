"""DNSMOS P.835 as a part of the loss: what listeners are predicted to think of the result.

The network of Reddy et al., ICASSP 2022, as the package speechmos carries it, read into PyTorch so
that it has a gradient. What is trained on it is no longer judged by it alone: the lab book says
which measures a run was held to besides.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch.nn.functional import conv2d, max_pool2d

from .dnsmos import POLYNOMIALS, RATE_HZ, model_path

FRAME = 320  # samples at 16 kHz
HOP = 160
POOLED = (3, 4, 5)  # convolutions after which both axes are halved
FLOOR = 1e-12  # of a power, as in the graph


class Opinion:
    """Opinion scores, 1 to 5, of clips at 48 kHz: of the background and overall (BAK, OVRL)."""

    def __init__(self, device: torch.device | str = "cpu"):
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
        self.convolutions = convolutions[2:]
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
        x = (power.log() / np.log(10.0)).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        for at, (kernel, bias) in enumerate(self.convolutions):
            x = torch.relu(conv2d(x, kernel, bias, padding=1))
            if at in POOLED:
                x = max_pool2d(x, 2)
        x = x.amax((2, 3))
        for at, (weight, bias) in enumerate(self.dense):
            x = x @ weight + bias
            if at + 1 < len(self.dense):
                x = torch.relu(x)
        square, line, offset = self.curves.T
        raw = x[:, 1:]
        return square * raw.square() + line * raw + offset


def at_16_khz(wave: torch.Tensor) -> torch.Tensor:
    """[n, samples] at 48 kHz -> [n, samples / 3], what lies above 8 kHz cut off in the spectrum."""
    length = wave.shape[-1] // 3 * 3
    ratio = 48_000 // RATE_HZ
    spectrum = torch.fft.rfft(wave[..., :length])[..., : length // ratio // 2 + 1]
    return torch.fft.irfft(spectrum, n=length // ratio) / ratio
