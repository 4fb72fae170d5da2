"""The residue: known tones, onsets and level changes are measured, and limits decide."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("pesq")
pytest.importorskip("speechmos")

from quietwire_train import residue
from quietwire_train.audio import RATE_HZ, power_db
from quietwire_train.cli import main
from quietwire_train.residue import (
    NOISES,
    band_edges_hz,
    band_levels_db,
    find_tone,
    make_noise,
    onset_s,
    pause_power,
    pauses,
    prominence_db,
    range_db,
    spectrum,
)

# Denoisers with a known residue: gain 0.01 (-40 dB) from `start` seconds on, plus a tone.
PROGRAM = """
import sys
import numpy as np, soundfile
signal, rate = soundfile.read(sys.argv[1], dtype="float32")
time = np.arange(len(signal)) / rate
gain = np.where(time < {start}, 1.0, 0.01)
level = 0.01 * np.sqrt(np.mean(signal**2))
out = signal * gain + {tone} * level * np.sin(2 * np.pi * 1880 * time)
soundfile.write(sys.argv[2], out.astype(np.float32), rate, subtype="FLOAT")
"""


def denoiser(folder: Path, name: str, start: float = 0.2, tone: float = 0.0) -> str:
    path = folder / f"{name}.py"
    path.write_text(PROGRAM.format(start=start, tone=tone))
    return f"{name}={sys.executable} {path} {{in}} {{out}}"


@pytest.mark.parametrize("name", NOISES)
def test_noises_have_their_level_and_are_reproducible(name: str) -> None:
    noise = make_noise(name, -35.0, 2.0)
    assert noise.dtype == np.float32 and len(noise) == 2 * RATE_HZ
    assert power_db(noise) == pytest.approx(-35.0, abs=0.05)
    np.testing.assert_array_equal(noise, make_noise(name, -35.0, 2.0))
    np.testing.assert_allclose(make_noise(name, -55.0, 2.0), 0.1 * noise, atol=1e-6)


def test_bands_are_thirds_of_a_bark() -> None:
    edges = band_edges_hz()
    assert edges[0] == pytest.approx(60.0) and 10000 < edges[-1] <= 12000
    bark = 26.81 * edges / (1960 + edges) - 0.53
    np.testing.assert_allclose(np.diff(bark), 1 / 3, atol=1e-9)


def test_prominence_of_a_single_band() -> None:
    levels = np.full(20, -50.0)
    levels[10] = -40.0
    found = prominence_db(levels)
    assert found[10] == 10.0 and np.argmax(found) == 10
    assert prominence_db(np.linspace(-60, -20, 20))[3:-3] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("tone_hz", [234.0, 1880.0, 2700.0])
def test_a_tone_of_15_db_is_found(name: str, tone_hz: float) -> None:
    """Above the band's own level, in a residue that otherwise has the spectrum of its input."""
    noise = make_noise(name, -30.0, 10.0)
    before = band_levels_db(spectrum(noise))
    residual = 0.01 * noise
    edges, hz = band_edges_hz(), np.fft.rfftfreq(8192, 1 / RATE_HZ)
    inside = (hz >= edges[edges <= tone_hz][-1]) & (hz < edges[edges > tone_hz][0])
    band = spectrum(residual)[inside].sum() / 1.5  # the equivalent noise bandwidth of a Hann window
    time_s = np.arange(len(noise)) / RATE_HZ
    tone = np.sqrt(2 * band * 10**1.5) * np.sin(2 * np.pi * tone_hz * time_s)
    clean = find_tone(before, band_levels_db(spectrum(residual)))
    assert clean.excess_db < 0.5
    found = find_tone(before, band_levels_db(spectrum(residual + tone)))
    assert found.hz == pytest.approx(tone_hz, rel=0.08)
    assert found.excess_db == pytest.approx(15.0, abs=1.5)


def test_silence_has_no_tone() -> None:
    noise = make_noise("white", -30.0, 2.0)
    found = find_tone(band_levels_db(spectrum(noise)), band_levels_db(spectrum(0 * noise)))
    assert found.excess_db < 2.0


def test_a_filled_gap_between_lines_is_no_tone() -> None:
    """A flat residue of hum has no gap at 126 Hz, but no tone either; a line in the gap is one."""
    hum = make_noise("hum", -20.0, 12.0)
    before = band_levels_db(spectrum(hum))
    flat = 1e-3 * np.random.default_rng(3).standard_normal(len(hum))
    assert find_tone(before, band_levels_db(spectrum(flat))).excess_db < 2.0
    line = 3e-4 * np.sin(2 * np.pi * 126.0 * np.arange(len(hum)) / RATE_HZ)
    found = find_tone(before, band_levels_db(spectrum(flat + line)))
    assert found.excess_db > 8.0 and found.hz == pytest.approx(126, rel=0.1)


