//! Handles: pointers that C holds, with a mark in front of the value that shows the kind of a live one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Failure;

/// A value behind a handle.
pub(crate) trait Kind: Sized {
    /// The type of which C has only the name.
    type Opaque;
    /// Marks a live handle.
    const MAGIC: u64;
    /// The text for every other pointer.
    const NOT_A_HANDLE: &'static str;
}

/// The memory of a handle. The mark is first in every kind, so it can be read before the kind is known.
#[repr(C)]
struct Handle<T> {
    magic: AtomicU64,
    value: T,
}

/// A new handle. Free it with [`free`].
pub(crate) fn new<T: Kind>(value: T) -> *mut T::Opaque {
    let handle = Handle {
        magic: AtomicU64::new(T::MAGIC),
        value,
    };
    Box::into_raw(Box::new(handle)).cast()
}

/// The value of a handle.
///
/// # Safety
/// `handle` is null or points to 8 bytes that can be read. If they are the mark of this kind, it is a live
/// handle while the result is used.
pub(crate) unsafe fn get<'a, T: Kind>(handle: *const T::Opaque) -> Result<&'a T, Failure> {
    let handle = handle.cast::<Handle<T>>();
    if handle.is_null() || !handle.is_aligned() {
        return Err(Failure::Argument(T::NOT_A_HANDLE));
    }
    // SAFETY: not null, aligned, and readable as the caller states. No more is read before the check.
    let is_live = unsafe { (*handle).magic.load(Ordering::Relaxed) } == T::MAGIC;
    if !is_live {
        return Err(Failure::Argument(T::NOT_A_HANDLE));
    }
    // SAFETY: the mark shows that it is a live handle.
    Ok(&unsafe { &*handle }.value)
}

/// Frees a handle.
///
/// # Safety
/// As [`get`], and no other call uses the handle.
pub(crate) unsafe fn free<T: Kind>(handle: *mut T::Opaque) -> Result<(), Failure> {
    // SAFETY: as the caller states.
    unsafe {
        get::<T>(handle)?;
        let handle = Box::from_raw(handle.cast::<Handle<T>>());
        handle.magic.store(0, Ordering::Relaxed);
        drop(handle);
    }
    Ok(())
}
