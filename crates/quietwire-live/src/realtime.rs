//! The priority and the floating-point mode of the worker thread.

/// The priority that a worker gets here, for a report. Requests it on a thread of its own.
pub fn realtime_priority() -> String {
    let thread = std::thread::spawn(request_priority);
    thread.join().unwrap_or_else(|_| "unknown".into())
}

/// Requests real-time priority for this thread. Returns what was granted, for reports.
#[cfg(unix)]
pub(crate) fn request_priority() -> String {
    use thread_priority::{
        RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };

    /// 1 to 99. Below that of the sound servers: PulseAudio uses 5, PipeWire 83 and more.
    const PRIORITY: u8 = 4;

    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let granted = ThreadPriority::try_from(PRIORITY)
        .map_err(str::to_owned)
        .and_then(|priority| {
            set_thread_priority_and_policy(thread_native_id(), priority, policy)
                .map_err(|error| format!("{error:?}"))
        });
    match granted {
        Ok(()) => "real-time (SCHED_FIFO)".into(),
        Err(reason) => format!("normal; real-time priority was refused: {reason}"),
    }
}

/// Requests the highest priority for this thread. Returns what was granted, for reports.
#[cfg(not(unix))]
pub(crate) fn request_priority() -> String {
    match thread_priority::set_current_thread_priority(thread_priority::ThreadPriority::Max) {
        Ok(()) => "highest of this process".into(),
        Err(reason) => format!("normal; a higher priority was refused: {reason:?}"),
    }
}

/// Runs `work` with flush-to-zero: denormal numbers, as in decaying filters, are 0 and not slow.
#[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn with_flush_to_zero(work: impl FnOnce()) {
    // SAFETY: the mode holds on this thread until `work` ends. `work` is the loop of the worker. Its
    // arithmetic is right whether or not denormals are 0, and it returns no number.
    #[allow(unsafe_code, reason = "the only way to set this mode of the processor")]
    unsafe {
        no_denormals::no_denormals(work);
    }
}

/// Runs `work`. On this processor denormals stay as they are.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn with_flush_to_zero(work: impl FnOnce()) {
    work();
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    #[test]
    fn denormals_are_zero_inside() {
        let half_of_smallest = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(half_of_smallest() > 0.0);
        super::with_flush_to_zero(|| assert_eq!(half_of_smallest(), 0.0));
    }
}
