"""Measures of one output signal, alone or against its clean reference.

Quality and intelligibility: wideband PESQ (ITU-T P.862.2), STOI (Taal et al., IEEE TASLP 19(7),
2011), ESTOI (Jensen & Taal, IEEE/ACM TASLP 24(11), 2016), SI-SDR (Le Roux et al., ICASSP 2019),
DNSMOS P.835 (Reddy et al., ICASSP 2022), Distill-MOS and ViSQOL (`judges.py`), all at 16 kHz. Changes of the speech: its level, onsets
and highs. Accuracy of the speech detector and of the SNR estimate.
"""

from __future__ import annotations

import numpy as np
from pesq import pesq
from pystoi import stoi
from scipy.fft import irfft, next_fast_len, rfft

from .audio import RATE_HZ, active_level_db, power_db, resample
from .dnsmos import dnsmos
from .judges import distill_mos, visqol

SCORE_RATE_HZ = 16000
MAX_DELAY_SECONDS = 0.06
MAX_MISSING_SECONDS = 0.25  # an output that is shorter than its input by more is a failure
FLOOR_DB = -100.0  # level of silence
HOP_SECONDS = 0.01
WINDOW_SECONDS = 0.02  # a hop is measured over the 20 ms that end with it
# A hop has speech if it is within this range of the loudest hop and above the floor, as in
# `Loss.speech_hops`.
SPEECH_RANGE_DB = 35.0
SPEECH_FLOOR_DB = -75.0
SILENT_HOPS = 20  # hops without speech before an onset
ONSET_HOPS = 5
MAX_GAIN_LOSS_DB = 40.0
HIGHS_HZ = 8000.0
HIGHS_BANDWIDTH_HZ = 14000.0  # highs are measured on recordings with at least this bandwidth
SETTLE_SECONDS = 2.0  # time for a denoiser to adapt to a noise
SNR_RANGE_DB = (-15.0, 35.0)
# Sets without noise, each with a PESQ column of its own. `thin` is the name of low_cut before 0.2.
CLEAN_SETS = ("clean", "low_cut", "thin")
# A decrease against the input by more than this counts as "worse".
WORSE_BY = {"pesq": 1e-3, "stoi": 5e-4, "si_sdr_db": 1e-2}


