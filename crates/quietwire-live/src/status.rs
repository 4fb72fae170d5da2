//! What a live path reports.

/// Measurements of a path. All counts since its start.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Seconds since the start.
    pub uptime_s: f64,
    /// State and format of the input device.
    pub input: DeviceStatus,
    /// State and format of the output device.
    pub output: DeviceStatus,
    /// State and format of the monitor device, if there is one.
    pub monitor: Option<DeviceStatus>,
    /// Whether suppression is switched off.
    pub bypass: bool,
    /// Whether the output is muted.
    pub muted: bool,
    /// The attenuation limit, dB; `None` without a limit.
    pub attenuation_db: Option<f32>,
    /// Whether the attenuation limit follows the noise.
    pub auto_attenuation: bool,
    /// Id of the model that runs. `None`: the output is the delayed input.
    pub model: Option<String>,
    /// Steps below the requested model because time ran out.
    pub fallback_level: usize,
    /// Why this model was chosen.
    pub model_choice: String,
    /// Levels and estimates of the latest hop.
    pub levels: Levels,
    /// Echo return loss enhancement that the echo canceller measures, dB.
    pub echo_return_loss_enhancement_db: Option<f64>,
    /// State of the device of the echo reference, if there is one.
    pub echo_reference: Option<DeviceStatus>,
    /// Latency from the input device to the output device.
    pub latency: LatencyParts,
    /// Hops that were processed.
    pub hops: u64,
    /// Milliseconds of a hop.
    pub hop_ms: f64,
    /// Processor time of a hop, ms, smoothed.
    pub hop_cost_ms: f64,
    /// Hops without time for the model. Their output is the delayed input.
    pub deadline_misses: u64,
    /// Steps down to a cheaper model or to the delayed input.
    pub step_downs: u64,
    /// Steps up again.
    pub step_ups: u64,
    /// Hops on which the model failed.
    pub failed_hops: u64,
    /// Whether the worker has real-time priority, and the reason if not.
    pub realtime: String,
    /// Frames of the input for which there was no room.
    pub overrun_frames: u64,
    /// Playout of the output device.
    pub playout: PlayoutStatus,
    /// Latest message about a device.
    pub message: String,
}

/// One device.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct DeviceStatus {
    /// Its name.
    pub name: String,
    /// "running", "opening", "waiting" or "stopped".
    pub state: &'static str,
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Channels.
    pub channels: usize,
    /// Frames of a callback.
    pub block_frames: usize,
    /// Overruns and underruns that the device reported.
    pub xruns: u64,
    /// Times that it was opened.
    pub opened: u64,
}

/// Levels and estimates of one hop.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Levels {
    /// Input, dBFS.
    pub input_dbfs: f32,
    /// Output, dBFS.
    pub output_dbfs: f32,
    /// Signal-to-noise ratio that the model estimates, dB.
    pub snr_db: f32,
    /// Gain that was applied, dB.
    pub gain_db: f32,
    /// Probability of speech, 0 to 1, if the model has it.
    pub speech_probability: Option<f32>,
    /// Noise floor of the input, dBFS: the lowest level of the last 5 s.
    pub input_floor_dbfs: f32,
    /// Noise floor of the output, dBFS.
    pub output_floor_dbfs: f32,
    /// Highest level of the input in the last 5 s, dBFS.
    pub input_highest_dbfs: f32,
    /// Highest level of the output in the last 5 s, dBFS.
    pub output_highest_dbfs: f32,
}

/// Latency by part, ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct LatencyParts {
    /// Age of the newest frame of an input block, as the input device reports it.
    pub input_device_ms: f64,
    /// Blocks, hops and the reserve for late threads. Controlled to be constant.
    pub queue_ms: f64,
    /// The echo canceller, if there is one.
    pub echo_canceller_ms: f64,
    /// The denoiser.
    pub denoiser_ms: f64,
    /// The resampling that follows the clocks.
    pub resampler_ms: f64,
    /// Time from an output callback to its first frame, as the output device reports it.
    pub output_device_ms: f64,
    /// The sum.
    pub total_ms: f64,
}

/// Counts of the playout on one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct PlayoutStatus {
    /// Audio that is queued, ms.
    pub queue_ms: f64,
    /// Audio that the control keeps queued, ms. Grows after repeated underruns and shrinks again.
    pub target_ms: f64,
    /// Difference of the clocks, parts per million. Positive: the input is faster.
    pub drift_ppm: f64,
    /// Times that the device found no audio.
    pub underruns: u64,
    /// Frames of silence that were inserted.
    pub inserted_frames: u64,
    /// Frames that were dropped.
    pub dropped_frames: u64,
}
