"""Fixed development pairs: dev talkers and dev noises at known signal-to-noise ratios."""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
from scipy.fft import irfft, next_fast_len, rfft

from .data import RATE_HZ, Clip, Store, active_level_db, power_db

LEVEL_DB = -26.0  # active speech level in dBFS, the usual level of ITU-T test material
NARROW_HZ = 8000.0
GAP = RATE_HZ * 3 // 10  # 0.3 s between two utterances


def noise_class(clip: Clip) -> str:
    """Class of a noise recording, as far as its source and file name tell it."""
    if clip.source == "keystroke":
        return "keyboard"
    stem = Path(clip.path).stem
    return re.split(r"-|_\d+$", stem)[0].lower()


def _low_pass(signal: np.ndarray, limit_hz: float) -> np.ndarray:
    """`signal` without content above `limit_hz`; raised cosine from 94 % of the limit."""
    size = next_fast_len(len(signal) + RATE_HZ // 10, real=True)
    spectrum = rfft(signal, size)
    bin_hz = RATE_HZ / size
    place = (np.arange(len(spectrum)) * bin_hz / limit_hz - 0.94) / 0.06
    spectrum *= (0.5 + 0.5 * np.cos(np.pi * np.clip(place, 0.0, 1.0))).astype(np.float32)
    return irfft(spectrum, size)[: len(signal)]


def _in_band_db(signal: np.ndarray, bandwidth_hz: float) -> float:
    return power_db(_low_pass(signal, bandwidth_hz) if bandwidth_hz < RATE_HZ / 2 else signal)


def _slots(store: Store, talkers: int) -> list[list[Clip]]:
    """Clips of each of `talkers` slots, in turn from every dev source and from its talkers.

    A source with few talkers serves several slots with different utterances. The cleanest
    recordings come first: noise in the reference would count against a good system.
    """
    sources: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in store.clips("speech", "dev"):
        sources[clip.source][clip.talker].append(clip)
    if not sources:
        raise ValueError("the store has no dev speech")
    queues = []
    for name in sorted(sources):
        ranked = [
            sorted(own, key=lambda clip: (-(clip.snr_est_db or 0.0), clip.path))
            for own in sources[name].values()
        ]
        ranked.sort(key=lambda own: (-(own[0].snr_est_db or 0.0), own[0].talker))
        queues.append(ranked)
    slots = []
    for slot in range(talkers):
        ranked = queues[slot % len(queues)]
        turn = slot // len(queues)
        own = ranked[turn % len(ranked)]
        shift = turn // len(ranked) * 4 % len(own)  # about four utterances fill one slot
        slots.append(own[shift:] + own[:shift])
    return slots


def _noise_order(store: Store, count: int) -> list[Clip]:
    """`count` noises, in turn from every dev source and evenly spread inside each.

    The turn shifts by one after each round and each round of rounds, so that it never runs in
    step with the SNRs or with the speech sources.
    """
    sources: dict[str, list[Clip]] = defaultdict(list)
    for clip in store.clips("noise", "dev"):
        sources[clip.source].append(clip)
    if not sources:
        raise ValueError("the store has no dev noise")
    queues = [sources[name] for name in sorted(sources)]
    size = len(queues)
    turns = -(-count // size)
    used = [0] * size
    order = []
    for k in range(count):
        place = (k + k // size + k // size**2) % size
        queue = queues[place]
        order.append(queue[used[place] * len(queue) // turns % len(queue)])
        used[place] += 1
    return order


def _speech(store: Store, clips: list[Clip], length: int) -> tuple[np.ndarray, float]:
    """`length` samples of utterances of one talker with gaps, and their bandwidth in Hz."""
    samples = np.zeros(length, np.float32)
    position, used = 0, []
    while position < length:
        clip = clips[len(used) % len(clips)]
        part = store.read(clip.index, 0, length - position)
        samples[position : position + len(part)] = part
        position += len(part) + GAP
        used.append(clip)
    return samples, min(clip.bandwidth_hz for clip in used)


def _noise(store: Store, clip: Clip, length: int) -> np.ndarray:
    """`length` samples from the middle of a noise recording, repeated when it is short."""
    start = max(0, (clip.length - length) // 2)
    part = store.read(clip.index, start, length)
    return np.resize(part, length)


def make_devset(
    store: Store,
    out_dir: Path,
    seconds: float = 6.0,
    talkers: int = 12,
    snrs_db: tuple[float, ...] = (0.0, 5.0, 10.0),
    noises: int = 1,
) -> int:
    """Write `out_dir`/noisy/NAME.wav, clean/NAME.wav (48 kHz, 16 bit) and pairs.json.

    One pair for each talker slot, SNR and round of `noises`. Pairs of a narrow-band talker are
    band-limited to 8 kHz, noise included. Returns the number of pairs. The SNR is the active
    speech level over the rms of the noise inside the bandwidth of the speech.
    """
    length = round(seconds * RATE_HZ)
    trained = {clip.talker for clip in store.clips("speech", "train")}
    slots = _slots(store, talkers)
    order = iter(_noise_order(store, len(slots) * len(snrs_db) * noises))
    for name in ("noisy", "clean"):
        (out_dir / name).mkdir(parents=True, exist_ok=True)
    pairs = []
    for slot, clips in enumerate(slots):
        speech, bandwidth_hz = _speech(store, clips, length)
        narrow = bandwidth_hz <= NARROW_HZ
        if narrow:
            speech, bandwidth_hz = _low_pass(speech, NARROW_HZ), NARROW_HZ
        speech *= np.float32(10 ** ((LEVEL_DB - active_level_db(speech)) / 20))
        for snr_db in [snr for snr in snrs_db for _ in range(noises)]:
            source = next(order)
            noise = _noise(store, source, length)
            if narrow:
                noise = _low_pass(noise, NARROW_HZ)
            lift_db = LEVEL_DB - snr_db - _in_band_db(noise, bandwidth_hz)
            noisy = speech + noise * np.float32(10 ** (lift_db / 20))
            scale = min(1.0, 0.99 / float(np.abs(noisy).max()))
            name = f"{len(pairs):03d}_{noise_class(source)}_{snr_db:g}db"
            for folder, signal in (("noisy", noisy), ("clean", speech)):
                path = out_dir / folder / f"{name}.wav"
                soundfile.write(path, signal * scale, RATE_HZ, subtype="PCM_16")
            pairs.append(
                {
                    "name": name,
                    "slot": slot,
                    "talker": clips[0].talker,
                    "talker_in_training": clips[0].talker in trained,
                    "speech_source": clips[0].source,
                    "noise_class": noise_class(source),
                    "noise_source": source.source,
                    "snr_db": snr_db,
                    "bandwidth_hz": bandwidth_hz,
                    "level_db": LEVEL_DB + 20 * float(np.log10(scale)),
                }
            )
    (out_dir / "pairs.json").write_text(json.dumps(pairs, indent=1))
    return len(pairs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `devset` command."""
    parser.add_argument("store", type=Path, help="folder written by prepare")
    parser.add_argument("out", type=Path, help="folder for the pairs")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a pair")
    parser.add_argument("--talkers", type=int, default=12, help="talker slots")
    parser.add_argument("--noises", type=int, default=1, help="noises for each talker and SNR")


def run(args: argparse.Namespace) -> int:
    """Make the development pairs; returns 0."""
    count = make_devset(Store(args.store), args.out, args.seconds, talkers=args.talkers, noises=args.noises)
    print(f"{count} pairs in {args.out}")
    return 0
