//! Results of the C functions, and their texts in buffers that need no allocation.

use std::cell::RefCell;
use std::error::Error as _;
use std::ffi::c_char;
use std::fmt::{self, Write as _};

use quietwire::{Error, ErrorKind};

use crate::guard::guarded;
use crate::stream::{QuietwireStream, stream_ref};

/// Result of a function. Codes never change; later versions add some.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names of the C header")]
pub enum QuietwireError {
    /// Success.
    QUIETWIRE_OK = 0,
    /// An option or a setting is out of range.
    QUIETWIRE_ERROR_INVALID_OPTION = 1,
    /// A model cannot do what an option asks for.
    QUIETWIRE_ERROR_UNSUPPORTED_BY_MODEL = 2,
    /// A block does not fit the stream. Nothing was processed.
    QUIETWIRE_ERROR_INVALID_BLOCK = 3,
    /// A file cannot be read.
    QUIETWIRE_ERROR_IO = 4,
    /// A manifest is not valid.
    QUIETWIRE_ERROR_INVALID_MANIFEST = 5,
    /// A graph does not match its manifest.
    QUIETWIRE_ERROR_MODEL_MISMATCH = 6,
    /// The engine cannot run a graph.
    QUIETWIRE_ERROR_ENGINE = 7,
    /// The model failed on a hop. The block is complete; the output of the failed hops is the delayed
    /// input.
    QUIETWIRE_ERROR_INFERENCE = 8,
    /// No embedded model has this id.
    QUIETWIRE_ERROR_UNKNOWN_MODEL = 9,
    /// A pointer is null, not aligned or not a handle of this library, a size does not fit, buffers
    /// overlap, or a text is not UTF-8. Nothing was processed or changed.
    QUIETWIRE_ERROR_INVALID_ARGUMENT = 100,
    /// Another thread is inside of a process, flush or reset call of this stream. Nothing was processed.
    QUIETWIRE_ERROR_BUSY = 101,
    /// A bug of the library was caught. In a process or flush call the block is complete: from the bug
    /// on the output is the delayed input, and so it stays, with this error, until `quietwire_reset`.
    QUIETWIRE_ERROR_PANIC = 102,
    /// An error of a kind that this header does not list.
    QUIETWIRE_ERROR_OTHER = 103,
}

/// Why a function failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{error}{causes}", error = .0, causes = Causes(.0))]
    Core(#[from] Error),
    #[error("{0}")]
    Argument(&'static str),
    #[error("the size field of {name} is {found}: expected {expected} or more")]
    StructSize {
        name: &'static str,
        found: usize,
        expected: usize,
    },
    #[error(
        "QuietwireOptions has values in fields that this version of the library does not have: \
         set them to 0, or use a newer library"
    )]
    UnknownOptions,
    #[error("channel mode {0} is not supported: expected a value of QuietwireChannelMode")]
    ChannelMode(u32),
    #[error("another thread is inside of a process, flush or reset call of this stream")]
    Busy,
    #[error(
        "a bug of the library was caught: the output is the delayed input until the stream is reset"
    )]
    Passthrough,
    #[error("a bug of the library was caught")]
    Panic,
}

/// The causes of an error, each after a colon.
struct Causes<'a>(&'a Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<quietwire_guarded::Failure> for Failure {
    fn from(failure: quietwire_guarded::Failure) -> Self {
        match failure {
            quietwire_guarded::Failure::Core(error) => Self::Core(error),
            quietwire_guarded::Failure::Passthrough => Self::Passthrough,
        }
    }
}

impl Failure {
    pub(crate) fn code(&self) -> QuietwireError {
        use QuietwireError as Code;
        match self {
            Self::Core(error) => match error.kind() {
                ErrorKind::InvalidOption => Code::QUIETWIRE_ERROR_INVALID_OPTION,
                ErrorKind::UnsupportedByModel => Code::QUIETWIRE_ERROR_UNSUPPORTED_BY_MODEL,
                ErrorKind::InvalidBlock => Code::QUIETWIRE_ERROR_INVALID_BLOCK,
                ErrorKind::Io => Code::QUIETWIRE_ERROR_IO,
                ErrorKind::InvalidManifest => Code::QUIETWIRE_ERROR_INVALID_MANIFEST,
                ErrorKind::ModelMismatch => Code::QUIETWIRE_ERROR_MODEL_MISMATCH,
                ErrorKind::Engine => Code::QUIETWIRE_ERROR_ENGINE,
                ErrorKind::Inference => Code::QUIETWIRE_ERROR_INFERENCE,
                ErrorKind::UnknownModel => Code::QUIETWIRE_ERROR_UNKNOWN_MODEL,
                _ => Code::QUIETWIRE_ERROR_OTHER,
            },
            Self::Argument(_) | Self::StructSize { .. } => Code::QUIETWIRE_ERROR_INVALID_ARGUMENT,
            Self::UnknownOptions | Self::ChannelMode(_) => Code::QUIETWIRE_ERROR_INVALID_OPTION,
            Self::Busy => Code::QUIETWIRE_ERROR_BUSY,
            Self::Passthrough | Self::Panic => Code::QUIETWIRE_ERROR_PANIC,
        }
    }
}

/// Bytes of an error text with its final NUL. Longer texts are cut.
const TEXT_SIZE: usize = 1024;

