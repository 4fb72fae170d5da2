"""Judges a call that call.mjs recorded: noise, speech level, loss and latency of the relay.

    python judge.py OUT_FOLDER [--bound-ms 60]

Reads OUT_FOLDER/call.wav (left: from the room, right: from the relay) and call.json. Prints all
figures. Exits with 1 if one is out of bounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SETTLING_S = 2.0  # the jitter buffers and the denoiser adapt
FRAME_S = 0.020
GAP_S = 0.005
GAP_DBFS = -75.0
MIN_ATTENUATION_DB = 15.0
SPEECH_WITHIN_DB = 2.0
OFF_WITHIN_DB = 1.5


class UnsuitableRecording(Exception):
    """The recording is not suitable for the checks."""


@dataclass
class Check:
    ok: bool
    text: str


def dbfs(power: np.ndarray | float) -> np.ndarray:
    """Level of a mean power; 0 dBFS is a full-scale square wave."""
    return 10 * np.log10(np.maximum(power, 1e-12))


def frame_powers(signal: np.ndarray, frame: int) -> np.ndarray:
    return np.mean(signal[: len(signal) // frame * frame].reshape(-1, frame) ** 2, axis=1)


def noise_floor(signal: np.ndarray, rate: int) -> float:
    """Power of the quiet frames: the 10th percentile."""
    return float(np.percentile(frame_powers(signal, round(FRAME_S * rate)), 10))


def speech_level(signal: np.ndarray, rate: int) -> float:
    """Level of the loudest quarter of the frames, less the noise under it, in dBFS."""
    powers = frame_powers(signal, round(FRAME_S * rate))
    loud = powers[powers >= np.percentile(powers, 75)]
    return float(dbfs(np.mean(loud) - noise_floor(signal, rate)))


def lag(room: np.ndarray, relay: np.ndarray, max_lag: int) -> tuple[int, float]:
    """Delay of `relay`, samples, from -`max_lag` to `max_lag`, and the correlation at this delay."""
    size = 2 * len(room)
    spectrum = np.conj(np.fft.rfft(room, size)) * np.fft.rfft(relay, size)
    correlation = np.fft.irfft(spectrum, size)
    correlation = np.concatenate([correlation[-max_lag:], correlation[: max_lag + 1]])
    best = int(np.argmax(correlation))
    scale = np.sqrt(np.sum(room**2) * np.sum(relay**2)) + 1e-12
    return best - max_lag, float(correlation[best] / scale)


def buffered(snapshots: list[dict], path: str, start: int, end: int) -> float:
    """Mean seconds in a path's jitter buffer between two samples of the recording."""
    at = [snapshot["sample"] for snapshot in snapshots]
    delay = np.interp([start, end], at, [s[path]["jitterBufferDelay"] for s in snapshots])
    count = np.interp([start, end], at, [s[path]["jitterBufferEmittedCount"] for s in snapshots])
    return float((delay[1] - delay[0]) / max(count[1] - count[0], 1))


