//! Other programs that read or write files for this one.

use std::io::{self, Read};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The programs that are running.
static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

/// Ends all running programs. Calls that would start another one block from then on.
pub(crate) fn kill_all() {
    let running = lock(&RUNNING);
    for child in running.iter() {
        // A program that has ended already cannot be ended.
        let _ = lock(child).kill();
    }
    // The lock is never released.
    Box::leak(Box::new(running));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every statement leaves the value complete.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running program. It is ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Arc<Mutex<Child>>,
    errors: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts a program and collects the text of its errors.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        // Held until the program is in the list, so that none is missing there.
        let mut running = lock(&RUNNING);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let errors = child
            .stderr
            .take()
            .map(|errors| std::thread::spawn(move || last_line(errors)));
        let child = Arc::new(Mutex::new(child));
        running.push(Arc::clone(&child));
        Ok(Self { child, errors })
    }

    /// The standard input, if it is a pipe and was not taken before.
    pub(crate) fn stdin(&self) -> Option<ChildStdin> {
        lock(&self.child).stdin.take()
    }

    /// The standard output, if it is a pipe and was not taken before.
    pub(crate) fn stdout(&self) -> Option<ChildStdout> {
        lock(&self.child).stdout.take()
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// The last line of the program's errors, if it failed.
    pub(crate) fn wait(&mut self) -> Result<(), String> {
        // The errors end with the program. The lock is free until then, for `kill_all`.
        let text = self.errors.take().and_then(|thread| thread.join().ok());
        let status = lock(&self.child).wait();
        match status.as_ref().is_ok_and(ExitStatus::success) {
            true => Ok(()),
            false => Err(match (text, status) {
                (Some(text), _) if !text.is_empty() => text,
                (_, Ok(status)) => status.to_string(),
                (_, Err(error)) => error.to_string(),
            }),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        // Neither has an effect on a program that has ended.
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        lock(&RUNNING).retain(|child| !Arc::ptr_eq(child, &self.child));
    }
}

/// Reads errors to their end and returns the last line. Keeps no more than that.
fn last_line(mut errors: ChildStderr) -> String {
    const MAX_BYTES: usize = 4096;
    let (mut text, mut block) = (Vec::new(), [0; 1024]);
    while let Ok(bytes @ 1..) = errors.read(&mut block) {
        text.extend_from_slice(&block[..bytes]);
        text.drain(..text.len().saturating_sub(MAX_BYTES));
    }
    let text = String::from_utf8_lossy(&text);
    text.trim_end().lines().last().unwrap_or_default().into()
}
