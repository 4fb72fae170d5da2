"""Parameters of the training mixtures, the table [mixture] of a recipe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mixture:
    """Probabilities (`_p`) and ranges of the mixtures. Levels in dB, times in seconds."""

    wideband_share: float = 0.55  # of the speech: recordings with content up to 14 kHz or more
    leading_pause_p: float = 0.4  # clips that begin with a pause, as streams do
    long_pause_p: float = 0.15  # of the pauses between utterances, those in the range of long_pause_s
    long_pause_s: tuple[float, float] = (0.6, 2.0)
    speed_p: float = 0.7
    speed_range: tuple[float, float] = (0.7, 1.4)  # tempo, pitch and formants together
    noise_speed_p: float = 0.85  # of recorded noises
    noise_speed_range: tuple[float, float] = (0.5, 2.0)
    noise_reversed_p: float = 0.25
    resonance_p: float = 0.5  # of voices: one sharp peak, as in vowels where two harmonics dominate
    resonance_passing_p: float = 0.5  # of resonances: those that come and go, as in single vowels
    resonance_s: tuple[float, float] = (0.08, 0.5)  # length of a resonance that comes and goes
    resonance_pause_s: tuple[float, float] = (0.15, 1.5)
    resonance_hz: tuple[float, float] = (250.0, 2500.0)
    resonance_octaves: tuple[float, float] = (0.07, 0.25)
    resonance_db: tuple[float, float] = (8.0, 24.0)
    eq_p: float = 0.8
    eq_db: float = 6.0
    strong_eq_p: float = 0.4  # of equalizers: strong ones, as of small speakers or masks
    strong_eq_db: float = 18.0
    room_p: float = 0.4
    noise_room_p: float = 0.2
    synthetic_p: float = 0.2
    babble_p: float = 0.12
    music_p: float = 0.08
    calls_p: float = 0.06
    rumble_p: float = 0.12  # alone or added to another noise
    rumble_db: tuple[float, float] = (-5.0, 25.0)  # relative to that noise
    hum_p: float = 0.0  # mains hum, alone or added to another noise
    hum_db: tuple[float, float] = (-10.0, 25.0)  # relative to that noise
    modulation_p: float = 0.2
    snr_db: tuple[float, float] = (-6.0, 20.0)
    high_snr_p: float = 0.15  # nearly clean input, which must stay unchanged
    high_snr_db: tuple[float, float] = (20.0, 40.0)
    level_db: tuple[float, float] = (-45.0, -5.0)
    band_limit_p: float = 0.3
    low_cut_p: float = 0.3  # high-pass filters of telephones and small microphones, above the fundamental
    low_cut_hz: tuple[float, float] = (80.0, 700.0)
    noise_only_p: float = 0.04
    clean_only_p: float = 0.08
    silence_p: float = 0.05
    level_step_p: float = 0.05
    level_step_db: float = 15.0
    clipping_p: float = 0.05
    min_speech_snr_db: float = 30.0  # speech recordings with a lower SNR are not used
    clean_targets: bool = False  # the target has the cleaned copy of a recording, see targets.py
