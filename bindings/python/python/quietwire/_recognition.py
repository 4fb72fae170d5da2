"""How much noise is removed before a speech recognizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NOISY_DB = 12.0
"""The limit for noisy speech. With more, recognizers that were trained on noise get more words wrong."""
CLEAN_DB = 0.1
"""The limit for clean speech: no change that matters. With 0 dB the model would not run, and there would be no
SNR."""
NOISY_BELOW_DB = 15.0
CLEAN_ABOVE_DB = 20.0
MIN_SPEECH = 0.5
MIN_HOPS = 10
"""Hops of speech before the first decision: 0.1 s."""
MAX_HOPS = 300
"""The SNR is the mean of the latest hops of speech, about 3 s of them."""
MIN_SNR_DB, MAX_SNR_DB = -10.0, 40.0


class RecognitionLimit:
    """The attenuation limit of one stream by the SNR of its speech.

    Clean speech passes unchanged, since a recognizer gets nothing from a change of it. Noisy speech has a limit of
    12 dB. A stream starts as clean.
    """

    def __init__(self) -> None:
        self.attenuation_db = CLEAN_DB
        self._hops = 0
        self._snr_db = 0.0

    def update(self, telemetry: npt.NDArray[np.void]) -> bool:
        """Reads the telemetry of the hops since the last call. Returns whether the limit changed."""
        before = self.attenuation_db
        for probability, snr_db in zip(telemetry["speech_probability"], telemetry["snr_db"]):
            # All hops of a model without a speech probability count: it is NaN.
            if not probability <= MIN_SPEECH:
                self._add(min(max(float(snr_db), MIN_SNR_DB), MAX_SNR_DB))
        return self.attenuation_db != before

    def _add(self, snr_db: float) -> None:
        self._hops = min(self._hops + 1, MAX_HOPS)
        self._snr_db += (snr_db - self._snr_db) / self._hops
        if self._hops >= MIN_HOPS:
            if self._snr_db < NOISY_BELOW_DB:
                self.attenuation_db = NOISY_DB
            elif self._snr_db > CLEAN_ABOVE_DB:
                self.attenuation_db = CLEAN_DB
