"""Learned and auditory judges of a signal at 16 kHz, from optional packages.

Distill-MOS (Stahl & Gamper 2025, package distillmos) predicts a mean opinion score without a reference.
ViSQOL in speech mode (Chinen et al. 2020, package visqol-python) compares with one. The weights of both
are in their packages. Neither is used in any loss, so that they judge a model that was trained on
DNSMOS or on the perceptual distance.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from functools import lru_cache

import numpy as np

RATE_HZ = 16000
PACKAGES = {"distill_mos": ("distillmos", "distillmos"), "visqol": ("visqol", "visqol-python")}


def missing() -> list[str]:
    """A message for every judge whose package is not installed."""
    return [
        f"no {column}: it needs the package {package}"
        for column, (module, package) in PACKAGES.items()
        if importlib.util.find_spec(module) is None
    ]


@lru_cache(maxsize=1)
def _distill_mos():
    import distillmos
    import torch

    torch.set_num_threads(1)  # pairs are scored in parallel processes
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the path of its weights
        return distillmos.ConvTransformerSQAModel().eval()


def distill_mos(signal: np.ndarray) -> float | None:
    """Distill-MOS, 1 to 5, of `signal` [samples]; None without the package."""
    if importlib.util.find_spec("distillmos") is None:
        return None
    import torch

    with torch.no_grad():
        return float(_distill_mos()(torch.from_numpy(np.ascontiguousarray(signal, np.float32))[None]))


@lru_cache(maxsize=1)
def _visqol():
    import visqol

    api = visqol.VisqolApi()
    # The polynomial mapping, which needs no TensorFlow Lite: the same score on every installation.
    api.create(mode="speech", use_lattice_model=False)
    return api


def visqol(reference: np.ndarray, signal: np.ndarray) -> float | None:
    """ViSQOL MOS-LQO, 1 to 5, of `signal` against `reference`; None without the package."""
    if importlib.util.find_spec("visqol") is None:
        return None
    arrays = (np.asarray(part, np.float64) for part in (reference, signal))
    return float(_visqol().measure_from_arrays(*arrays, RATE_HZ).moslqo)
