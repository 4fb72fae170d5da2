//! The life of one device: opened, lost, opened again. Takes the time as an argument.

use std::time::Duration;

/// Wait before the first attempt after a loss.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Time that a device must run before a loss waits for [`FIRST_WAIT`] again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Time without a callback after which a device counts as lost: after a suspend some devices never
/// call again and report no error.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// What happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceEvent {
    /// It was opened.
    Opened,
    /// It did not open.
    OpenFailed,
    /// The device reported that it cannot continue, or that its format changed.
    Lost,
    /// Another device has to be used now: the default has changed, or a named one has gone.
    DeviceChanged,
    /// A callback ran.
    Callback,
}

/// What the owner of a device must do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceAction {
    /// Nothing.
    None,
    /// Close the stream if there is one, then open the device and report [`DeviceEvent::Opened`] or
    /// [`DeviceEvent::OpenFailed`].
    Open,
    /// Close the stream. An `Open` follows later.
    Close,
}

/// The state of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// It is being opened.
    Opening,
    /// Its callbacks run.
    Running,
    /// The next attempt to open it waits.
    Waiting,
}

impl DeviceState {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}

/// The state machine of one device. Call [`poll`](Self::poll) at least every 100 ms and pass every
/// event to [`on_event`](Self::on_event).
#[derive(Debug)]
pub struct Lifecycle {
    state: DeviceState,
    is_due: bool,
    must_close: bool,
    next_attempt: Duration,
    wait: Duration,
    opened_at: Duration,
    latest_callback: Duration,
    opened_count: u64,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A device that the next [`poll`](Self::poll) opens.
    pub fn new() -> Self {
        Self {
            state: DeviceState::Waiting,
            is_due: true,
            must_close: false,
            next_attempt: Duration::ZERO,
            wait: FIRST_WAIT,
            opened_at: Duration::ZERO,
            latest_callback: Duration::ZERO,
            opened_count: 0,
        }
    }

    /// The state.
    pub fn state(&self) -> DeviceState {
        self.state
    }

    /// Times that the device was opened.
    pub fn opened_count(&self) -> u64 {
        self.opened_count
    }

    /// Takes an event.
    pub fn on_event(&mut self, event: DeviceEvent, now: Duration) {
        match event {
            DeviceEvent::Opened => {
                self.state = DeviceState::Running;
                self.opened_at = now;
                self.latest_callback = now;
                self.opened_count += 1;
            }
            DeviceEvent::OpenFailed => self.wait_longer(now),
            DeviceEvent::Lost if self.state == DeviceState::Running => self.lose(now),
            // Opened at once: the old device still works, so that there is no reason to wait.
            DeviceEvent::DeviceChanged if self.state == DeviceState::Running => {
                self.state = DeviceState::Waiting;
                self.is_due = true;
                self.next_attempt = now;
            }
            // A better device may have come while the wait is long.
            DeviceEvent::DeviceChanged if self.state == DeviceState::Waiting => {
                self.next_attempt = self.next_attempt.min(now + FIRST_WAIT);
            }
            DeviceEvent::Callback => self.latest_callback = self.latest_callback.max(now),
            DeviceEvent::Lost | DeviceEvent::DeviceChanged => {}
        }
    }

    /// What must be done at `now`.
    pub fn poll(&mut self, now: Duration) -> DeviceAction {
        if self.state == DeviceState::Running
            && now.saturating_sub(self.latest_callback) >= SILENT_AFTER
        {
            self.lose(now);
        }
        if self.state == DeviceState::Waiting && self.is_due && now >= self.next_attempt {
            self.is_due = false;
            self.must_close = false;
            self.state = DeviceState::Opening;
            return DeviceAction::Open;
        }
        if std::mem::take(&mut self.must_close) {
            return DeviceAction::Close;
        }
        DeviceAction::None
    }

    fn lose(&mut self, now: Duration) {
        if now.saturating_sub(self.opened_at) >= STABLE_AFTER {
            self.wait = FIRST_WAIT;
        }
        self.must_close = true;
        self.wait_longer(now);
    }

    fn wait_longer(&mut self, now: Duration) {
        self.state = DeviceState::Waiting;
        self.is_due = true;
        self.next_attempt = now + self.wait;
        self.wait = (self.wait * 2).min(MAX_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn opened() -> Lifecycle {
        let mut device = Lifecycle::new();
        assert_eq!(device.poll(ms(0)), DeviceAction::Open);
        assert_eq!(device.poll(ms(0)), DeviceAction::None);
        device.on_event(DeviceEvent::Opened, ms(0));
        device
    }

    #[test]
    fn a_device_that_is_lost_is_closed_and_opened_again() {
        let mut device = opened();
        device.on_event(DeviceEvent::Lost, ms(20));
        assert_eq!(device.poll(ms(21)), DeviceAction::Close);
        assert_eq!(device.poll(ms(110)), DeviceAction::None);
        assert_eq!(device.poll(ms(120)), DeviceAction::Open);
        device.on_event(DeviceEvent::Opened, ms(130));
        assert_eq!(device.state(), DeviceState::Running);
        assert_eq!(device.opened_count(), 2);
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_starts_anew_after_a_stable_time() {
        let mut device = opened();
        device.on_event(DeviceEvent::Lost, ms(0));
        let (mut now, mut attempts) = (0, Vec::new());
        while now < 60_000 {
            if device.poll(ms(now)) == DeviceAction::Open {
                attempts.push(now);
                device.on_event(DeviceEvent::OpenFailed, ms(now));
            }
            now += 10;
        }
        assert_eq!(attempts[..5], [100, 300, 700, 1500, 3100]);
        let last = attempts.windows(2).next_back().unwrap();
        assert_eq!(last[1] - last[0], 5000);

        while device.poll(ms(now)) != DeviceAction::Open {
            now += 10;
        }
        device.on_event(DeviceEvent::Opened, ms(now));
        for at in (now..now + 11_000).step_by(10) {
            device.on_event(DeviceEvent::Callback, ms(at));
            assert_eq!(device.poll(ms(at)), DeviceAction::None);
        }
        now += 11_000;
        device.on_event(DeviceEvent::Lost, ms(now));
        assert_eq!(device.poll(ms(now)), DeviceAction::Close);
        assert_eq!(device.poll(ms(now + 100)), DeviceAction::Open);
    }

    #[test]
    fn a_loop_of_short_runs_waits_longer_each_time() {
        let mut device = opened();
        let (mut now, mut opens) = (0, 0);
        while now < 60_000 {
            device.on_event(DeviceEvent::Lost, ms(now));
            if device.poll(ms(now)) == DeviceAction::Open {
                opens += 1;
                device.on_event(DeviceEvent::Opened, ms(now));
            }
            now += 10;
        }
        assert!(opens < 20, "{opens}");
    }

    #[test]
    fn a_device_without_callbacks_is_lost() {
        let mut device = opened();
        device.on_event(DeviceEvent::Callback, ms(500));
        assert_eq!(device.poll(ms(2400)), DeviceAction::None);
        assert_eq!(device.poll(ms(2500)), DeviceAction::Close);
        assert_eq!(device.poll(ms(2600)), DeviceAction::Open);
    }

    #[test]
    fn another_default_is_opened_at_once() {
        let mut device = opened();
        device.on_event(DeviceEvent::Callback, ms(500));
        device.on_event(DeviceEvent::DeviceChanged, ms(510));
        assert_eq!(device.poll(ms(510)), DeviceAction::Open);
    }
}
