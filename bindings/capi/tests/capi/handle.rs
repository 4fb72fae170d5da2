//! A handle that is freed at the end of a test, and results as Rust reads them.

use std::ffi::CStr;

use quietwire_capi::{
    QuietwireError, QuietwireOptions, QuietwireStats, QuietwireStream, QuietwireTelemetry,
    quietwire_error_text, quietwire_free, quietwire_new, quietwire_options_init, quietwire_stats,
    quietwire_telemetry,
};

pub use QuietwireError::QUIETWIRE_OK as OK;

/// The default options.
pub fn options() -> QuietwireOptions {
    let mut options = std::mem::MaybeUninit::<QuietwireOptions>::uninit();
    // SAFETY: the call writes all fields.
    unsafe {
        let size = size_of::<QuietwireOptions>();
        assert_eq!(quietwire_options_init(options.as_mut_ptr(), size), OK);
        options.assume_init()
    }
}

/// A stream that the test owns.
pub struct Handle(pub *mut QuietwireStream);

// SAFETY: the library documents which functions any thread may call.
unsafe impl Sync for Handle {}

impl Handle {
    /// With the embedded model `base`.
    pub fn new(options: &QuietwireOptions) -> Self {
        let mut stream = std::ptr::null_mut();
        // SAFETY: valid options and a place for the handle.
        let code = unsafe { quietwire_new(std::ptr::null(), 0, options, &raw mut stream) };
        assert_eq!(code, OK, "{}", text(std::ptr::null()));
        Self(stream)
    }

    pub fn telemetry(&self) -> QuietwireTelemetry {
        // SAFETY: plain numbers; the size is set, and the handle lives.
        unsafe {
            let mut telemetry: QuietwireTelemetry = std::mem::zeroed();
            telemetry.size = size_of::<QuietwireTelemetry>();
            assert_eq!(quietwire_telemetry(self.0, &raw mut telemetry), OK);
            telemetry
        }
    }

    pub fn stats(&self) -> QuietwireStats {
        // SAFETY: plain numbers; the size is set, and the handle lives.
        unsafe {
            let mut stats: QuietwireStats = std::mem::zeroed();
            stats.size = size_of::<QuietwireStats>();
            assert_eq!(quietwire_stats(self.0, &raw mut stats), OK);
            stats
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: not freed before.
        unsafe { quietwire_free(self.0) };
    }
}

/// The text of the latest failure.
pub fn text(stream: *const QuietwireStream) -> String {
    // SAFETY: the handle lives or is null; the text ends with NUL.
    let text = unsafe { CStr::from_ptr(quietwire_error_text(stream)) };
    text.to_str().unwrap().to_owned()
}
