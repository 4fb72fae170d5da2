//! Which signal a stream outputs, and cross-fades between signals.

/// Length of a cross-fade.
pub(crate) const FADE_SECONDS: f32 = 0.02;
/// Time that a pipeline runs after a reset before the stream outputs it.
pub(crate) const PRIMING_SECONDS: f32 = 0.1;

/// A signal that the stream can output. All have the same latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// the delayed input; no pipeline runs for it
    Dry,
    /// the output of the pipeline with this index
    Pipeline(usize),
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// the next source runs but is not output yet; samples left
    Priming(usize),
    /// samples of the cross-fade that are done
    Fading(usize),
}

/// The crossfade of one stream.
pub(crate) struct Crossfade {
    active: Source,
    next: Option<(Source, Phase)>,
    requested: Source,
    /// samples of a cross-fade
    fade: usize,
    /// samples from a pipeline's reset to its first sample in the output
    priming: usize,
}

impl Crossfade {
    /// A crossfade that outputs `source`. All its times are multiples of `step` samples.
    pub(crate) fn new(rate_hz: u32, latency: usize, step: usize, source: Source) -> Self {
        let samples = |seconds: f32| (seconds * rate_hz as f32) as usize;
        Self {
            active: source,
            next: None,
            requested: source,
            fade: samples(FADE_SECONDS).max(1).next_multiple_of(step),
            priming: (latency + samples(PRIMING_SECONDS)).next_multiple_of(step),
        }
    }

    /// Requests a source. Returns the pipeline that the caller must reset.
    pub(crate) fn request(&mut self, requested: Source) -> Option<usize> {
        self.requested = requested;
        match self.next {
            None => {}
            Some((to, _)) if to == requested => return None,
            // The output does not contain any of it yet.
            Some((_, Phase::Priming(_) | Phase::Fading(0))) => self.next = None,
            Some((to, Phase::Fading(done))) => {
                if requested == self.active {
                    self.next = Some((self.active, Phase::Fading(self.fade - done)));
                    self.active = to;
                }
                // A third source follows after this fade.
                return None;
            }
        }
        self.start()
    }

    /// Starts the transition to the requested source while none runs.
    fn start(&mut self) -> Option<usize> {
        if self.requested == self.active {
            return None;
        }
        match self.requested {
            Source::Dry => {
                self.next = Some((Source::Dry, Phase::Fading(0)));
                None
            }
            Source::Pipeline(pipeline) => {
                self.next = Some((self.requested, Phase::Priming(self.priming)));
                Some(pipeline)
            }
        }
    }

    /// Switches to the requested source without a fade.
    pub(crate) fn reset(&mut self) {
        self.active = self.requested;
        self.next = None;
    }

    /// The source that is output; during a fade, the source that fades out.
    pub(crate) fn active(&self) -> Source {
        self.active
    }

    /// Whether a pipeline has to run.
    pub(crate) fn is_running(&self, pipeline: usize) -> bool {
        let source = Source::Pipeline(pipeline);
        self.active == source || self.next.is_some_and(|(to, _)| to == source)
    }

    /// Samples until the phase changes. A block is split there, so that the caller's block lengths
    /// do not change the output.
    pub(crate) fn until_change(&self) -> usize {
        match self.next {
            None => usize::MAX,
            Some((_, Phase::Priming(left))) => left,
            Some((_, Phase::Fading(done))) => self.fade - done,
        }
    }

    /// The source that fades in.
    pub(crate) fn fading_to(&self) -> Option<Source> {
        match self.next {
            Some((to, Phase::Fading(_))) => Some(to),
            _ => None,
        }
    }

    /// Mixes the next samples of the source that fades in into those of the active one, for one
    /// channel.
    pub(crate) fn mix(&self, active: &mut [f32], fading_in: &[f32]) {
        let Some((_, Phase::Fading(done))) = self.next else {
            return;
        };
        // The two signals are strongly correlated, so a linear cross-fade keeps the level.
        for (n, (active, fading_in)) in active.iter_mut().zip(fading_in).enumerate() {
            let weight = (done + n + 1).min(self.fade) as f32 / self.fade as f32;
            *active += weight * (fading_in - *active);
        }
    }

    /// Advances by `samples`, at most [`Self::until_change`]. Returns the pipeline that the caller
    /// must reset.
    pub(crate) fn advance(&mut self, samples: usize) -> Option<usize> {
        let (to, phase) = self.next?;
        let phase = match phase {
            Phase::Priming(left) if left > samples => Phase::Priming(left - samples),
            Phase::Priming(_) => Phase::Fading(0),
            Phase::Fading(done) if done + samples < self.fade => Phase::Fading(done + samples),
            Phase::Fading(_) => {
                self.active = to;
                self.next = None;
                return self.start();
            }
        };
        self.next = Some((to, phase));
        None
    }
}