def latencies(
    room: np.ndarray, relay: np.ndarray, snapshots: list[dict], rate: int, start: int, end: int
) -> list[float]:
    """Latency of the relay, seconds: one value per second of audio with enough correlation.

    Each connection has its own jitter buffer. The difference of their delays is subtracted.
    """
    found = []
    for at in range(start, end - rate + 1, rate):
        samples, correlation = lag(room[at : at + rate], relay[at : at + rate], rate // 2)
        if correlation >= 0.5:
            depths = [buffered(snapshots, path, at, at + rate) for path in ("relay", "room")]
            found.append(samples / rate - (depths[0] - depths[1]))
    return found


def quietest(room: np.ndarray, relay: np.ndarray, window: int, gap_dbfs: float) -> float:
    """Level of the quietest `window` samples of the relay where the room is louder than `gap_dbfs`."""

    def levels(signal: np.ndarray) -> np.ndarray:
        sums = np.cumsum(np.concatenate([[0.0], signal**2]))
        return dbfs((sums[window:] - sums[:-window]) / window)

    has_audio = levels(room) > gap_dbfs
    return float(np.min(levels(relay), where=has_audio, initial=0.0))


def judge(samples: np.ndarray, call: dict, bound_s: float) -> list[Check]:
    """`samples`: frames by two channels, room and relay."""
    rate = call["rate"]
    requested, answered = call["switch"]["requested"], call["switch"]["answered"]
    room, relay = samples[:, 0], samples[:, 1]
    on = slice(round(SETTLING_S * rate), requested)
    off = slice(answered + rate, len(samples))
    if on.stop - on.start < 3 * rate or off.stop - off.start < 3 * rate:
        raise UnsuitableRecording("the call is too short: 3 s are needed before and after the switch")
    checks = []

    def check(ok: bool, text: str) -> None:
        checks.append(Check(bool(ok), text))

    room_floor, relay_floor = (dbfs(noise_floor(path[on], rate)) for path in (room, relay))
    room_speech, relay_speech = (speech_level(path[on], rate) for path in (room, relay))
    if room_floor < -60 or room_speech < room_floor + 3:
        raise UnsuitableRecording(
            f"the room's path has no noisy speech: {room_floor:.1f} dBFS of noise, "
            f"{room_speech:.1f} dBFS of speech"
        )
    check(
        room_floor - relay_floor >= MIN_ATTENUATION_DB,
        f"on: noise floor {room_floor:.1f} dBFS in the room, {relay_floor:.1f} through the relay: "
        f"{room_floor - relay_floor:.1f} dB lower (at least {MIN_ATTENUATION_DB:g})",
    )
    check(
        abs(relay_speech - room_speech) <= SPEECH_WITHIN_DB,
        f"on: speech {room_speech:.1f} dBFS in the room, {relay_speech:.1f} through the relay: "
        f"{relay_speech - room_speech:+.1f} dB (within {SPEECH_WITHIN_DB:g})",
    )

    packets = call["stream"]["end"]["packets"]
    check(
        packets["received"] == packets["sent"] > 0,
        f"the relay received {packets['received']} packets and sent {packets['sent']}",
    )
    check(
        packets["lost"] == packets["concealed"] == 0,
        f"the relay missed {packets['lost']} packets and concealed {packets['concealed']} (none)",
    )
    last = call["snapshots"][-1]["relay"]
    check(
        last["packetsLost"] == 0 and last["packetsReceived"] > 0,
        f"the listener got {last['packetsReceived']} packets from the relay and lost "
        f"{last['packetsLost']} (none)",
    )

    found = latencies(room, relay, call["snapshots"], rate, on.start, on.stop)
    if found:
        latency = float(np.median(found))
        check(
            # A negative latency beyond the error of the jitter buffers' figures is a broken measurement.
            -0.02 <= latency <= bound_s,
            f"on: the relay adds {1000 * latency:.1f} ms, {1000 * min(found):.1f} to "
            f"{1000 * max(found):.1f} in {len(found)} places (median at most {1000 * bound_s:g})",
        )
    else:
        check(False, "on: the two paths do not correlate anywhere: the latency is unknown")

    state = [call["stream"][when]["state"] for when in ("before", "after")]
    check(
        state == ["denoising", "relaying"],
        f"the relay reported {state[0]} before the switch and {state[1]} after it (denoising, relaying)",
    )
    room_off, relay_off = (dbfs(noise_floor(path[off], rate)) for path in (room, relay))
    check(
        abs(relay_off - room_off) <= OFF_WITHIN_DB,
        f"off: noise floor {room_off:.1f} dBFS in the room, {relay_off:.1f} through the relay: "
        f"{relay_off - room_off:+.1f} dB (within {OFF_WITHIN_DB:g})",
    )
    around = slice(requested - rate // 2, answered + 3 * rate // 2)
    # Residual noise is not a gap, even at a low level.
    gap_dbfs = min(GAP_DBFS, relay_floor - 20)
    lowest = quietest(room[around], relay[around], round(GAP_S * rate), gap_dbfs)
    check(
        lowest > gap_dbfs,
        f"switch: the quietest {1000 * GAP_S:g} ms are at {lowest:.1f} dBFS (no gap: above {gap_dbfs:.1f})",
    )
    return checks


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (2, 2):
            raise UnsuitableRecording(f"{path} must be stereo of 16 bits")
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.reshape(-1, 2) / 32768, file.getframerate()


def verdict(checks: list[Check]) -> int:
    """Prints the checks and returns the exit status."""
    for one in checks:
        print("ok  " if one.ok else "FAIL", one.text)
    failed = sum(not one.ok for one in checks)
    if failed:
        print(f"FAILED: {failed} of {len(checks)} checks", file=sys.stderr)
        return 1
    print(f"all {len(checks)} checks hold")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="output folder of call.mjs")
    parser.add_argument("--bound-ms", type=float, default=60.0, help="largest median latency of the relay")
    arguments = parser.parse_args()
    try:
        call = json.loads((arguments.folder / "call.json").read_text())
        samples, rate = read_wav(arguments.folder / "call.wav")
        if rate != call["rate"]:
            raise UnsuitableRecording(f"call.wav has {rate} samples per second, call.json has {call['rate']}")
        checks = judge(samples, call, arguments.bound_ms / 1000)
    except UnsuitableRecording as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return verdict(checks)


if __name__ == "__main__":
    sys.exit(main())
