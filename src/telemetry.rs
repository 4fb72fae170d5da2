//! What a stream can tell about its latest hop.

use crate::mask::Energies;

/// Level of silence, dBFS.
const SILENCE_DBFS: f32 = -140.0;
const SNR_RANGE_DB: (f32, f32) = (-30.0, 60.0);

/// The latest hop of a stream. Copied, never allocated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Telemetry {
    /// Probability of speech, 0 to 1; 0 when the model does not tell. With independent channels,
    /// that of the likeliest channel.
    pub speech_probability: f32,
    /// Energy that the model keeps against energy that it takes away, dB, -30 to 60.
    pub snr_db: f32,
    /// Energy of the output against that of the input, dB; 0 or below unless the model lifts.
    pub gain_db: f32,
    /// Mean square of the input hop, windowed, over channels, dBFS, from -140.
    pub input_dbfs: f32,
    /// Mean square of the output hop, dBFS, from -140.
    pub output_dbfs: f32,
    /// Input samples since the start or reset that were NaN, infinite or far out of range, and
    /// were replaced.
    pub repaired_samples: u64,
}

impl Telemetry {
    pub(crate) const SILENCE: Self = Self {
        speech_probability: 0.0,
        snr_db: SNR_RANGE_DB.0,
        gain_db: 0.0,
        input_dbfs: SILENCE_DBFS,
        output_dbfs: SILENCE_DBFS,
        repaired_samples: 0,
    };

    /// From a hop's sums over all channels; `scale` turns them into a mean square.
    pub(crate) fn new(energies: Energies, scale: f32, speech: f32, repaired_samples: u64) -> Self {
        let dbfs = |sum: f32| (10.0 * (sum * scale).log10()).max(SILENCE_DBFS);
        let ratio_db = |over: f32, under: f32| 10.0 * ((over + 1e-20) / (under + 1e-20)).log10();
        Self {
            speech_probability: speech,
            snr_db: ratio_db(energies.speech, energies.noise).clamp(SNR_RANGE_DB.0, SNR_RANGE_DB.1),
            gain_db: ratio_db(energies.output, energies.input),
            input_dbfs: dbfs(energies.input),
            output_dbfs: dbfs(energies.output),
            repaired_samples,
        }
    }
}
