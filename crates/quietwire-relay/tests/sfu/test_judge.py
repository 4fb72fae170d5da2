"""Tests of judge.py on calls made of numbers: one that is well, and one for each fault."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from judge import Unjudgeable, judge

RATE = 48000
SECONDS = 16
SWITCH = 8 * RATE
DELAY_S = 0.035  # of a relay that is well


def bursts(random: np.random.Generator) -> np.ndarray:
    """Like speech: half a second of sound, half a second of none."""
    time = np.arange(SECONDS * RATE) / RATE
    return 0.08 * random.standard_normal(time.size) * (time % 1 < 0.5)


def later(signal: np.ndarray, seconds: float) -> np.ndarray:
    return np.roll(signal, round(seconds * RATE))


def mixed(speech: float = 1.0, noise_on: float = 0.01, noise_off: float = 1.0) -> np.ndarray:
    """The call, with gains of the relay's speech (while on) and noise (while on and off)."""
    random = np.random.default_rng(1)
    voice, noise = bursts(random), 0.02 * random.standard_normal(SECONDS * RATE)
    is_on = np.arange(voice.size) < SWITCH
    relayed = voice * np.where(is_on, speech, 1.0) + noise * np.where(is_on, noise_on, noise_off)
    return np.stack([voice + noise, later(relayed, DELAY_S)], axis=1)


def described(depths_s: dict[str, float] | None = None) -> dict:
    """What call.json says of it; `depths_s`: of the jitter buffers."""
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
        "switch": {"asked": SWITCH, "answered": SWITCH + 480},
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


def test_a_call_that_is_well_passes() -> None:
    assert failures(mixed(), described()) == []


def test_noise_that_stays_fails() -> None:
    assert "noise floor" in only_failure(mixed(noise_on=0.3), described())


@pytest.mark.parametrize("gain", [0.7, 1.4])
def test_speech_at_another_level_fails(gain: float) -> None:
    assert "speech" in only_failure(mixed(speech=gain), described())


@pytest.mark.parametrize(
    ("counter", "value", "word"),
    [("sent", 899, "sent"), ("lost", 1, "missed"), ("concealed", 1, "concealed")],
)
def test_a_packet_amiss_in_the_relay_fails(counter: str, value: int, word: str) -> None:
    call = described()
    call["stream"]["end"]["packets"][counter] = value
    assert word in only_failure(mixed(), call)


def test_no_packets_at_all_fail() -> None:
    call = described()
    call["stream"]["end"]["packets"].update(received=0, sent=0)
    assert "received 0" in only_failure(mixed(), call)


def test_a_packet_lost_after_the_relay_fails() -> None:
    call = described()
    call["snapshots"][-1]["relay"]["packetsLost"] = 1
    assert "listener" in only_failure(mixed(), call)


def test_a_late_relay_fails() -> None:
    samples = mixed()
    samples[:, 1] = later(samples[:, 1], 0.04)
    assert "adds 75.0 ms" in only_failure(samples, described())


def test_a_deeper_jitter_buffer_is_not_the_relays_delay() -> None:
    samples = mixed()
    samples[:, 1] = later(samples[:, 1], 0.04)
    assert failures(samples, described({"room": 0.04, "relay": 0.08})) == []


def test_a_relay_before_the_room_is_a_broken_measurement() -> None:
    samples = mixed()
    samples[:, 1] = later(samples[:, 1], -0.06)
    assert "adds -25.0 ms" in only_failure(samples, described())


def test_another_sound_has_no_latency() -> None:
    samples = mixed()
    samples[:, 1] *= np.sign(np.random.default_rng(2).standard_normal(len(samples)))
    assert "sound alike" in only_failure(samples, described())


def test_a_switch_without_effect_fails() -> None:
    assert "off: noise floor" in only_failure(mixed(noise_off=0.01), described())


def test_a_state_that_does_not_change_fails() -> None:
    call = described()
    call["stream"]["after"]["state"] = "denoising"
    assert "said it was" in only_failure(mixed(), call)


@pytest.mark.parametrize("at_s", [-0.2, 0.1, 1.0])
@pytest.mark.parametrize("left", [0.0, 1e-4])
def test_a_gap_around_the_switch_fails(at_s: float, left: float) -> None:
    samples = mixed()
    start = SWITCH + round(at_s * RATE)
    samples[start : start + 250, 1] *= left
    assert "no gap" in only_failure(samples, described())


def test_a_click_is_no_gap() -> None:
    samples = mixed()
    samples[SWITCH + 4800 : SWITCH + 4800 + 192, 1] = 0.0  # 4 ms
    assert failures(samples, described()) == []


def test_silence_on_both_paths_is_no_gap() -> None:
    samples = mixed()
    samples[SWITCH + 4800 : SWITCH + 9600] = 0.0
    assert failures(samples, described()) == []


def test_silence_or_a_short_call_cannot_be_judged() -> None:
    with pytest.raises(Unjudgeable, match="noisy speech"):
        judge(np.zeros((SECONDS * RATE, 2)), described(), 0.06)
    with pytest.raises(Unjudgeable, match="too short"):
        judge(mixed()[: SWITCH + 2 * RATE], described(), 0.06)


def run(folder: Path, samples: np.ndarray, call: dict) -> subprocess.CompletedProcess[str]:
    with wave.open(str(folder / "call.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32768).round().astype("<i2").tobytes())
    (folder / "call.json").write_text(json.dumps(call))
    program = Path(__file__).with_name("judge.py")
    return subprocess.run(
        [sys.executable, program, folder], capture_output=True, text=True, check=False
    )


def test_the_program_tells_by_its_exit_status(tmp_path: Path) -> None:
    call = described()
    passed = run(tmp_path, mixed(), call)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "all 9 checks hold" in passed.stdout
    broken = copy.deepcopy(call)
    broken["stream"]["end"]["packets"]["lost"] = 2
    failed = run(tmp_path, mixed(), broken)
    assert failed.returncode == 1
    assert "FAIL the relay missed 2 packets" in failed.stdout
    assert "FAILED: 1 of 9 checks" in failed.stderr
