"""Tests of judge.py on synthetic calls: a good one, and one for each fault."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from judge import UnsuitableRecording, judge

RATE = 48000
SECONDS = 16
SWITCH = 8 * RATE
DELAY_S = 0.035  # of the good call


def bursts(random: np.random.Generator) -> np.ndarray:
    """Like speech: half a second of audio, half a second of silence."""
    time = np.arange(SECONDS * RATE) / RATE
    return 0.08 * random.standard_normal(time.size) * (time % 1 < 0.5)


def later(signal: np.ndarray, seconds: float) -> np.ndarray:
    return np.roll(signal, round(seconds * RATE))


def mixed(speech: float = 1.0, noise_on: float = 0.01, noise_off: float = 1.0) -> np.ndarray:
    """The call, with gains of the relay for speech (while on) and noise (while on and off)."""
    random = np.random.default_rng(1)
    voice, noise = bursts(random), 0.02 * random.standard_normal(SECONDS * RATE)
    is_on = np.arange(voice.size) < SWITCH
    relayed = voice * np.where(is_on, speech, 1.0) + noise * np.where(is_on, noise_on, noise_off)
    return np.stack([voice + noise, later(relayed, DELAY_S)], axis=1)


def call_json(depths_s: dict[str, float] | None = None) -> dict:
    """The content of call.json. `depths_s`: delays of the jitter buffers."""
    depths_s = depths_s or {"room": 0.04, "relay": 0.04}
    snapshots = [
        {
            "sample": at,
            **{
                path: {
                    "packetsReceived": 10 + at // 960,
                    "packetsLost": 0,
                    "jitterBufferDelay": depth * at,
                    "jitterBufferEmittedCount": at,
                }
                for path, depth in depths_s.items()
            },
        }
        for at in range(0, SECONDS * RATE + 1, RATE // 2)
    ]
    packets = {"received": 900, "sent": 900, "lost": 0, "concealed": 0}
    return {
        "rate": RATE,
        "switch": {"requested": SWITCH, "answered": SWITCH + 480},
        "snapshots": snapshots,
        "stream": {
            "before": {"state": "denoising"},
            "after": {"state": "relaying"},
            "end": {"state": "relaying", "packets": packets},
        },
    }


def failures(samples: np.ndarray, call: dict) -> list[str]:
    return [check.text for check in judge(samples, call, bound_s=0.06) if not check.ok]


def only_failure(samples: np.ndarray, call: dict) -> str:
    texts = failures(samples, call)
    assert len(texts) == 1, texts
    return texts[0]


def test_a_good_call_passes() -> None:
    assert failures(mixed(), call_json()) == []


def test_noise_that_remains_fails() -> None:
    assert "noise floor" in only_failure(mixed(noise_on=0.3), call_json())


@pytest.mark.parametrize("gain", [0.7, 1.4])
def test_speech_at_another_level_fails(gain: float) -> None:
    assert "speech" in only_failure(mixed(speech=gain), call_json())


@pytest.mark.parametrize(
    ("counter", "value", "word"),
    [("sent", 899, "sent"), ("lost", 1, "missed"), ("concealed", 1, "concealed")],
)
def test_a_packet_missing_in_the_relay_fails(counter: str, value: int, word: str) -> None:
    call = call_json()
    call["stream"]["end"]["packets"][counter] = value
    assert word in only_failure(mixed(), call)


def test_a_call_without_packets_fails() -> None:
    call = call_json()
    call["stream"]["end"]["packets"].update(received=0, sent=0)
    assert "received 0" in only_failure(mixed(), call)


def test_a_packet_lost_after_the_relay_fails() -> None:
    call = call_json()
    call["snapshots"][-1]["relay"]["packetsLost"] = 1
    assert "listener" in only_failure(mixed(), call)


def test_a_late_relay_fails() -> None:
    samples = mixed()
    samples[:, 1] = later(samples[:, 1], 0.04)
    assert "adds 75.0 ms" in only_failure(samples, call_json())


def test_a_larger_jitter_buffer_is_not_latency_of_the_relay() -> None:
    samples = mixed()
    samples[:, 1] = later(samples[:, 1], 0.04)
    assert failures(samples, call_json({"room": 0.04, "relay": 0.08})) == []


def test_a_negative_latency_fails() -> None:
    samples = mixed()
    samples[:, 1] = later(samples[:, 1], -0.06)
    assert "adds -25.0 ms" in only_failure(samples, call_json())


def test_uncorrelated_audio_has_no_latency() -> None:
    samples = mixed()
    samples[:, 1] *= np.sign(np.random.default_rng(2).standard_normal(len(samples)))
    assert "do not correlate" in only_failure(samples, call_json())


def test_a_switch_without_effect_fails() -> None:
    assert "off: noise floor" in only_failure(mixed(noise_off=0.01), call_json())


def test_a_state_that_does_not_change_fails() -> None:
    call = call_json()
    call["stream"]["after"]["state"] = "denoising"
    assert "reported" in only_failure(mixed(), call)


@pytest.mark.parametrize("at_s", [-0.2, 0.1, 1.0])
@pytest.mark.parametrize("left", [0.0, 1e-4])
def test_a_gap_around_the_switch_fails(at_s: float, left: float) -> None:
    samples = mixed()
    start = SWITCH + round(at_s * RATE)
    samples[start : start + 250, 1] *= left
    assert "no gap" in only_failure(samples, call_json())


def test_a_click_is_not_a_gap() -> None:
    samples = mixed()
    samples[SWITCH + 4800 : SWITCH + 4800 + 192, 1] = 0.0  # 4 ms
    assert failures(samples, call_json()) == []


def test_silence_on_both_paths_is_not_a_gap() -> None:
    samples = mixed()
    samples[SWITCH + 4800 : SWITCH + 9600] = 0.0
    assert failures(samples, call_json()) == []


def test_silence_and_short_calls_are_unsuitable() -> None:
    with pytest.raises(UnsuitableRecording, match="noisy speech"):
        judge(np.zeros((SECONDS * RATE, 2)), call_json(), 0.06)
    with pytest.raises(UnsuitableRecording, match="too short"):
        judge(mixed()[: SWITCH + 2 * RATE], call_json(), 0.06)


def run(folder: Path, samples: np.ndarray, call: dict) -> subprocess.CompletedProcess[str]:
    with wave.open(str(folder / "call.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32768).round().astype("<i2").tobytes())
    (folder / "call.json").write_text(json.dumps(call))
    program = Path(__file__).with_name("judge.py")
    return subprocess.run([sys.executable, program, folder], capture_output=True, text=True, check=False)


def test_the_program_exits_with_the_verdict(tmp_path: Path) -> None:
    call = call_json()
    passed = run(tmp_path, mixed(), call)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "all 9 checks hold" in passed.stdout
    broken = copy.deepcopy(call)
    broken["stream"]["end"]["packets"]["lost"] = 2
    failed = run(tmp_path, mixed(), broken)
    assert failed.returncode == 1
    assert "FAIL the relay missed 2 packets" in failed.stdout
    assert "FAILED: 1 of 9 checks" in failed.stderr
