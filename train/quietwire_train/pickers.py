"""Random choice of talkers and noise recordings for training mixtures."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from .audio import RATE_HZ
from .store import Clip

WIDEBAND_HZ = 14000.0
EVENT_SECONDS = 1.0  # a noise clip shorter than this is a single event, repeated at random


class SpeechPicker:
    """Draws talkers so that bandwidths, sources and talkers are balanced."""

    def __init__(self, clips: list[Clip], wideband_share: float) -> None:
        groups = {True: [], False: []}
        for clip in clips:
            groups[clip.bandwidth_hz >= WIDEBAND_HZ].append(clip)
        shares = {True: wideband_share, False: 1.0 - wideband_share}
        self._talkers: list[list[Clip]] = []
        weights: list[float] = []
        for wide, members in groups.items():
            sources: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
            for clip in members:
                sources[clip.source][clip.talker].append(clip)
            # The square root limits the share of the longest source. A source with many talkers
            # gets a larger weight than one with many sentences of one talker.
            source_weights = [
                math.sqrt(sum(c.length for talker_clips in talkers.values() for c in talker_clips))
                * (1.0 + math.log10(len(talkers)))
                for talkers in sources.values()
            ]
            total = sum(source_weights)
            for weight, talkers in zip(source_weights, sources.values()):
                for talker_clips in talkers.values():
                    self._talkers.append(sorted(talker_clips, key=lambda clip: clip.bandwidth_hz))
                    weights.append(shares[wide] * weight / total / len(talkers))
        if not weights:
            raise ValueError("no speech clips in this split")
        self._cumulative = np.cumsum(weights) / np.sum(weights)

        self.talkers = {own[0].talker for own in self._talkers}

    def talker(self, rng: np.random.Generator, avoid: str | None) -> list[Clip]:
        """Clips of one talker other than `avoid`, drawn by weight, in order of bandwidth."""
        if not self.talkers - {avoid}:
            raise ValueError("no other talker in this split")
        while True:
            place = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
            own = self._talkers[min(place, len(self._talkers) - 1)]
            if own[0].talker != avoid:
                return own


class NoisePicker:
    """Draws noise clips; the weight of a source is the square root of its length."""

    def __init__(self, clips: list[Clip]) -> None:
        if not clips:
            raise ValueError("no noise clips in this split")
        self._clips = clips
        seconds = defaultdict(float)
        parts = defaultdict(float)
        for clip in clips:
            seconds[clip.source] += clip.length / RATE_HZ
            parts[clip.source] += math.sqrt(clip.length)
        weights = [math.sqrt(seconds[c.source]) * math.sqrt(c.length) / parts[c.source] for c in clips]
        self._cumulative = np.cumsum(weights) / np.sum(weights)
        self._events = defaultdict(list)
        for clip in clips:
            if clip.length < EVENT_SECONDS * RATE_HZ:
                self._events[clip.source].append(clip)

    def clip(self, rng: np.random.Generator) -> Clip:
        """One clip, drawn by weight."""
        place = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        return self._clips[min(place, len(self._clips) - 1)]

    def event(self, source: str, rng: np.random.Generator) -> Clip:
        """One short clip of `source`."""
        return self._events[source][rng.integers(len(self._events[source]))]
