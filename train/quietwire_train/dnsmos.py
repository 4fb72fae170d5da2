"""DNSMOS P.835 (Reddy et al., ICASSP 2022), with the model of the package speechmos."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime

RATE_HZ = 16000
SAMPLES = 144160  # 9.01 s, the input length of the model
# From the published DNSMOS P.835 script: raw output of the model to the opinion score scale.
POLYNOMIALS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def model_path() -> Path:
    """Path of the ONNX file. Raises ModuleNotFoundError without the package."""
    # The package is located, not imported: its import loads plotting libraries, and its sessions
    # use all cores.
    package = importlib.util.find_spec("speechmos")
    if package is None:
        raise ModuleNotFoundError("DNSMOS needs the package speechmos: pip install speechmos")
    return Path(package.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"


@lru_cache(maxsize=1)
def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])


def dnsmos(signal: np.ndarray) -> dict[str, float]:
    """DNSMOS P.835 of `signal` (16 kHz): sig, bak and ovrl, each 1-5; no reference needed.

    As published: short clips are doubled until they fill 9.01 s, then windows of that length
    advance by one second and their scores are averaged.
    """
    signal = np.clip(signal, -1.0, 1.0).astype(np.float32)
    if not len(signal):
        raise ValueError("the signal is empty")
    while len(signal) < SAMPLES:
        signal = np.append(signal, signal)
    count = int(len(signal) // RATE_HZ - SAMPLES / RATE_HZ) + 1
    starts = [k * RATE_HZ for k in range(count)]
    windows = [signal[start : start + SAMPLES] for start in starts]
    session = _session()
    raw = [session.run(None, {"input_1": window[None]})[0][0] for window in windows if len(window) == SAMPLES]
    return {
        name: float(np.mean([np.polyval(polynomial, scores[k]) for scores in raw]))
        for k, (name, polynomial) in enumerate(POLYNOMIALS.items())
    }
