//! The function `clean_array`.

use pyo3::prelude::*;
use quietwire::Denoiser;

use crate::block::{Block, Layout, Samples};
use crate::denoiser::finished;
use crate::error::{StreamError, from_core, invalid_block};
use crate::model::from_optional;
use crate::options::{common, rate};
use crate::telemetry::{Hops, hop_s};

/// Hops whose telemetry the stream keeps: more than a second of any model has.
const TELEMETRY_HOPS: usize = 1000;
const MAX_CHANNELS: usize = 64;

/// Cleans a recording in memory. Returns a new array with the shape and dtype of `samples`, in which
/// each sample belongs to the input sample with the same index.
///
/// Args:
///     samples: float32 or float64 in [-1, 1], or int16; shape (n,) or (n, c), or (c, n) with
///         `channels_first=True`. float64 is processed as float32.
///     rate_hz: sample rate, 8000 to 192000 Hz.
///     model: a `Model`, the id of a model of the package, or the path of a model's folder.
///     level: `"low"` (12 dB), `"medium"` (20 dB) or `"high"` (40 dB, the default).
///     attenuation_db: the largest attenuation, dB, in place of `level`; `math.inf` for no limit.
///     channel_mode: `"independent"`, or `"linked"`: all channels share one mask.
///     channels_first: whether arrays of two dimensions have the shape (c, n).
///     telemetry: whether to return `(array, telemetry)`; telemetry is an array of
///         `telemetry_dtype()`, shape (hops,).
///     repair_non_finite: NaN and infinite samples become 0 instead of raising an exception.
///
/// Raises:
///     InvalidBlockError: another dtype or shape, or NaN or infinite samples.
///     InvalidOptionError: an option or the rate is out of range.
///     UnknownModelError: there is no such model.
///     InferenceError: the model failed. The attribute `block` has the complete output, in which
///         failed hops are the input.
#[pyfunction]
#[pyo3(signature = (
    samples, rate_hz, model=None, *, level=None, attenuation_db=None, channel_mode="independent",
    channels_first=false, telemetry=false, repair_non_finite=false,
))]
#[expect(clippy::too_many_arguments, reason = "they are named in Python")]
pub(crate) fn clean_array<'py>(
    py: Python<'py>,
    samples: &Bound<'py, PyAny>,
    rate_hz: i64,
    model: Option<&Bound<'py, PyAny>>,
    level: Option<&str>,
    attenuation_db: Option<f32>,
    channel_mode: &str,
    channels_first: bool,
    telemetry: bool,
    repair_non_finite: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let mut options = common(py, level, attenuation_db, channel_mode)?;
    let layout = Layout {
        channels: None,
        channels_first,
        repair_non_finite,
        allow_f64: true,
    };
    let mut block = Block::read(samples, layout)?;
    if block.channels > MAX_CHANNELS {
        let text = format!(
            "samples: expected 1 to {MAX_CHANNELS} channels, found {}; arrays of shape (c, n) need \
             channels_first=True, arrays of shape (n, c) do not",
            block.channels
        );
        return Err(invalid_block(py, text));
    }
    options.rate_hz = Some(rate(py, rate_hz)?);
    options.channels = block.channels;
    options.telemetry_hops = if telemetry { TELEMETRY_HOPS } else { 0 };
    let model = from_optional(py, model)?;
    let mut hops = Hops::new(hop_s(&model));
    let stream = py.detach(|| Denoiser::new(&[model], &options));
    let mut stream = stream.map_err(|error| from_core(py, &error))?;

    // One second at a time: then a signal such as Ctrl-C can stop the loop.
    let step = stream.rate_hz() as usize * block.channels;
    let latency = stream.latency() * block.channels;
    let mut processed = Ok(());
    for start in (0..block.samples.len()).step_by(step) {
        let end = block.samples.len().min(start + step);
        let result = py.detach(|| match &mut block.samples {
            Samples::F32(samples) | Samples::F64(samples) => {
                stream.process_in_place(&mut samples[start..end])
            }
            Samples::I16(samples) => stream.process_i16_in_place(&mut samples[start..end]),
        });
        processed = first_failure(py, processed, result, &stream)?;
        stream.drain_telemetry().for_each(|hop| hops.push(&hop));
        py.check_signals()?;
    }
    let tail = match &mut block.samples {
        Samples::F32(samples) | Samples::F64(samples) => {
            let mut tail = vec![0.0; latency];
            let result = py.detach(|| stream.flush(&mut tail));
            samples.extend(tail);
            samples.drain(..latency);
            result
        }
        Samples::I16(samples) => {
            // The core has no `flush` for 16-bit samples: the tail is the output for silence.
            let mut tail = vec![0; latency];
            let result = py.detach(|| stream.process_i16_in_place(&mut tail));
            samples.extend(tail);
            samples.drain(..latency);
            result
        }
    };
    processed = first_failure(py, processed, tail, &stream)?;
    stream.drain_telemetry().for_each(|hop| hops.push(&hop));
    let output = finished(py, processed, block.into_array(py)?)?;
    if telemetry {
        let pair = (output, hops.into_array(py)?);
        return pair.into_pyobject(py).map(Bound::into_any);
    }
    Ok(output)
}

/// The first failure of the model; the rest of the signal is still processed. Any other error is raised
/// at once.
fn first_failure(
    py: Python<'_>,
    earlier: Result<(), StreamError>,
    result: Result<(), quietwire::Error>,
    stream: &Denoiser,
) -> PyResult<Result<(), StreamError>> {
    match result.map_err(|error| StreamError::new(error, stream)) {
        Err(error) if !error.is_inference() => Err(error.exception(py)),
        result => Ok(earlier.and(result)),
    }
}
