"""The class `Denoiser`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from . import _native

if TYPE_CHECKING:
    from ._native import _BlockT


class Denoiser(_native.Denoiser):
    """One live stream: `process` returns as many frames as it gets, `latency` frames later.

    Args:
        rate_hz: sample rate of the blocks, 8000 to 192000 Hz.
        channels: channels of the blocks, 1 to 64.
        model: a `Model`, the id of a model of the package ("base" or "tiny"), or the path of a folder
            with `model.toml`. Default: "base". Streams share the weights of a model.
        level: "low" (12 dB), "medium" (20 dB) or "high" (40 dB, the default).
        attenuation_db: the largest attenuation, dB, in place of `level`; 0 changes nothing, `math.inf`
            is no limit.
        channel_mode: "independent", or "linked": all channels share one mask, which keeps the stereo
            image and costs one inference for all channels.
        channels_first: whether blocks of several channels have the shape (c, n) instead of (n, c).
        bypass: whether the stream starts with the delayed input as its output.
        hop_aligned: the caller passes only whole hops (10, 20, ... ms at 48 kHz); the latency is then
            one hop less, 10 ms.
        telemetry_hops: how many hops `telemetry` keeps, 0 to 60000.
        repair_non_finite: NaN and infinite samples become 0, counted in `stats()["repaired_samples"]`,
            instead of raising an exception.

    Raises:
        InvalidOptionError: an option is out of range.
        UnsupportedByModelError: the model cannot do what an option asks for.
        UnknownModelError: there is no such model.

    One stream is for one thread at a time; threads that share one wait for each other. Different streams
    run in parallel: the interpreter lock is released while a block is processed. As a context manager,
    the stream is closed at the end of the block.
    """

    def clean_blocks(self, blocks: Iterable[_BlockT]) -> Iterator[_BlockT]:
        """Cleans a complete signal block by block, without delay in the output.

        Empties the stream first. Yields arrays that together have as many frames as the blocks, aligned
        with them: the first `latency` frames of output are left out, and the end of the signal follows
        after the last block. Reads the next block when the next array is requested.

        Args:
            blocks: blocks as for `process`, each of any length.

        Raises:
            As `process`.
        """
        self.reset()
        left = self.latency
        for block in blocks:
            output = self.process(block)
            left, output = self._without_start(left, output)
            if output.size:
                yield output
        tail = cast("_BlockT", self.flush())
        _, output = self._without_start(left, tail)
        if output.size:
            yield output

    def _without_start(self, left: int, block: _BlockT) -> tuple[int, _BlockT]:
        """Removes up to `left` frames from the start of a block."""
        frames_axis = 1 if self.channels_first and block.ndim == 2 else 0
        removed = min(left, block.shape[frames_axis])
        if removed:
            block = block[:, removed:] if frames_axis else block[removed:]
        return left - removed, block
