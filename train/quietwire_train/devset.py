"""The development benchmark: fixed pairs of noisy and clean sound from the split dev.

The same store gives the same files. The SNR is the active speech level over the rms of the noise
inside the bandwidth of the speech, unless a set defines it otherwise. Sets, for 12 talker slots:

- `snr`: every slot at -5 to 15 dB, dry, speech at -26 dBFS, noises in turn from all dev sources.
- `room`: speech in simulated rooms that are not in training. The reference is the reverberant
  speech, since a denoiser should not remove reverberation.
- `level`: pairs of `snr` (their `twin`) at active levels of -45, -35 and -10 dBFS.
- `whisper`: pairs of `snr` (their `twin`) exactly 30 dB lower.
- `clean`: speech alone, which must stay unchanged.
- `noise`: noise alone, of different classes, at -35 dBFS rms; the reference is digital silence.
- `babble`: four other dev talkers as noise.
- `music`: synthetic music (chords, bass, melody, drums).
- `keyboard`: typing, composed of recorded keystrokes. The noise level of the SNR is the active level
  of the typing, computed like that of speech, so that pauses do not count.
- `telephone`: speech and noise between 300 and 3400 Hz.
- `digits`: digits read by one voice, from a folder of prompts, for word error rates.
- `low_cut`: speech alone, high-passed at 300 to 700 Hz as by small microphones. It must stay
  unchanged, like `clean`.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from . import heldout
from .audio import RATE_HZ, active_level_db, amplitude, power_db, read_mono
from .devset_sounds import cut_silence, limit_band, music, typing
from .pairs import PEAK, Missing, Pair, Summary, checked_sets, write_pairs
from .store import Clip, Store

LEVEL_DB = -26.0  # active speech level in dBFS, the usual level of ITU-T test material
NOISE_LEVEL_DB = -35.0
WHISPER_DB = -30.0
LEVELS_DB = (-45.0, -35.0, -10.0)
NARROW_HZ = 8000.0
TELEPHONE_HZ = (300.0, 3400.0)
LOW_CUTS_HZ = (300.0, 400.0, 500.0, 600.0, 700.0)
GAP = RATE_HZ * 3 // 10  # 0.3 s between two utterances
SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0)
DIGIT_SNRS_DB = (-5.0, 0.0, 5.0, 10.0)  # from 5 dB up the recognizer makes hardly any errors
ROOM_SEED = 0x0DE7  # seed sequence (ROOM_SEED, k): no room of training, which has a single seed
VOICES = 4  # in babble
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# Noise recordings with voices: a denoiser may keep those.
NO_PURE_NOISE = {"quiet_conversation", "baby_cry", "person_sneeze"}
NO_PURE_NOISE |= {"crying_baby", "sneezing", "laughing", "coughing", "breathing", "snoring"}
# Pairs of each set for 12 talker slots; `snr` has one for each slot and SNR.
SIZES = {
    "snr": 12 * len(SNRS_DB),
    "room": 12,
    "level": 12,
    "whisper": 12,
    "clean": 12,
    "noise": 12,
    "babble": 8,
    "music": 8,
    "keyboard": 8,
    "telephone": 8,
    "digits": 16,
    "low_cut": 12,
}


def noise_class(clip: Clip) -> str:
    """Class of a noise recording, from its source and file name."""
    if clip.source == "keystroke":
        return "keyboard"
    stem = Path(clip.path).stem
    return re.split(r"-|_\d+$", stem)[0].lower()


def _slots(store: Store, talkers: int) -> list[list[Clip]]:
    """Clips of each of `talkers` slots, from every source of the split and its talkers in turn.

    A source with few talkers serves several slots with different utterances. The cleanest recordings
    come first, since noise in the reference counts against a system that removes it.
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


