"""The network: recurrences shared by all subbands, and layers that combine the subbands.

The bands of a stream are grouped by four into subbands. One recurrence over time runs in every
subband with the same weights. Two kinds of block combine the subbands:

- `subband_fullband`: a narrow fullband layer with a recurrence of its own feeds its result back to
  every subband (compare FullSubNet, Hao et al. 2021).
- `time_frequency`: a bidirectional GRU runs along the subbands of each hop (dual-path recurrence,
  Luo et al. 2020; in speech enhancement GTCRN, Rong et al. 2024). Only the last block has the
  fullband layer.

All state over time is explicit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from .frontend import FrontEnd
from .gru import run_gru
from .recurrence import Recurrence

SUBBAND_BANDS = 4  # bands in a subband
CONTEXT_BANDS = 2  # bands of each neighbor at the input of a subband

# Names in checkpoints and graphs written before 0.2, and their names now.
RENAMED = (
    (r"\balone(?=\b|\d)", "subband"),
    (r"\btogether(?=\b|\d)", "fullband"),
    (r"\bgather\b", "to_fullband"),
    (r"\bspread\b", "from_fullband"),
    (r"^places$", "subband_embedding"),
    (r"\.whole$", ".int8"),
    (r"\.half$", ".f16"),
)


def current_name(name: str) -> str:
    """The current name of a weight or state whose name may come from an older version."""
    for old, new in RENAMED:
        name = re.sub(old, new, name)
    return name


@dataclass(frozen=True)
class NetShape:
    """Kind of block and sizes of a network. Stored in every checkpoint."""

    block: str = "subband_fullband"  # one of BLOCKS
    channels: int = 48  # channels of a subband
    blocks: int = 4  # blocks in series
    summary: int = 96  # width of the fullband summary
    tap_bins: int = 64  # low bins with a complex filter over time
    tap_order: int = 3  # hops of that filter: this hop and `tap_order - 1` before it
    input_hops: int = 1  # hops at the input: this hop and `input_hops - 1` before it
    frequency: int = 0  # state of the GRU over frequency, for each direction; only time_frequency

    def as_dict(self) -> dict:
        return asdict(self)


# Kinds of block by name. A block is made from (shape, subbands, whether it is the last block). Its
# forward maps [hops, n, subbands, channels] to the same and a summary [hops, n, summary], which only
# the last block must have; its init_identity makes the output equal the input. export.py needs an
# entry of the same name to write its graph.
BLOCKS: dict[str, Callable[[NetShape, int, bool], nn.Module]] = {}


def register_block(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Decorator that adds a class to BLOCKS."""

    def register(kind: type[nn.Module]) -> type[nn.Module]:
        if name in BLOCKS:
            raise ValueError(f"there is a block {name!r} already")
        BLOCKS[name] = kind
        return kind

    return register


@register_block("subband_fullband")
class Block(nn.Module):
    """A subband recurrence, then a fullband recurrence: [hops, n, subbands, channels] to the same."""

    def __init__(self, shape: NetShape, subbands: int, is_last: bool):
        super().__init__()
        if shape.frequency:
            raise ValueError(f"frequency {shape.frequency}: the block {shape.block!r} has no such layer")
        self.subband = Recurrence(shape.channels)
        _add_fullband(self, shape, subbands)

    def init_identity(self) -> None:
        """Makes the output equal the input, for a block that is added to a trained network."""
        candidates = slice(self.subband.width, 2 * self.subband.width)
        with torch.no_grad():
            for value in (self.subband.gates.weight[candidates], self.subband.gates.bias[candidates]):
                value.zero_()
            for value in self.from_fullband.parameters():
                value.zero_()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the output and the fullband summary [hops, n, summary]."""
        x = self.subband(x.flatten(1, 2)).reshape(x.shape)
        return _run_fullband(self, x)


def _add_fullband(block: nn.Module, shape: NetShape, subbands: int) -> None:
    """Adds the layers of the fullband summary to a block."""
    block.to_fullband = nn.Linear(subbands * shape.channels, shape.summary)
    block.fullband = Recurrence(shape.summary)
    block.from_fullband = nn.Linear(shape.summary, subbands * shape.channels)
    with torch.no_grad():
        block.from_fullband.weight *= 0.3  # small at first: subbands depend mostly on themselves


def _run_fullband(block: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [hops, n, subbands, channels] -> x plus the fullband feedback, and the summary."""
    summary = block.fullband(torch.relu(block.to_fullband(x.flatten(2))))
    return x + block.from_fullband(summary).reshape(x.shape), summary