def align(reference: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Removes the delay of `signal` and cuts both signals to their common part.

    The delay is the lag of the largest cross-correlation within +-60 ms, in samples at 48 kHz
    (positive: `signal` is late). Returns both parts and the delay.
    """
    reach = round(MAX_DELAY_SECONDS * RATE_HZ)
    size = next_fast_len(max(len(reference), len(signal)) + reach, real=True)
    product = rfft(signal.astype(np.float64), size) * np.conj(rfft(reference.astype(np.float64), size))
    correlation = irfft(product, size)
    lags = np.arange(-reach, reach + 1)
    delay = int(lags[np.argmax(np.abs(correlation[lags]))])
    late, early = max(delay, 0), max(-delay, 0)
    length = min(len(reference) - early, len(signal) - late)
    return reference[early : early + length], signal[late : late + length], delay


def si_sdr_db(reference: np.ndarray, signal: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, at most 100."""
    reference = reference.astype(np.float64) - reference.mean()
    signal = signal.astype(np.float64) - signal.mean()
    part = reference * (signal @ reference / max(reference @ reference, 1e-20))
    error = signal - part
    ratio = max(part @ part, 1e-20) / max(error @ error, 1e-20)
    return float(min(10 * np.log10(ratio), 100.0))


def pesq_wideband(reference: np.ndarray, signal: np.ndarray) -> float:
    """Wideband PESQ (1.0-4.64) of `signal` at 16 kHz. Raises PesqError when it finds no speech."""
    return float(pesq(SCORE_RATE_HZ, reference, signal, "wb"))


def hop_powers(signal: np.ndarray, rate_hz: int, ends_s: np.ndarray) -> np.ndarray:
    """Mean square of the 20 ms of `signal` that end at each of `ends_s` (seconds)."""
    summed = np.concatenate([[0.0], np.cumsum(signal.astype(np.float64) ** 2)])
    ends = np.round(np.asarray(ends_s) * rate_hz).astype(int)
    window = round(WINDOW_SECONDS * rate_hz)
    starts, ends = (np.clip(place, 0, len(signal)) for place in (ends - window, ends))
    return np.maximum(summed[ends] - summed[starts], 0.0) / window


def hop_ends_s(signal: np.ndarray, rate_hz: int) -> np.ndarray:
    """End times of the complete 10 ms hops of `signal`, in seconds."""
    return (np.arange(len(signal) // round(HOP_SECONDS * rate_hz)) + 1) * HOP_SECONDS


def speech_hops(clean: np.ndarray, rate_hz: int, ends_s: np.ndarray) -> np.ndarray:
    """Whether each hop that ends at `ends_s` has speech: within 35 dB of the loudest hop of the clip and
    above -75 dBFS."""
    loudest = hop_powers(clean, rate_hz, hop_ends_s(clean, rate_hz)).max(initial=0.0)
    loudest_db = 10 * np.log10(loudest + 1e-20)
    hop_db = 10 * np.log10(hop_powers(clean, rate_hz, ends_s) + 1e-20)
    return (hop_db > loudest_db - SPEECH_RANGE_DB) & (hop_db > SPEECH_FLOOR_DB)


def speech_gain_db(clean: np.ndarray, noise: np.ndarray, signal: np.ndarray) -> float:
    """Gain of the clean part of `signal`, in dB: of a in `signal` = a `clean` + b `noise` + rest, by
    least squares. Without the noise term, a chance correlation of noise and speech would count."""
    sources = np.stack([clean, noise], axis=1).astype(np.float64)
    gains = np.linalg.lstsq(sources, signal.astype(np.float64), rcond=None)[0]
    return float(20 * np.log10(max(abs(gains[0]), 10 ** (FLOOR_DB / 20))))


def level_error_db(clean: np.ndarray, noise: np.ndarray, signal: np.ndarray) -> float | None:
    """Change of the speech level in dB: `speech_gain_db` over the hops with speech (16 kHz)."""
    hop = round(HOP_SECONDS * SCORE_RATE_HZ)
    has_speech = np.repeat(speech_hops(clean, SCORE_RATE_HZ, hop_ends_s(clean, SCORE_RATE_HZ)), hop)
    if not has_speech.any():
        return None
    clean, noise, signal = (part[: len(has_speech)][has_speech] for part in (clean, noise, signal))
    return speech_gain_db(clean, noise, signal)


def onset_loss_db(clean: np.ndarray, noise: np.ndarray, signal: np.ndarray) -> float | None:
    """Mean loss of speech level at onsets, in dB (16 kHz); None without an onset.

    An onset is speech after at least 200 ms without. Its loss is minus `speech_gain_db` of its first
    50 ms, from 0 to 40 dB, so that residual noise does not hide a loss.
    """
    hop = round(HOP_SECONDS * SCORE_RATE_HZ)
    has_speech = speech_hops(clean, SCORE_RATE_HZ, hop_ends_s(clean, SCORE_RATE_HZ))
    losses = []
    for k in range(SILENT_HOPS, len(has_speech) - ONSET_HOPS + 1):
        if has_speech[k] and not has_speech[k - SILENT_HOPS : k].any():
            cut = slice(k * hop, (k + ONSET_HOPS) * hop)
            gain_db = speech_gain_db(clean[cut], noise[cut], signal[cut])
            losses.append(float(np.clip(-gain_db, 0.0, MAX_GAIN_LOSS_DB)))
    return float(np.mean(losses)) if losses else None


def highs_db(clean: np.ndarray, signal: np.ndarray) -> float | None:
    """Change of the energy above 8 kHz in dB, at 48 kHz; None if `clean` has no energy there."""
    first = int(HIGHS_HZ * len(clean) / RATE_HZ)
    before, after = (float(np.sum(np.abs(rfft(x.astype(np.float64)))[first:] ** 2)) for x in (clean, signal))
    if before <= 0.0:
        return None
    return max(10 * float(np.log10(after / before + 1e-20)), FLOOR_DB)


def attenuation_db(noisy: np.ndarray, signal: np.ndarray) -> float:
    """Attenuation of noise alone in dB, after its first 2 s (or half of a shorter clip)."""
    start = min(round(SETTLE_SECONDS * RATE_HZ), len(noisy) // 2)
    levels = [max(power_db(part[start:]), FLOOR_DB) for part in (noisy, signal)]
    return levels[0] - levels[1]


def measure(pair: dict, clean: np.ndarray | None, noisy: np.ndarray, signal: np.ndarray) -> dict[str, float]:
    """The measures of `signal`, the output for `noisy`, that belong to the set of `pair`; at 48 kHz.

    Without `clean` only DNSMOS, Distill-MOS and the level. Raises ValueError for an output that is too short,
    silent although the clean signal has speech, or not finite.
    """
    kind = pair["set"]
    if not np.all(np.isfinite(signal)):
        raise ValueError("the output has samples that are not finite")
    missing_s = (len(noisy) - len(signal)) / RATE_HZ
    if missing_s > MAX_MISSING_SECONDS:
        raise ValueError(f"the output is {missing_s:.2f} s shorter than the input")
    if clean is not None and kind != "noise" and not signal.any():
        raise ValueError("the output is silent")
    if clean is None:
        level_db = max(active_level_db(signal), FLOOR_DB)
        narrow = resample(signal, RATE_HZ, SCORE_RATE_HZ)
        found = {"output_db": level_db, **dnsmos(narrow), "distill_mos": distill_mos(narrow)}
    elif kind == "noise":
        found = {
            "attenuation_db": attenuation_db(noisy, signal),
            **dnsmos(resample(signal, RATE_HZ, SCORE_RATE_HZ)),
        }
    else:
        length = min(len(clean), len(noisy))
        noise = noisy[:length] - clean[:length]
        complete = clean[:length]
        clean, signal, delay = align(complete, signal)
        noise = noise[max(-delay, 0) :][: len(clean)]
        found = {"delay_ms": delay / RATE_HZ * 1000}
        if kind == "words":  # score.py adds the word errors
            return found
        if kind == "clean" and (pair.get("bandwidth_hz") or 0.0) >= HIGHS_BANDWIDTH_HZ:
            found["highs_db"] = highs_db(clean, signal)
        clean, noise, signal = (resample(part, RATE_HZ, SCORE_RATE_HZ) for part in (clean, noise, signal))
        found["level_error_db"] = level_error_db(clean, noise, signal)
        found["onset_loss_db"] = onset_loss_db(clean, noise, signal)
        if kind in CLEAN_SETS:
            found[f"{kind}_pesq"] = pesq_wideband(clean, signal)
        else:
            found |= {
                "pesq": pesq_wideband(clean, signal),
                "stoi": float(stoi(clean, signal, SCORE_RATE_HZ)),
                "estoi": float(stoi(clean, signal, SCORE_RATE_HZ, extended=True)),
                "si_sdr_db": si_sdr_db(clean, signal),
                **dnsmos(signal),
                "distill_mos": distill_mos(signal),
                "visqol": visqol(clean, signal),
            }
    found = {name: value for name, value in found.items() if value is not None}
    for name, value in found.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} of the output is not a number")
    return found


def worse_than(before: dict[str, float], after: dict[str, float]) -> dict[str, bool]:
    """`worse`: PESQ decreased; `worse_two`: at least two of PESQ, STOI and SI-SDR decreased."""
    if "pesq" not in after:
        return {}
    decreased = {name: after[name] < before[name] - step for name, step in WORSE_BY.items()}
    return {"worse": decreased["pesq"], "worse_two": sum(decreased.values()) > 1}


def hop_snrs_db(clean: np.ndarray, noisy: np.ndarray, ends_s: np.ndarray) -> np.ndarray:
    """True SNR in dB of the hops that end at `ends_s` (48 kHz), clamped to -15 to 35."""
    length = min(len(clean), len(noisy))
    speech = hop_powers(clean[:length], RATE_HZ, ends_s)
    noise = hop_powers(noisy[:length] - clean[:length], RATE_HZ, ends_s)
    return np.clip(10 * np.log10((speech + 1e-20) / (noise + 1e-20)), *SNR_RANGE_DB)


def roc(truth: np.ndarray, scores: np.ndarray) -> dict | None:
    """Receiver operating curve of `scores` (higher: speech): `fpr`, `tpr`, the area `auc`, the true
    positive rate at 5 % false positives `tpr_at_5` and the equal error rate `eer`. None if all hops
    have the same truth."""
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.nonzero(np.diff(scores[order]))[0], len(scores) - 1)  # one point per distinct score
    tpr = np.append(0.0, np.cumsum(truth[order])[last] / positive)
    fpr = np.append(0.0, np.cumsum(~truth[order])[last] / negative)
    return {
        "auc": float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)),
        "tpr_at_5": float(np.interp(0.05, fpr, tpr)),
        "eer": float(np.interp(0.0, fpr + tpr - 1, fpr)),
        "fpr": fpr,
        "tpr": tpr,
    }
