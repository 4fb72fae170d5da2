//! The class `Denoiser`.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyDict;
use quietwire::Denoiser as Stream;

use crate::block::{Block, Layout, Samples, Shape};
use crate::error::{StreamError, exception, from_core, invalid_block};
use crate::model::{Model, from_optional, wrap};
use crate::options::{common, rate, strength};
use crate::telemetry::{Hops, hop_s};

/// One live stream. The class of the package adds `clean_blocks`.
#[pyclass(frozen, subclass, module = "quietwire")]
#[derive(Debug)]
pub(crate) struct Denoiser {
    /// `None` when it is closed
    state: Mutex<Option<State>>,
    layout: Layout,
    rate_hz: u32,
    channels: usize,
    latency: usize,
    hop_frames: usize,
}

#[derive(Debug)]
struct State {
    stream: Stream,
    /// type and shape of the latest block, for the end of the signal
    latest: (Samples, Shape),
}

#[pymethods]
impl Denoiser {
    #[new]
    #[pyo3(signature = (
        rate_hz, channels=1, model=None, *, level=None, attenuation_db=None,
        channel_mode="independent", channels_first=false, bypass=false, hop_aligned=false,
        telemetry_hops=1000, repair_non_finite=false,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn new(
        py: Python<'_>,
        rate_hz: i64,
        channels: usize,
        model: Option<&Bound<'_, PyAny>>,
        level: Option<&str>,
        attenuation_db: Option<f32>,
        channel_mode: &str,
        channels_first: bool,
        bypass: bool,
        hop_aligned: bool,
        telemetry_hops: usize,
        repair_non_finite: bool,
    ) -> PyResult<Self> {
        let mut options = common(py, level, attenuation_db, channel_mode)?;
        options.rate_hz = Some(rate(py, rate_hz)?);
        options.channels = channels;
        options.bypass = bypass;
        options.hop_aligned = hop_aligned;
        options.telemetry_hops = telemetry_hops;
        let model = from_optional(py, model)?;
        let stream = py.detach(|| Stream::new(&[model], &options));
        let stream = stream.map_err(|error| from_core(py, &error))?;
        let shape = match (channels, channels_first) {
            (1, _) => Shape::Flat,
            (_, true) => Shape::ChannelsFirst,
            (_, false) => Shape::FramesFirst,
        };
        Ok(Self {
            layout: Layout {
                channels: Some(channels),
                channels_first,
                repair_non_finite,
                allow_f64: false,
            },
            rate_hz: stream.rate_hz(),
            channels,
            latency: stream.latency(),
            hop_frames: stream.hop_frames(),
            state: Mutex::new(Some(State {
                stream,
                latest: (Samples::F32(Vec::new()), shape),
            })),
        })
    }