@register_block("time_frequency")
class TimeFrequencyBlock(nn.Module):
    """A recurrence over time in each subband, then a bidirectional GRU over the subbands of each hop.

    The last block also has the fullband summary.
    """

    def __init__(self, shape: NetShape, subbands: int, is_last: bool):
        super().__init__()
        if shape.frequency < 1:
            raise ValueError(f"frequency {shape.frequency}: the block {shape.block!r} needs 1 or more")
        self.subband = Recurrence(shape.channels)
        self.frequency = nn.GRU(shape.channels, shape.frequency, bidirectional=True)
        self.from_frequency = nn.Linear(2 * shape.frequency, shape.channels)
        self.is_last = is_last
        if is_last:
            _add_fullband(self, shape, subbands)

    def init_identity(self) -> None:
        """Makes the output equal the input, for a block that is added to a trained network."""
        candidates = slice(self.subband.width, 2 * self.subband.width)
        with torch.no_grad():
            for value in (self.subband.gates.weight[candidates], self.subband.gates.bias[candidates]):
                value.zero_()
            layers = [self.from_frequency, self.from_fullband] if self.is_last else [self.from_frequency]
            for layer in layers:
                for value in layer.parameters():
                    value.zero_()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns the output and, in the last block, the fullband summary [hops, n, summary]."""
        hops, n, subbands, channels = x.shape
        x = self.subband(x.flatten(1, 2)).reshape(x.shape)
        # The GRU takes the subbands as its steps and every hop of every stream as a row.
        rows = x.reshape(hops * n, subbands, channels).transpose(0, 1)
        along = self.from_frequency(run_gru(self.frequency, rows)).transpose(0, 1)
        x = x + along.reshape(x.shape)
        return _run_fullband(self, x) if self.is_last else (x, None)


class Net(nn.Module):
    """Features of a stream to band gains, complex filter taps of the low bins and speech probability."""

    def __init__(self, front: FrontEnd, shape: NetShape):
        super().__init__()
        if shape.block not in BLOCKS:
            raise ValueError(f"unknown block {shape.block!r}; there are {', '.join(BLOCKS)}")
        if shape.tap_bins > front.linear_bins:
            raise ValueError(f"tap_bins {shape.tap_bins} needs one-bin bands, there are {front.linear_bins}")
        if shape.tap_bins % SUBBAND_BANDS:
            raise ValueError(f"tap_bins {shape.tap_bins} is no multiple of {SUBBAND_BANDS}")
        self.front, self.shape = front, shape
        self.subbands = -(-front.bands // SUBBAND_BANDS)
        index = subband_feature_index(front)
        self.register_buffer("feature_index", torch.from_numpy(index), persistent=False)
        if shape.input_hops < 1:
            raise ValueError(f"input_hops {shape.input_hops}: 1 or more")
        inputs = index.shape[1]
        # Subbands share the weights of the encoder and of the gains. Their biases differ, since the
        # probability of speech depends on the frequency.
        self.encoder = nn.Linear(shape.input_hops * inputs, shape.channels, bias=False)
        self.subband_embedding = nn.Parameter(0.3 * torch.randn(self.subbands, shape.channels))
        self.blocks = nn.ModuleList(
            BLOCKS[shape.block](shape, self.subbands, at == shape.blocks - 1) for at in range(shape.blocks)
        )
        self.gain = nn.Linear(shape.channels + inputs, SUBBAND_BANDS, bias=False)
        self.gain_bias = nn.Parameter(torch.ones(self.subbands, SUBBAND_BANDS))
        self.taps = nn.Linear(shape.channels + inputs, 2 * shape.tap_order * SUBBAND_BANDS)
        self.vad = nn.Linear(shape.summary, 1)
        # Taps start at zero, so that an untrained network is a plain masking network.
        nn.init.zeros_(self.taps.weight)
        nn.init.zeros_(self.taps.bias)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[n, hops, features] -> gain [n, hops, bands] from 0 to 1,
        taps [n, hops, order, 2, tap_bins], VAD logit [n, hops]."""
        local = pad(features.transpose(0, 1), (0, 1))[..., self.feature_index]
        # Oldest hop first; hops before the first one count as zero.
        past = [
            pad(local, (0, 0, 0, 0, 0, 0, age, 0))[: len(local)] for age in range(1, self.shape.input_hops)
        ]
        x = self.encoder(torch.cat([*reversed(past), local], -1))
        x = torch.relu(x + self.subband_embedding.to(x.dtype))
        for block in self.blocks:
            x, summary = block(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.heads(torch.relu(x.float()), local, summary.float())

    def heads(
        self, x: torch.Tensor, local: torch.Tensor, summary: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Block output, input features of each subband and the last summary, hops first -> the outputs.

        Always in float32: the eight significant bits of bfloat16 are too few for a gain near 1.
        """
        shape = self.shape
        x = torch.cat([x, local], -1)
        gain = torch.sigmoid(self.gain(x) + self.gain_bias)
        gain = gain.flatten(2)[..., : self.front.bands].transpose(0, 1)
        low = x[:, :, : shape.tap_bins // SUBBAND_BANDS]
        # [hops, n, subbands, 2 order, bands] -> [n, hops, 2 order, bins]
        fine = torch.tanh(self.taps(low)).unflatten(-1, (2 * shape.tap_order, SUBBAND_BANDS))
        fine = fine.permute(1, 0, 3, 2, 4).flatten(3)
        first = fine[..., :1, :] + gain[..., None, : shape.tap_bins]
        taps = torch.cat([first, fine[..., 1:, :]], dim=-2).unflatten(-2, (shape.tap_order, 2))
        return gain, taps, self.vad(summary).squeeze(-1).T


def subband_feature_index(front: FrontEnd) -> np.ndarray:
    """[subbands, 3 * 8] feature indices of each subband; `front.features` stands for a constant zero.

    A subband receives the levels, then the real and imaginary parts of the phase advances, of its
    own four bands and of two more on either side. Band k is bin k as far as there are phase
    advances, from bin 1 on.
    """
    subbands = -(-front.bands // SUBBAND_BANDS)
    zero = front.features
    bands = SUBBAND_BANDS * np.arange(subbands)[:, None]
    bands = bands + np.arange(-CONTEXT_BANDS, SUBBAND_BANDS + CONTEXT_BANDS)
    level = np.where((bands >= 0) & (bands < front.bands), bands, zero)
    has_phase = (bands >= 1) & (bands <= front.phase_bins)
    real = np.where(has_phase, front.bands + bands - 1, zero)
    imaginary = np.where(has_phase, front.bands + front.phase_bins + bands - 1, zero)
    return np.concatenate([level, real, imaginary], axis=1)


def apply_mask(
    spectrum: torch.Tensor, gain: torch.Tensor, taps: torch.Tensor, bands: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy spectrum [n, hops, bins] complex -> clean (real, imaginary), each [n, hops, bins].

    Low bins: a complex filter over this hop and earlier ones (multi-frame filtering,
    Mack & Habets 2020, "Deep filtering"). Higher bins: the gain of their bands.
    """
    order, tap_bins = taps.shape[-3], taps.shape[-1]
    bin_gain = gain @ bands
    high_re = spectrum.real[..., tap_bins:] * bin_gain[..., tap_bins:]
    high_im = spectrum.imag[..., tap_bins:] * bin_gain[..., tap_bins:]
    low_re = torch.zeros_like(spectrum.real[..., :tap_bins])
    low_im = torch.zeros_like(low_re)
    for tap in range(order):
        past = torch.nn.functional.pad(spectrum[..., :tap_bins], (0, 0, tap, 0))
        past = past[..., : spectrum.shape[-2], :]
        re, im = taps[..., tap, 0, :], taps[..., tap, 1, :]
        low_re = low_re + past.real * re - past.imag * im
        low_im = low_im + past.real * im + past.imag * re
    return torch.cat([low_re, high_re], -1), torch.cat([low_im, high_im], -1)
