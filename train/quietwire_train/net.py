"""The network: recurrences shared by all subbands, and a summary of the whole spectrum.

A stream's bands come in groups of four, the subbands. What one subband does over time, all do with
the same weights; between those steps a narrow layer sees the whole spectrum, remembers, and tells
every subband. All state is explicit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from .frontend import FrontEnd
from .recurrence import Recurrence

SUBBAND = 4  # bands of a subband
REACH = 2  # bands of each neighbour that it hears besides


@dataclass(frozen=True)
class NetShape:
    """Sizes of a network. A checkpoint carries them."""

    channels: int = 48  # of a subband
    blocks: int = 4
    summary: int = 96  # numbers that a block keeps of the whole spectrum
    tap_bins: int = 64  # low bins that get a complex filter over time
    tap_order: int = 3  # this hop and `tap_order - 1` hops before it

    def as_dict(self) -> dict:
        return asdict(self)


class Block(nn.Module):
    """Subbands over time, then all of them together: [hops, n, subbands, channels] to the same."""

    def __init__(self, subbands: int, channels: int, summary: int):
        super().__init__()
        self.alone = Recurrence(channels)
        self.gather = nn.Linear(subbands * channels, summary)
        self.together = Recurrence(summary)
        self.spread = nn.Linear(summary, subbands * channels)
        with torch.no_grad():
            self.spread.weight *= 0.3  # at first subbands mostly listen to themselves

    def start_as_nothing(self) -> None:
        """Its output is its input until it is trained: for a trained network that is to grow."""
        candidates = slice(self.alone.width, 2 * self.alone.width)
        with torch.no_grad():
            for value in (self.alone.gates.weight[candidates], self.alone.gates.bias[candidates]):
                value.zero_()
            for value in self.spread.parameters():
                value.zero_()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Also the summary [hops, n, summary]."""
        x = self.alone(x.flatten(1, 2)).reshape(x.shape)
        whole = self.together(torch.relu(self.gather(x.flatten(2))))
        return x + self.spread(whole).reshape(x.shape), whole


class Net(nn.Module):
    """Features of a stream to band gains, low-band filter taps and speech probability."""

    def __init__(self, front: FrontEnd, shape: NetShape):
        super().__init__()
        if shape.tap_bins > front.linear_bins:
            raise ValueError(f"tap_bins {shape.tap_bins} needs one-bin bands, there are {front.linear_bins}")
        if shape.tap_bins % SUBBAND:
            raise ValueError(f"tap_bins {shape.tap_bins} is no multiple of {SUBBAND}")
        self.front, self.shape = front, shape
        self.subbands = -(-front.bands // SUBBAND)
        heard = 3 * (SUBBAND + 2 * REACH)
        self.register_buffer("hears", torch.from_numpy(heard_features(front)), persistent=False)
        # The weights of the encoder and of the gains are shared, their biases are not: where a
        # subband lies in the spectrum says much about what is speech there.
        self.encoder = nn.Linear(heard, shape.channels, bias=False)
        self.places = nn.Parameter(0.3 * torch.randn(self.subbands, shape.channels))
        self.blocks = nn.ModuleList(
            Block(self.subbands, shape.channels, shape.summary) for _ in range(shape.blocks)
        )
        self.gain = nn.Linear(shape.channels + heard, SUBBAND, bias=False)
        self.gain_bias = nn.Parameter(torch.ones(self.subbands, SUBBAND))
        self.taps = nn.Linear(shape.channels + heard, 2 * shape.tap_order * SUBBAND)
        self.vad = nn.Linear(shape.summary, 1)
        # At first the taps are nothing but the gain: a plain masking network.
        nn.init.zeros_(self.taps.weight)
        nn.init.zeros_(self.taps.bias)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[n, hops, features] -> gain [n, hops, bands] in 0..1,
        taps [n, hops, order, 2, tap_bins], vad logit [n, hops]."""
        heard = pad(features.transpose(0, 1), (0, 1))[..., self.hears]
        x = self.encoder(heard)
        x = torch.relu(x + self.places.to(x.dtype))
        for block in self.blocks:
            x, whole = block(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.heads(torch.relu(x.float()), heard, whole.float())

    def heads(
        self, x: torch.Tensor, heard: torch.Tensor, whole: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Subbands, what they heard, and the last summary, hops first -> the outputs.

        Always in float32: eight bits of a gain are not enough.
        """
        shape = self.shape
        x = torch.cat([x, heard], -1)
        gain = torch.sigmoid(self.gain(x) + self.gain_bias)
        gain = gain.flatten(2)[..., : self.front.bands].transpose(0, 1)
        low = x[:, :, : shape.tap_bins // SUBBAND]
        # [hops, n, subbands, 2 order, bands] -> [n, hops, 2 order, bins]
        fine = torch.tanh(self.taps(low)).unflatten(-1, (2 * shape.tap_order, SUBBAND))
        fine = fine.permute(1, 0, 3, 2, 4).flatten(3)
        first = fine[..., :1, :] + gain[..., None, : shape.tap_bins]
        taps = torch.cat([first, fine[..., 1:, :]], dim=-2).unflatten(-2, (shape.tap_order, 2))
        return gain, taps, self.vad(whole).squeeze(-1).T


def heard_features(front: FrontEnd) -> np.ndarray:
    """[subbands, 3 * 8] places among the features, and one past them for what is not there.

    A subband hears the levels, then both parts of the phase advances, of its own four bands and of
    two more on either side. Band k is bin k as far as there are phase advances, from bin 1 on.
    """
    subbands = -(-front.bands // SUBBAND)
    nothing = front.features
    bands = SUBBAND * np.arange(subbands)[:, None] + np.arange(-REACH, SUBBAND + REACH)
    level = np.where((bands >= 0) & (bands < front.bands), bands, nothing)
    turning = (bands >= 1) & (bands <= front.phase_bins)
    real = np.where(turning, front.bands + bands - 1, nothing)
    imaginary = np.where(turning, front.bands + front.phase_bins + bands - 1, nothing)
    return np.concatenate([level, real, imaginary], axis=1)


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
