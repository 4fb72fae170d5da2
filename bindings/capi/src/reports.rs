//! Telemetry and statistics: the audio thread publishes them after each hop, any thread reads them.

use std::sync::atomic::{AtomicU32, Ordering, fence};

use quietwire::{DenoiserStats, Telemetry};

use crate::error::{Failure, QuietwireError, report};
use crate::guard::guarded;
use crate::options::write_prefix;
use crate::stream::{QuietwireStream, stream_ref};

/// Measurements of the latest hop. Set `size` to `sizeof(QuietwireTelemetry)` before the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct QuietwireTelemetry {
    /// Size of this struct in the caller's header, bytes.
    pub size: usize,
    /// Number of the hop, counted from 0 at the start or the last reset.
    pub hop: u64,
    /// Probability of speech, 0 to 1. NAN when the model has no such output.
    pub speech_probability: f32,
    /// Power that the model keeps over the power that it removes, dB, -30 to 60.
    pub snr_db: f32,
    /// Power of the output over the power of the input, dB.
    pub gain_db: f32,
    /// Level of the input, dBFS, -140 or more.
    pub input_dbfs: f32,
    /// Level of the output, dBFS, -140 or more.
    pub output_dbfs: f32,
    /// Index of the model whose output the stream outputs now. -1: the output is the delayed input.
    pub active_model: i32,
}

/// Counts of a stream since it was created or reset. Set `size` to `sizeof(QuietwireStats)` before the
/// call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct QuietwireStats {
    /// Size of this struct in the caller's header, bytes.
    pub size: usize,
    /// Hops.
    pub hops: u64,
    /// Hops on which a model failed. The output is the delayed input.
    pub failed_hops: u64,
    /// Input samples that were NaN, infinite or beyond ±64, and were replaced.
    pub repaired_samples: u64,
    /// Bugs of the library that were caught, since the stream was created. When the last of them is not
    /// followed by a reset, the output is the delayed input.
    pub panics: u64,
}

/// What the audio thread publishes.
#[derive(Clone, Copy)]
pub(crate) struct Report {
    pub(crate) telemetry: Telemetry,
    pub(crate) stats: DenoiserStats,
    pub(crate) panics: u64,
    pub(crate) active_model: i32,
}

/// 32-bit words of a [`Report`].
const WORDS: usize = 16;

impl Report {
    fn to_words(self) -> [u32; WORDS] {
        let low = |x: u64| x as u32;
        let high = |x: u64| (x >> 32) as u32;
        let (telemetry, stats) = (self.telemetry, self.stats);
        [
            low(telemetry.hop),
            high(telemetry.hop),
            telemetry.speech_probability.unwrap_or(f32::NAN).to_bits(),
            telemetry.snr_db.to_bits(),
            telemetry.gain_db.to_bits(),
            telemetry.input_dbfs.to_bits(),
            telemetry.output_dbfs.to_bits(),
            self.active_model as u32,
            low(stats.hops),
            high(stats.hops),
            low(stats.failed_hops),
            high(stats.failed_hops),
            low(stats.repaired_samples),
            high(stats.repaired_samples),
            low(self.panics),
            high(self.panics),
        ]
    }
}

/// A report that one thread writes and others read, without locks: a sequence lock. The number is odd
/// while the words change. A reader takes the words again when the number changed meanwhile.
pub(crate) struct Reports {
    sequence: AtomicU32,
    words: [AtomicU32; WORDS],
}

impl Reports {
    pub(crate) fn new(report: Report) -> Self {
        Self {
            sequence: AtomicU32::new(0),
            words: report.to_words().map(AtomicU32::new),
        }
    }

    /// Only the thread that is inside of a process, flush or reset call may publish.
    pub(crate) fn publish(&self, report: Report) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(report.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    fn read(&self) -> [u32; WORDS] {
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            let words = std::array::from_fn(|at| self.words[at].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if sequence.is_multiple_of(2) && sequence == self.sequence.load(Ordering::Relaxed) {
                return words;
            }
            std::hint::spin_loop();
        }
    }

    fn telemetry(&self, size: usize) -> QuietwireTelemetry {
        let words = self.read();
        QuietwireTelemetry {
            size,
            hop: pair(words[0], words[1]),
            speech_probability: f32::from_bits(words[2]),
            snr_db: f32::from_bits(words[3]),
            gain_db: f32::from_bits(words[4]),
            input_dbfs: f32::from_bits(words[5]),
            output_dbfs: f32::from_bits(words[6]),
            active_model: words[7] as i32,
        }
    }

    fn stats(&self, size: usize) -> QuietwireStats {
        let words = self.read();
        QuietwireStats {
            size,
            hops: pair(words[8], words[9]),
            failed_hops: pair(words[10], words[11]),
            repaired_samples: pair(words[12], words[13]),
            panics: pair(words[14], words[15]),
        }
    }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Writes a report to a struct of the caller, whose header may be older or newer: fields that the caller
/// does not have are left out, and fields that this version does not have become 0.
///
/// # Safety
/// `stream` is null or a handle. `out` is null or points to as many bytes as its size field states.
unsafe fn write_report<T: Copy>(
    stream: *const QuietwireStream,
    out: *mut T,
    name: &'static str,
    read: impl FnOnce(&Reports, usize) -> T,
) -> QuietwireError {
    report(guarded(|| {
        // SAFETY: as the caller states.
        let stream = unsafe { stream_ref(stream) }?;
        if out.is_null() || !out.is_aligned() {
            return Err(Failure::Argument(
                "the struct for the result is null or not aligned",
            ));
        }
        // SAFETY: not null and aligned; the size field is the first.
        let size = unsafe { out.cast::<usize>().read() };
        if !(size_of::<usize>()..=4096).contains(&size) {
            return Err(Failure::StructSize {
                name,
                found: size,
                expected: size_of::<T>(),
            });
        }
        let value = read(stream.reports(), size);
        // SAFETY: `out` has `size` bytes as the caller states.
        unsafe {
            out.cast::<u8>().write_bytes(0, size);
            write_prefix(out, &value, size);
        }
        Ok(())
    }))
}

/// Writes the measurements of the latest hop. While the stream is off, those of the last hop before.
///
/// Any thread may call it at any time, also during a process call. It takes no lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_telemetry(
    stream: *const QuietwireStream,
    telemetry: *mut QuietwireTelemetry,
) -> QuietwireError {
    // SAFETY: the caller passes null or a handle, and null or a struct with its size.
    unsafe { write_report(stream, telemetry, "QuietwireTelemetry", Reports::telemetry) }
}

/// Writes the counts of the stream.
///
/// Threads: as `quietwire_telemetry`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_stats(
    stream: *const QuietwireStream,
    stats: *mut QuietwireStats,
) -> QuietwireError {
    // SAFETY: the caller passes null or a handle, and null or a struct with its size.
    unsafe { write_report(stream, stats, "QuietwireStats", Reports::stats) }
}