def test_the_onset_is_when_noise_stays_down() -> None:
    noise = make_noise("white", -20.0, 4.0)
    gain = np.where(np.arange(len(noise)) < 0.6 * RATE_HZ, 1.0, 0.05)
    assert onset_s(noise, gain * noise) == pytest.approx(0.6, abs=0.051)
    assert onset_s(noise, 0.05 * noise) == 0.0
    assert onset_s(noise, 0.2 * noise) is None
    gain[round(1.2 * RATE_HZ) : round(1.4 * RATE_HZ)] = 1.0  # not down for a second before
    assert onset_s(noise, gain * noise) == pytest.approx(1.4, abs=0.051)


def test_steadiness_is_the_range_of_the_level() -> None:
    noise = make_noise("pink", -20.0, 12.0)
    assert range_db(noise, 0.01 * noise) == pytest.approx(0.0, abs=1e-3)
    drift = 10 ** (np.linspace(-40, -34, len(noise)) / 20)
    assert range_db(noise, drift * noise) == pytest.approx(3.0, abs=0.2)


def test_pauses_are_away_from_speech() -> None:
    clean = np.zeros(4 * RATE_HZ, np.float32)
    clean[RATE_HZ : 2 * RATE_HZ] = 0.1 * np.random.default_rng(1).standard_normal(RATE_HZ)
    quiet = pauses(clean)
    assert quiet[:78].all() and not quiet[82:220].any() and quiet[224:].all()
    signal = np.where(np.repeat(quiet, 480), 0.01, 1.0).astype(np.float32)
    assert pause_power(signal, quiet).sum() < 1e-3
    assert pause_power(signal, np.zeros(400, bool)) is None


def test_the_command_finds_tones_and_checks_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residue, "LEVELS_DB", (-20.0, -35.0))
    good, tonal, slow = (
        denoiser(tmp_path, "good"),
        denoiser(tmp_path, "tonal", tone=2.0),
        denoiser(tmp_path, "slow", start=1.0),
    )
    out = tmp_path / "new/r"
    command = ["residue", "noisy", good, tonal, slow, "--seconds", "4", "--out", str(out)]
    assert main(command) == 0
    rows = {row["system"]: row for row in json.loads(Path(f"{out}.json").read_text())["systems"]}
    assert rows["good"]["passed"] and rows["good"]["tone_db"] < 1.0 and rows["good"]["onset_s"] <= 0.25
    assert rows["tonal"]["tone_db"] > 10.0 and rows["tonal"]["tone_hz"] == pytest.approx(1880, rel=0.08)
    assert not rows["tonal"]["passed"] and not rows["slow"]["passed"]
    assert rows["slow"]["onset_s"] == pytest.approx(1.0, abs=0.06)
    assert rows["noisy"]["onset_s"] is None and rows["noisy"]["tone_db"] == 0.0
    text = capsys.readouterr().out
    assert "never" in text and text == Path(f"{out}.md").read_text()
    assert main([*command[:3], "--seconds", "4", "--check"]) == 0
    assert main([*command, "--check"]) == 1


def test_tones_in_the_pauses_of_pairs(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    rng = np.random.default_rng(2)
    listing = []
    for kind in ("noisy", "clean"):
        (pairs / kind).mkdir(parents=True)
    for number in range(3):
        clean = np.zeros(3 * RATE_HZ, np.float32)
        clean[RATE_HZ : 2 * RATE_HZ] = 0.2 * rng.standard_normal(RATE_HZ)
        noisy = clean + 10.0**-number * 0.02 * rng.standard_normal(len(clean)).astype(np.float32)
        for kind, signal in (("noisy", noisy), ("clean", clean)):
            soundfile.write(pairs / kind / f"p{number}.wav", signal, RATE_HZ, subtype="FLOAT")
        listing.append({"name": f"p{number}", "set": "snr"})
    (pairs / "pairs.json").write_text(json.dumps(listing))
    systems = [
        residue._system(denoiser(tmp_path, "good")),
        residue._system(denoiser(tmp_path, "bad", tone=1.0)),
    ]
    good, bad = residue.on_pauses([residue.System("noisy"), *systems], pairs)[1:]
    assert good["pairs"] == 3 and good["tone_db"] < 4.0
    assert bad["tone_db"] > 15.0 and bad["tone_hz"] == pytest.approx(1880, rel=0.08)
    row = residue.summarize([], [bad], ["bad"])[0]
    assert row["pause_tone_db"] == bad["tone_db"] and not row["passed"]


def test_failures_and_wrong_usage_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = f"broken={sys.executable} -c 'raise SystemExit(3)' {{in}} {{out}}"
    assert main(["residue", broken, "--seconds", "3"]) == 1
    assert "failed broken on white: RuntimeError: exit status 3" in capsys.readouterr().out
    assert main(["residue", "noisy", "noisy"]) == 2
    assert main(["residue", f"a=dir:{tmp_path}"]) == 2
    assert "needs a command or a model" in capsys.readouterr().err
    for option in ("1", "x"):
        with pytest.raises(SystemExit):
            main(["residue", "noisy", "--seconds", option])