def _noise_order(store: Store, count: int, phase: float = 0.0) -> list[Clip]:
    """`count` noises, from every source of the split in turn and evenly spread inside each.

    `phase` (0 to 1) shifts the choice inside each source, so that sets differ. The order of sources
    shifts by one after each round and each round of rounds, so that it is not periodic with the SNRs or
    the speech sources.
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
        order.append(queue[int((used[place] + phase) * len(queue)) // turns % len(queue)])
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


class _Bench:
    """Makes the pairs of each set."""

    def __init__(self, store: Store, seconds: float, talkers: int, prompts: Path | None) -> None:
        self.store = store
        self.length = round(seconds * RATE_HZ)
        self.prompts = prompts
        self.slots = _slots(store, talkers)
        self.trained = {clip.talker for clip in store.clips("speech", "train")}
        self.sizes = {name: -(-size * talkers // 12) for name, size in SIZES.items()}
        self.twins = False  # whether the set `snr` is built too
        self._snr_noises = _noise_order(store, self.sizes["snr"])

    def make(self, name: str) -> Iterator[Pair]:
        """Pairs of the set `name`. Raises `Missing`."""
        return getattr(self, f"_make_{name}")()

    # Parts

    def _speech(self, slot: int, take: int) -> tuple[np.ndarray, float]:
        """Speech of a slot at an arbitrary level, and its bandwidth; `take` selects the utterances."""
        own = self.slots[slot]
        shift = take % len(own)
        speech, bandwidth_hz = _speech(self.store, own[shift:] + own[:shift], self.length)
        if bandwidth_hz <= NARROW_HZ:
            return limit_band(speech, 0.0, NARROW_HZ), NARROW_HZ
        return speech, bandwidth_hz

    def _noises(self, name: str, phase: float) -> Iterator[tuple[np.ndarray, str, str]]:
        """Noises of the set `name`, each with its class and source."""
        for clip in _noise_order(self.store, self.sizes[name], phase):
            yield _noise(self.store, clip, self.length), noise_class(clip), clip.source

    def _rng(self, name: str, index: int) -> np.random.Generator:
        return np.random.default_rng([list(SIZES).index(name), index])

    def _pair(
        self,
        name: str,
        index: int,
        slot: int | None,
        speech: tuple[np.ndarray, float],
        noise: tuple[np.ndarray, str, str] | None,
        snr_db: float | None = None,
        active: bool = False,
        **fields: object,
    ) -> Pair:
        """Mixes `speech` at -26 dBFS with `noise` at `snr_db`, and scales both if they clip.

        With narrowband speech the noise is limited to 8 kHz too. `active` uses the active level of the
        noise instead of its rms.
        """
        signal, bandwidth_hz = speech
        clean = signal * amplitude(LEVEL_DB - active_level_db(signal))
        noisy, kind, source = clean, None, None
        if noise is not None:
            samples, kind, source = noise
            inside = limit_band(samples, 0.0, bandwidth_hz)
            level_db = active_level_db(inside) if active else power_db(inside)
            if not math.isfinite(level_db):
                raise ValueError(f"{kind} noise of {source} has no energy below {bandwidth_hz:g} Hz")
            samples = inside if bandwidth_hz <= NARROW_HZ else samples
            noisy = clean + samples * amplitude(LEVEL_DB - snr_db - level_db)
        talker = self.slots[slot][0].talker if slot is not None else None
        parts = [f"{name}_{index:03d}", kind, None if snr_db is None else f"{snr_db:g}db"]
        values = {
            "slot": slot,
            "talker": talker,
            "speech_source": self.slots[slot][0].source if slot is not None else None,
            "noise_class": kind,
            "noise_source": source,
            "snr_db": snr_db,
            "level_db": LEVEL_DB,
            "bandwidth_hz": bandwidth_hz,
            "room": False,
            "twin": None,
            "text": None,
        } | fields
        return Pair(
            name="_".join(part for part in parts if part),
            set=name,
            talker_in_training=values["talker"] in self.trained,
            noisy=noisy,
            clean=clean,
            **values,
        ).scale(0.0)

    def _twin(self, slot: int, snr_db: float) -> Pair:
        """The pair of `snr` with this slot and SNR."""
        index = slot * len(SNRS_DB) + SNRS_DB.index(snr_db)
        clip = self._snr_noises[index]
        noise = _noise(self.store, clip, self.length), noise_class(clip), clip.source
        return self._pair("snr", index, slot, self._speech(slot, 0), noise, snr_db)

    def _changed_twin(self, name: str, index: int, snrs_db: tuple[float, ...]) -> Pair:
        """A copy of the pair of `snr` with slot `index`, as a pair of the set `name`.

        The first of `snrs_db` with a noise other than keystrokes, which have a set of their own.
        """
        twins = [self._twin(index, snr_db) for snr_db in snrs_db]
        pair = next((twin for twin in twins if twin.noise_class != "keyboard"), twins[0])
        pair.twin = pair.name if self.twins else None
        pair.name = f"{name}_{index:03d}_{pair.name.split('_', 2)[2]}"
        pair.set = name
        return pair

    # Sets. The SNR of pair k is not periodic with the speech source of slot k.

    def _make_snr(self) -> Iterator[Pair]:
        for slot in range(len(self.slots)):
            for snr_db in SNRS_DB:
                yield self._twin(slot, snr_db)

    def _make_room(self) -> Iterator[Pair]:
        try:
            import pyroomacoustics as pra
        except ImportError as error:
            text = "the set room needs the package pyroomacoustics"
            raise ImportError(f"{text}; install it, or choose other --sets") from error
        from .rir import draw_room, simulate

        for k, noise in enumerate(self._noises("room", 0.5)):
            pra.random.seed(ROOM_SEED + k)
            response = simulate(draw_room(np.random.default_rng([ROOM_SEED, k])))
            dry, bandwidth_hz = self._speech(k, 1)
            speech = fftconvolve(dry, response)[: self.length].astype(np.float32)
            snr_db = (0.0, 5.0, 10.0, 15.0)[k % 4]
            yield self._pair("room", k, k, (speech, bandwidth_hz), noise, snr_db, room=True)

    def _make_level(self) -> Iterator[Pair]:
        for k in range(self.sizes["level"]):
            pair = self._changed_twin("level", k, ((5.0, 10.0), (10.0, 5.0))[k // 3 % 2])
            yield pair.scale(LEVELS_DB[(k + k // 3) % 3] - pair.level_db)

    def _make_whisper(self) -> Iterator[Pair]:
        for k in range(self.sizes["whisper"]):
            pair = self._changed_twin("whisper", k, ((10.0, 5.0), (5.0, 10.0))[k // 3 % 2])
            yield pair.scale(WHISPER_DB)

    def _make_clean(self) -> Iterator[Pair]:
        for k in range(self.sizes["clean"]):
            yield self._pair("clean", k, k, self._speech(k, 0), None)

    def _make_noise(self) -> Iterator[Pair]:
        count = self.sizes["noise"]
        found: dict[int, tuple[int, np.ndarray, Clip]] = {}
        classes = Counter()
        for clip in _noise_order(self.store, 8 * count, 0.75):
            if clip.index in found or noise_class(clip) in NO_PURE_NOISE:
                continue
            samples = _noise(self.store, clip, self.length)
            lift_db = NOISE_LEVEL_DB - power_db(samples)
            # A short impulse that would clip at this level is left out.
            if lift_db < 45.0 and np.abs(samples).max() * amplitude(lift_db) < PEAK:
                found[clip.index] = classes[noise_class(clip)], samples * amplitude(lift_db), clip
                classes[noise_class(clip)] += 1
        # Every class once before any class twice.
        ranked = sorted(found.values(), key=lambda entry: entry[0])
        for k, (_, samples, clip) in enumerate(ranked[:count]):
            kind = noise_class(clip)
            yield Pair(
                name=f"noise_{k:03d}_{kind}",
                set="noise",
                slot=None,
                talker=None,
                talker_in_training=False,
                speech_source=None,
                noise_class=kind,
                noise_source=clip.source,
                snr_db=None,
                level_db=NOISE_LEVEL_DB,
                bandwidth_hz=RATE_HZ / 2,
                room=False,
                twin=None,
                text=None,
                noisy=samples,
                clean=np.zeros(self.length, np.float32),
            )

    def _make_babble(self) -> Iterator[Pair]:
        talkers: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.store.clips("speech", "dev"):
            talkers[clip.talker].append(clip)
        if len(talkers) <= VOICES:
            raise Missing(f"needs {VOICES + 1} dev talkers, the store has {len(talkers)}")
        for k in range(self.sizes["babble"]):
            others = [own for name, own in sorted(talkers.items()) if name != self.slots[k][0].talker]
            babble = np.zeros(self.length, np.float32)
            for j in range(VOICES):
                voice, _ = _speech(self.store, others[(k * VOICES + j) % len(others)], self.length)
                babble += voice * amplitude(LEVEL_DB - active_level_db(voice))
            noise = babble, "babble", "dev talkers"
            yield self._pair("babble", k, k, self._speech(k, 2), noise, _low_snr_db(k))

    def _make_music(self) -> Iterator[Pair]:
        for k in range(self.sizes["music"]):
            noise = music(self._rng("music", k), self.length), "music", "synthetic"
            yield self._pair("music", k, k, self._speech(k, 3), noise, _low_snr_db(k))

    def _make_keyboard(self) -> Iterator[Pair]:
        keys = [clip for clip in self.store.clips("noise", "dev") if noise_class(clip) == "keyboard"]
        if not keys:
            raise Missing("the store has no keystrokes in the split dev")
        for k in range(self.sizes["keyboard"]):
            own = keys[k :: self.sizes["keyboard"]] or keys
            keys_sound = typing(self.store, own, self._rng("keyboard", k), self.length)
            noise = keys_sound, "keyboard", own[0].source
            yield self._pair("keyboard", k, k, self._speech(k, 4), noise, _low_snr_db(k), active=True)

    def _make_telephone(self) -> Iterator[Pair]:
        for k, (samples, kind, source) in enumerate(self._noises("telephone", 0.25)):
            speech = limit_band(self._speech(k, 5)[0], *TELEPHONE_HZ), TELEPHONE_HZ[1]
            noise = limit_band(samples, *TELEPHONE_HZ), kind, source
            yield self._pair("telephone", k, k, speech, noise, (0.0, 5.0, 10.0, 15.0)[k % 4])

    def _make_digits(self) -> Iterator[Pair]:
        if self.prompts is None:
            raise Missing("needs a folder of spoken digits, see --prompts")
        parts, rates_hz = [], []
        for digit in range(10):
            paths = sorted(self.prompts.glob(f"digits/{digit}.*"))
            if not paths:
                raise Missing(f"{self.prompts}/digits/{digit}.wav does not exist")
            samples, rate_hz = read_mono(paths[0])
            parts.append(cut_silence(samples))
            rates_hz.append(rate_hz)
        bandwidth_hz = min(min(rates_hz) / 2, RATE_HZ / 2)
        for k, noise in enumerate(self._noises("digits", 0.9)):
            rng = self._rng("digits", k)
            speech = np.zeros(self.length, np.float32)
            position, text = RATE_HZ // 5, []
            while len(text) < 7:
                digit = int(rng.integers(10))
                if position + len(parts[digit]) > self.length:
                    break
                speech[position : position + len(parts[digit])] = parts[digit]
                position += len(parts[digit]) + int(rng.uniform(0.05, 0.2) * RATE_HZ)
                text.append(DIGITS[digit])
            yield self._pair(
                "digits",
                k,
                None,
                (limit_band(speech, 0.0, bandwidth_hz), bandwidth_hz),
                noise,
                DIGIT_SNRS_DB[k % len(DIGIT_SNRS_DB)],
                talker=self.prompts.resolve().name,
                speech_source="prompts",
                text=" ".join(text),
            )

    def _make_low_cut(self) -> Iterator[Pair]:
        for k in range(self.sizes["low_cut"]):
            speech, bandwidth_hz = self._speech(k, 0)
            cut_hz = LOW_CUTS_HZ[(k + k // 5) % 5]
            filtered = limit_band(speech, cut_hz, RATE_HZ / 2)
            pair = self._pair("low_cut", k, k, (filtered, bandwidth_hz), None)
            pair.name += f"_{cut_hz:g}hz"
            yield pair


def _low_snr_db(k: int) -> float:
    return (0.0, 5.0, 10.0)[(k + k // 3) % 3]


def make_devset(
    store: Store,
    out_dir: Path,
    seconds: float = 6.0,
    talkers: int = 12,
    sets: Iterable[str] = tuple(SIZES),
    prompts: Path | None = None,
) -> Summary:
    """Writes `out_dir`/noisy/NAME.wav, clean/NAME.wav (48 kHz, 24 bit) and pairs.json.

    `talkers` is the number of slots; with fewer than 12 all sets shrink. `prompts` is a folder with
    digits/0.wav to digits/9.wav (any format and rate) for the set `digits`. Sets that cannot be built
    are left out and listed in the result.
    """
    bench = _Bench(store, seconds, talkers, prompts)
    chosen = checked_sets(sets, SIZES)
    bench.twins = "snr" in chosen
    return write_pairs(out_dir, ((name, bench.make(name)) for name in chosen))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `devset` command."""
    parser.add_argument("store", type=Path, help="folder written by prepare")
    parser.add_argument("out", type=Path, help="folder for the pairs")
    parser.add_argument(
        "--split",
        choices=("dev", "dev2"),
        default="dev",
        help="dev: the development benchmark; dev2: the benchmark that decides (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a pair")
    parser.add_argument(
        "--sets",
        help=f"sets to build (default: all; dev: {','.join(SIZES)}; dev2: {','.join(heldout.SETS)})",
    )
    parser.add_argument(
        "--talkers", type=int, default=12, help="of dev: talker slots; fewer make all sets smaller"
    )
    parser.add_argument(
        "--prompts", type=Path, help="of dev: folder with digits/0.wav to 9.wav, for the set digits"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the pairs; returns 0, or 1 if there are none."""
    sets = args.sets.split(",") if args.sets else tuple(SIZES if args.split == "dev" else heldout.SETS)
    try:
        store = Store(args.store)
        if args.split == "dev":
            made = make_devset(store, args.out, args.seconds, args.talkers, sets, args.prompts)
        else:
            made = heldout.make_heldout(store, args.out, args.seconds, sets)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, reason in made.skipped.items():
        print(f"left out the set {name}: {reason}")
    counts = ", ".join(f"{name} {count}" for name, count in made.pairs.items())
    print(f"{made.pairs.total()} pairs in {args.out}: {counts}")
    return 0 if made.pairs else 1