/// A text that ends with NUL. Setting it allocates nothing.
pub(crate) struct ErrorText {
    bytes: [u8; TEXT_SIZE],
    len: usize,
}

impl ErrorText {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; TEXT_SIZE],
            len: 0,
        }
    }

    pub(crate) fn set(&mut self, failure: &Failure) {
        self.len = 0;
        // `write_str` cuts and does not fail.
        let _ = write!(self, "{failure}");
        self.bytes[self.len] = 0;
    }

    /// The address of a text, without a reference to its bytes.
    ///
    /// # Safety
    /// `text` points to a live text.
    pub(crate) unsafe fn as_ptr(text: *const Self) -> *const c_char {
        // SAFETY: as the caller states.
        unsafe { &raw const (*text).bytes }.cast()
    }
}

impl fmt::Write for ErrorText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.floor_char_boundary(TEXT_SIZE - 1 - self.len);
        // A NUL inside of a text would end it for C.
        for (to, byte) in self.bytes[self.len..]
            .iter_mut()
            .zip(&text.as_bytes()[..end])
        {
            *to = if *byte == 0 { b'?' } else { *byte };
        }
        self.len += end;
        Ok(())
    }
}

thread_local! {
    /// The latest failure of a function that has no stream or is not a call of the audio thread.
    static TEXT: RefCell<ErrorText> = const { RefCell::new(ErrorText::new()) };
}

/// The code of a result. The text of a failure goes to the calling thread.
pub(crate) fn report(result: Result<(), Failure>) -> QuietwireError {
    match result {
        Ok(()) => QuietwireError::QUIETWIRE_OK,
        Err(failure) => {
            TEXT.with_borrow_mut(|text| text.set(&failure));
            failure.code()
        }
    }
}

/// The text of the latest failure, one line of UTF-8, never null.
///
/// With a stream: of its process, flush and reset calls. The text is valid until the next of them fails
/// or the stream is freed. Call it on the thread that makes these calls.
///
/// With NULL: of all other functions, on the calling thread. The text is valid until the next of them
/// fails on this thread, or the thread ends.
///
/// Any other pointer gives the text for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quietwire_error_text(stream: *const QuietwireStream) -> *const c_char {
    let of_stream = guarded(|| {
        // SAFETY: the caller passes null or a handle of this library.
        let stream = unsafe { stream_ref(stream) }?;
        Ok(stream.text())
    });
    of_stream.unwrap_or_else(|_| {
        // SAFETY: the text lives as long as the thread, which alone changes it.
        TEXT.with(|text| unsafe { ErrorText::as_ptr(text.as_ptr()) })
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    #[test]
    fn texts_are_cut_at_a_character_and_have_no_nul_inside() {
        let mut text = ErrorText::new();
        let read = |text: &ErrorText| {
            // SAFETY: the buffer lives and ends with NUL.
            let text = unsafe { CStr::from_ptr(ErrorText::as_ptr(text)) };
            text.to_str().unwrap().to_owned()
        };
        assert_eq!(read(&text), "");
        let id = format!("a\0b{}", "é".repeat(TEXT_SIZE));
        text.set(&Failure::Core(Error::UnknownModel {
            found: id,
            known: String::new(),
        }));
        assert!(read(&text).contains("`a?bééé"));
        assert!((TEXT_SIZE - 3..TEXT_SIZE).contains(&read(&text).len()));
        text.set(&Failure::Busy);
        assert!(read(&text).starts_with("another thread") && read(&text).len() < 100);
    }

    #[test]
    fn codes_are_those_of_the_core() {
        let codes = [
            (
                ErrorKind::InvalidOption,
                QuietwireError::QUIETWIRE_ERROR_INVALID_OPTION,
            ),
            (
                ErrorKind::UnsupportedByModel,
                QuietwireError::QUIETWIRE_ERROR_UNSUPPORTED_BY_MODEL,
            ),
            (
                ErrorKind::InvalidBlock,
                QuietwireError::QUIETWIRE_ERROR_INVALID_BLOCK,
            ),
            (ErrorKind::Io, QuietwireError::QUIETWIRE_ERROR_IO),
            (
                ErrorKind::InvalidManifest,
                QuietwireError::QUIETWIRE_ERROR_INVALID_MANIFEST,
            ),
            (
                ErrorKind::ModelMismatch,
                QuietwireError::QUIETWIRE_ERROR_MODEL_MISMATCH,
            ),
            (ErrorKind::Engine, QuietwireError::QUIETWIRE_ERROR_ENGINE),
            (
                ErrorKind::Inference,
                QuietwireError::QUIETWIRE_ERROR_INFERENCE,
            ),
            (
                ErrorKind::UnknownModel,
                QuietwireError::QUIETWIRE_ERROR_UNKNOWN_MODEL,
            ),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.code(), code as u32, "{kind:?}");
        }
        let failure = Failure::from(Error::Rate {
            found_hz: 1,
            min_hz: 8_000,
            max_hz: 192_000,
        });
        assert_eq!(
            failure.code(),
            QuietwireError::QUIETWIRE_ERROR_INVALID_OPTION
        );
    }

    #[test]
    fn a_text_has_the_causes() {
        let failure = Failure::from(Error::Read {
            path: "model.toml".into(),
            source: std::io::Error::other("no such file"),
        });
        assert_eq!(failure.to_string(), "cannot read model.toml: no such file");
    }
}
