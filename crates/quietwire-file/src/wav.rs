//! WAV. Read and written here because no maintained crate supports all of: every depth,
//! `WAVE_FORMAT_EXTENSIBLE`, RF64 beyond 4 GiB, and the unfinished headers of pipes.

pub(crate) mod format;
pub(crate) mod read;
pub(crate) mod write;
