//! Panics at a chosen time.

/// Panics without a message after `calls` further calls, once. `None`: never.
pub fn panic_after(calls: &mut Option<usize>) {
    if let Some(left) = calls {
        let now = *left == 0;
        *calls = if now { None } else { Some(*left - 1) };
        if now {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}
