//! On and off without a click: the cross-fade between the clean signal and the delayed input.

/// Length of a cross-fade.
pub(crate) const FADE_SECONDS: f32 = 0.02;
/// How long a model that slept hears the stream before it is heard.
pub(crate) const WARM_UP_SECONDS: f32 = 0.1;

/// Where a stream is between off and on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// the clean signal alone
    On,
    /// towards the delayed input
    FadingOut,
    /// the delayed input alone; no stage runs
    Off,
    /// the delayed input still, while the stages fill; samples left
    Warming(usize),
    /// towards the clean signal
    FadingIn,
}

/// The switch of one stream.
pub(crate) struct Bypass {
    phase: Phase,
    /// share of the clean signal, counted in samples of `fade`
    wet: usize,
    /// samples of a cross-fade
    fade: usize,
    /// samples from waking up to the first that may be heard
    warm_up: usize,
}

impl Bypass {
    /// A switch that is on or off from the first sample.
    pub(crate) fn new(rate_hz: u32, latency: usize, off: bool) -> Self {
        let samples = |seconds: f32| (seconds * rate_hz as f32) as usize;
        let fade = samples(FADE_SECONDS).max(1);
        let (phase, wet) = if off {
            (Phase::Off, 0)
        } else {
            (Phase::On, fade)
        };
        Self {
            phase,
            wet,
            fade,
            warm_up: latency + samples(WARM_UP_SECONDS),
        }
    }

    /// Turns the stream off or on; true when its stages must start afresh.
    pub(crate) fn set(&mut self, off: bool) -> bool {
        let (phase, wakes) = match (self.phase, off) {
            (Phase::On | Phase::FadingIn, true) => (Phase::FadingOut, false),
            (Phase::Warming(_), true) => (Phase::Off, false),
            (Phase::FadingOut, false) => (Phase::FadingIn, false),
            (Phase::Off, false) => (Phase::Warming(self.warm_up), true),
            (same, _) => (same, false),
        };
        self.phase = phase;
        wakes
    }

    /// Back to on or off, whichever was set last, without a fade.
    pub(crate) fn reset(&mut self) {
        let off = matches!(self.phase, Phase::Off | Phase::FadingOut);
        (self.phase, self.wet) = if off {
            (Phase::Off, 0)
        } else {
            (Phase::On, self.fade)
        };
    }

    /// Whether the stages have to run.
    pub(crate) fn is_awake(&self) -> bool {
        self.phase != Phase::Off
    }

    /// Samples until the phase changes by itself: a block is cut there, so that how the caller
    /// cuts blocks makes no difference.
    pub(crate) fn until_change(&self) -> usize {
        match self.phase {
            Phase::On | Phase::Off => usize::MAX,
            Phase::FadingOut => self.wet,
            Phase::FadingIn => self.fade - self.wet,
            Phase::Warming(left) => left,
        }
        .max(1)
    }

    /// Blends one channel's `wet` into `dry`, both the next samples of the stream.
    pub(crate) fn mix(&self, dry: &mut [f32], wet: &[f32]) {
        match self.phase {
            Phase::Off | Phase::Warming(_) => {}
            Phase::On => dry.copy_from_slice(wet),
            Phase::FadingOut => self.blend(dry, wet, |n| self.wet.saturating_sub(n + 1)),
            Phase::FadingIn => self.blend(dry, wet, |n| (self.wet + n + 1).min(self.fade)),
        }
    }

    // The two signals are much alike, so a linear cross-fade keeps the level.
    fn blend(&self, dry: &mut [f32], wet: &[f32], position: impl Fn(usize) -> usize) {
        for (n, (dry, wet)) in dry.iter_mut().zip(wet).enumerate() {
            let share = position(n) as f32 / self.fade as f32;
            *dry += share * (wet - *dry);
        }
    }

    /// Moves on by `samples`, at most [`Self::until_change`].
    pub(crate) fn advance(&mut self, samples: usize) {
        match self.phase {
            Phase::On | Phase::Off => {}
            Phase::FadingOut => {
                self.wet = self.wet.saturating_sub(samples);
                if self.wet == 0 {
                    self.phase = Phase::Off;
                }
            }
            Phase::FadingIn => {
                self.wet = (self.wet + samples).min(self.fade);
                if self.wet == self.fade {
                    self.phase = Phase::On;
                }
            }
            Phase::Warming(left) => {
                let left = left.saturating_sub(samples);
                self.phase = if left == 0 {
                    Phase::FadingIn
                } else {
                    Phase::Warming(left)
                };
            }
        }
    }
}