    /// Cleans one block. Returns a new array with the shape and dtype of `block`, `latency` frames
    /// later.
    ///
    /// Args:
    ///     block: float32 in [-1, 1] or int16, shape (n,) for one channel or (n, c); (c, n) if the
    ///         stream was created with `channels_first=True`. Any n, 0 included; the split into blocks
    ///         does not change the output.
    ///     rate_hz: the sample rate of the block, if the caller has it: another rate than that of the
    ///         stream raises an exception.
    ///
    /// Raises:
    ///     InvalidBlockError: another dtype, shape or rate, NaN or infinite samples, or not whole hops
    ///         in a stream with `hop_aligned=True`. The stream is unchanged.
    ///     InferenceError: the model failed. The attribute `block` has the complete output, in which
    ///         the failed hops are the delayed input.
    ///     ClosedError: the stream is closed.
    #[pyo3(signature = (block, *, rate_hz=None))]
    fn process<'py>(
        &self,
        py: Python<'py>,
        block: &Bound<'py, PyAny>,
        rate_hz: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(found) = rate_hz.filter(|&found| found != i64::from(self.rate_hz)) {
            let text = format!(
                "block: expected the rate of the stream, {} Hz, found {found} Hz; create a new Denoiser \
                 for another rate",
                self.rate_hz
            );
            return Err(invalid_block(py, text));
        }
        let mut block = Block::read(block, self.layout)?;
        let processed = self.with_state_detached(py, |state| {
            state.latest = (block.samples.silence(0), block.shape());
            let processed = match &mut block.samples {
                Samples::F32(samples) | Samples::F64(samples) => {
                    state.stream.process_in_place(samples)
                }
                Samples::I16(samples) => state.stream.process_i16_in_place(samples),
            };
            processed.map_err(|error| StreamError::new(error, &state.stream))
        })?;
        let output = block.into_array(py)?;
        finished(py, processed, output)
    }

    /// Returns the end of the signal: the last `latency` frames, with the dtype of the latest block.
    ///
    /// The stream continues as after as much silence; `reset` starts another signal.
    ///
    /// Raises:
    ///     InferenceError: as `process`.
    ///     ClosedError: the stream is closed.
    fn flush<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let samples = self.latency * self.channels;
        let (processed, tail, shape) = self.with_state_detached(py, |state| {
            let mut tail = state.latest.0.silence(samples);
            let processed = match &mut tail {
                Samples::F32(tail) | Samples::F64(tail) => state.stream.flush(tail),
                // The core has no `flush` for 16-bit samples: the tail is the output for silence.
                Samples::I16(tail) => state.stream.process_i16_in_place(tail),
            };
            let processed = processed.map_err(|error| StreamError::new(error, &state.stream));
            (processed, tail, state.latest.1)
        })?;
        let output = tail.into_array(py, shape, self.channels)?;
        finished(py, processed, output)
    }

    /// Empties the stream and its statistics. Settings stay. The stream then equals a new one.
    ///
    /// Raises:
    ///     ClosedError: the stream is closed.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.with_state(py, |state| state.stream.reset())
    }

    /// Frees the memory of the stream. Further calls raise `ClosedError`. Closing twice is no error.
    fn close(&self, py: Python<'_>) {
        let mut state = self
            .state
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner);
        *state = None;
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        let state = self.state.lock_py_attached(py);
        state.unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_arguments))]
    fn __exit__(&self, py: Python<'_>, _arguments: &Bound<'_, PyAny>) {
        self.close(py);
    }

    /// Telemetry of the hops since the last call, oldest first: an array of `telemetry_dtype()`, shape
    /// (hops,).
    ///
    /// The stream keeps the latest `telemetry_hops` hops: call this at least that often. The hop length
    /// is that of the model, 10 ms for the models of the package.
    ///
    /// Raises:
    ///     ClosedError: the stream is closed.
    fn telemetry<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let hops = self.with_state(py, |state| {
            let mut hops = Hops::new(hop_s(state.stream.model()));
            for hop in state.stream.drain_telemetry() {
                hops.push(&hop);
            }
            hops
        })?;
        hops.into_array(py)
    }

    /// Counts since the stream was created or reset: `hops`, `failed_hops`, `repaired_samples` and
    /// `interrupted_blocks`.
    ///
    /// Raises:
    ///     ClosedError: the stream is closed.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.with_state(py, |state| state.stream.stats())?;
        let counts = PyDict::new(py);
        counts.set_item("hops", stats.hops)?;
        counts.set_item("failed_hops", stats.failed_hops)?;
        counts.set_item("repaired_samples", stats.repaired_samples)?;
        counts.set_item("interrupted_blocks", stats.interrupted_blocks)?;
        Ok(counts)
    }

    /// Delay from input to output, frames at the rate of the stream. Constant for the life of the
    /// stream, in bypass too.
    #[getter]
    fn latency(&self) -> usize {
        self.latency
    }

    /// Sample rate of the blocks, Hz.
    #[getter]
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Channels of the blocks.
    #[getter]
    fn channels(&self) -> usize {
        self.channels
    }

    /// Whether blocks of several channels have the shape (c, n) instead of (n, c).
    #[getter]
    fn channels_first(&self) -> bool {
        self.layout.channels_first
    }

    /// Frames of one hop at the rate of the stream, rounded down.
    #[getter]
    fn hop_frames(&self) -> usize {
        self.hop_frames
    }

    /// The model of the stream.
    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<Model> {
        self.with_state(py, |state| wrap(state.stream.model().clone()))
    }

    /// The largest attenuation, dB: 0 changes nothing, `math.inf` is no limit. A change takes effect
    /// over 50 ms.
    #[getter]
    fn attenuation_db(&self, py: Python<'_>) -> PyResult<f32> {
        self.with_state(py, |state| state.stream.attenuation().db())
    }

    #[setter]
    fn set_attenuation_db(&self, py: Python<'_>, attenuation_db: f32) -> PyResult<()> {
        self.with_state(py, |state| state.stream.set_attenuation(attenuation_db))?
            .map_err(|error| from_core(py, &error))
    }

    /// Sets the attenuation limit by its name: `"low"` (12 dB), `"medium"` (20 dB) or `"high"` (40 dB).
    ///
    /// Raises:
    ///     InvalidOptionError: another name.
    ///     ClosedError: the stream is closed.
    fn set_level(&self, py: Python<'_>, level: &str) -> PyResult<()> {
        self.set_attenuation_db(py, strength(py, level)?.attenuation_db())
    }

    /// Whether the output is requested to be the delayed input. A change fades over 20 ms, and the
    /// latency stays.
    #[getter]
    fn bypass(&self, py: Python<'_>) -> PyResult<bool> {
        self.with_state(py, |state| state.stream.bypass_requested())
    }

    #[setter]
    fn set_bypass(&self, py: Python<'_>, bypass: bool) -> PyResult<()> {
        self.with_state(py, |state| state.stream.set_bypass(bypass))
    }

    fn __repr__(&self) -> String {
        format!(
            "Denoiser(rate_hz={}, channels={}, latency={})",
            self.rate_hz, self.channels, self.latency
        )
    }
}

impl Denoiser {
    /// Runs a short operation on the state.
    fn with_state<T>(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&mut State) -> T,
    ) -> PyResult<T> {
        let mut state = self
            .state
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner);
        state.as_mut().map(operation).ok_or_else(|| closed(py))
    }

    /// Runs a long operation on the state while other Python threads run. Two threads that process one
    /// stream wait for each other.
    fn with_state_detached<T: Send>(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&mut State) -> T + Send,
    ) -> PyResult<T> {
        let result = py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.as_mut().map(operation)
        });
        result.ok_or_else(|| closed(py))
    }
}

fn closed(py: Python<'_>) -> PyErr {
    let text = "expected an open Denoiser, found a closed one; create a new one";
    exception(py, "ClosedError", text)
}

/// The output, or an exception. That of a failed model carries the output.
pub(crate) fn finished<'py>(
    py: Python<'py>,
    processed: Result<(), StreamError>,
    output: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    match processed {
        Ok(()) => Ok(output),
        Err(error) => {
            let exception = error.exception(py);
            if error.is_inference() {
                exception.value(py).setattr("block", output)?;
            }
            Err(exception)
        }
    }
}
