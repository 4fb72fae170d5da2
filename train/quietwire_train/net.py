"""The network: a few large dense and recurrent layers, all state explicit.

Dense and GRU layers read each weight once a hop, so their cost is the bytes of the weights; at
one stream a core that beats convolutions with few weights and many small operations.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import nn

from .frontend import FrontEnd


@dataclass(frozen=True)
class NetShape:
    """Sizes of a network. A checkpoint carries them."""

    hidden: int = 320
    layers: int = 2
    tap_bins: int = 64  # low bins that get a complex filter over time
    tap_order: int = 3  # this hop and `tap_order - 1` hops before it

    def as_dict(self) -> dict:
        return asdict(self)


class Net(nn.Module):
    """Features of a stream to band gains, low-band filter taps and speech probability."""

    def __init__(self, front: FrontEnd, shape: NetShape):
        super().__init__()
        if shape.tap_bins > front.linear_bins:
            raise ValueError(f"tap_bins {shape.tap_bins} needs one-bin bands, there are {front.linear_bins}")
        self.front, self.shape = front, shape
        hidden = shape.hidden
        self.encoder = nn.Linear(front.features, hidden)
        self.recurrent = nn.ModuleList(nn.GRU(hidden, hidden, batch_first=True) for _ in range(shape.layers))
        self.decoder = nn.Linear(hidden, hidden)
        self.gain = nn.Linear(hidden, front.bands)
        self.taps = nn.Linear(hidden, 2 * shape.tap_order * shape.tap_bins)
        self.vad = nn.Linear(hidden, 1)
        for layer in self.recurrent:
            nn.init.orthogonal_(layer.weight_hh_l0)
        # At first the taps are nothing but the gain: a plain masking network.
        nn.init.zeros_(self.taps.weight)
        nn.init.zeros_(self.taps.bias)
        nn.init.constant_(self.gain.bias, 1.0)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[n, hops, features] -> gain [n, hops, bands] in 0..1,
        taps [n, hops, order, 2, tap_bins], vad logit [n, hops]."""
        x = torch.relu(self.encoder(features))
        for layer in self.recurrent:
            x = x + layer(x)[0]
        x = torch.relu(self.decoder(x)).float()
        with torch.autocast(x.device.type, enabled=False):
            return self.heads(x)

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[n, hops, hidden] -> the outputs. Always in float32: eight bits of a gain are not enough."""
        shape = self.shape
        gain = torch.sigmoid(self.gain(x))
        fine = torch.tanh(self.taps(x)).unflatten(-1, (2 * shape.tap_order, shape.tap_bins))
        first = fine[..., :1, :] + gain[..., None, : shape.tap_bins]
        taps = torch.cat([first, fine[..., 1:, :]], dim=-2)
        taps = taps.unflatten(-2, (shape.tap_order, 2))
        return gain, taps, self.vad(x).squeeze(-1)


def apply(
    spectrum: torch.Tensor, gain: torch.Tensor, taps: torch.Tensor, bands: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy spectrum [n, hops, bins] complex -> clean (real, imaginary), each [n, hops, bins].

    Low bins: a complex filter over this hop and those before it (multi-frame filtering,
    Mack & Habets 2020, "Deep filtering"). Bins above: the gain of their bands.
    """
    order, tap_bins = taps.shape[-3], taps.shape[-1]
    curve = gain @ bands
    high_re = spectrum.real[..., tap_bins:] * curve[..., tap_bins:]
    high_im = spectrum.imag[..., tap_bins:] * curve[..., tap_bins:]
    low_re = torch.zeros_like(spectrum.real[..., :tap_bins])
    low_im = torch.zeros_like(low_re)
    for tap in range(order):
        past = torch.nn.functional.pad(spectrum[..., :tap_bins], (0, 0, tap, 0))
        past = past[..., : spectrum.shape[-2], :]
        re, im = taps[..., tap, 0, :], taps[..., tap, 1, :]
        low_re = low_re + past.real * re - past.imag * im
        low_im = low_im + past.real * im + past.imag * re
    return torch.cat([low_re, high_re], -1), torch.cat([low_im, high_im], -1)
