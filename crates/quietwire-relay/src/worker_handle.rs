//! The sending end of a worker's command channel.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mio::Waker;
use tokio::sync::oneshot;

use crate::worker::Command;

/// Longest time until a worker answers. A turn takes milliseconds.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(10);

/// See the [module](self).
pub struct WorkerHandle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl WorkerHandle {
    pub fn new(commands: Sender<Command>, waker: Arc<Waker>) -> Self {
        Self { commands, waker }
    }

    /// Sends a command and waits for its answer. `None`: the worker has ended or does not answer.
    pub async fn request<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.commands.send(command(sender)).ok()?;
        self.waker.wake().ok()?;
        let answer = tokio::time::timeout(MAX_ANSWER_TIME, answer).await;
        answer.ok()?.ok()
    }
}
