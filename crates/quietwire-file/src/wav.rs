//! WAV. Read and written here because no maintained crate supports all of: every depth,
//! `WAVE_FORMAT_EXTENSIBLE`, RF64 beyond 4 GiB, W64, the unfinished headers of pipes and recorders, and
//! metadata that is copied unchanged.

pub(crate) mod chunk;
pub(crate) mod format;
pub(crate) mod header;
pub(crate) mod length;
pub(crate) mod read;
pub(crate) mod write;
