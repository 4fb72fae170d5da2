//! What is heard of a stream, and how one thing follows another without a click.

/// Length of a cross-fade.
pub(crate) const FADE_SECONDS: f32 = 0.02;
/// How long a model that slept hears the stream before it is heard.
pub(crate) const WARM_UP_SECONDS: f32 = 0.1;

/// What can be heard: all of these are the same stream with the same latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// the delayed input; no stage runs for it
    Dry,
    /// one of the stream's flows
    Flow(usize),
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// not heard yet, while its stages fill; samples left
    Warming(usize),
    /// samples of the cross-fade that are done
    Fading(usize),
}

/// The switch of one stream.
pub(crate) struct Switch {
    heard: Source,
    next: Option<(Source, Phase)>,
    wanted: Source,
    /// samples of a cross-fade
    fade: usize,
    /// samples from waking up to the first that may be heard
    warm_up: usize,
}

impl Switch {
    /// A switch that stands at `source`. All its times are multiples of `step` samples.
    pub(crate) fn new(rate_hz: u32, latency: usize, step: usize, source: Source) -> Self {
        let samples = |seconds: f32| (seconds * rate_hz as f32) as usize;
        Self {
            heard: source,
            next: None,
            wanted: source,
            fade: samples(FADE_SECONDS).max(1).next_multiple_of(step),
            warm_up: (latency + samples(WARM_UP_SECONDS)).next_multiple_of(step),
        }
    }

    /// Sets what shall be heard; gives the flow that must start afresh.
    pub(crate) fn set(&mut self, wanted: Source) -> Option<usize> {
        self.wanted = wanted;
        match self.next {
            None => {}
            Some((to, _)) if to == wanted => return None,
            // Nothing of it was heard yet.
            Some((_, Phase::Warming(_) | Phase::Fading(0))) => self.next = None,
            Some((to, Phase::Fading(done))) => {
                if wanted == self.heard {
                    self.next = Some((self.heard, Phase::Fading(self.fade - done)));
                    self.heard = to;
                }
                // What is neither comes after this fade.
                return None;
            }
        }
        self.start()
    }

    /// Begins the way to what is wanted, from standing still.
    fn start(&mut self) -> Option<usize> {
        if self.wanted == self.heard {
            return None;
        }
        match self.wanted {
            Source::Dry => {
                self.next = Some((Source::Dry, Phase::Fading(0)));
                None
            }
            Source::Flow(flow) => {
                self.next = Some((self.wanted, Phase::Warming(self.warm_up)));
                Some(flow)
            }
        }
    }

    /// To what was set last, without a fade.
    pub(crate) fn reset(&mut self) {
        self.heard = self.wanted;
        self.next = None;
    }

    /// What is heard, or was when the fade began.
    pub(crate) fn heard(&self) -> Source {
        self.heard
    }

    /// Whether a flow's stages have to run.
    pub(crate) fn is_awake(&self, flow: usize) -> bool {
        let source = Source::Flow(flow);
        self.heard == source || self.next.is_some_and(|(to, _)| to == source)
    }

    /// Samples until the phase changes by itself: a block is cut there, so that how the caller
    /// cuts blocks makes no difference.
    pub(crate) fn until_change(&self) -> usize {
        match self.next {
            None => usize::MAX,
            Some((_, Phase::Warming(left))) => left,
            Some((_, Phase::Fading(done))) => self.fade - done,
        }
    }

    /// What is being faded to.
    pub(crate) fn fading_to(&self) -> Option<Source> {
        match self.next {
            Some((to, Phase::Fading(_))) => Some(to),
            _ => None,
        }
    }

    /// Blends one channel's next samples of what is faded to into those of what is heard.
    pub(crate) fn blend(&self, heard: &mut [f32], to: &[f32]) {
        let Some((_, Phase::Fading(done))) = self.next else {
            return;
        };
        // The two signals are much alike, so a linear cross-fade keeps the level.
        for (n, (heard, to)) in heard.iter_mut().zip(to).enumerate() {
            let share = (done + n + 1).min(self.fade) as f32 / self.fade as f32;
            *heard += share * (to - *heard);
        }
    }

    /// Moves on by `samples`, at most [`Self::until_change`]; gives the flow that must start
    /// afresh.
    pub(crate) fn advance(&mut self, samples: usize) -> Option<usize> {
        let (to, phase) = self.next?;
        let phase = match phase {
            Phase::Warming(left) if left > samples => Phase::Warming(left - samples),
            Phase::Warming(_) => Phase::Fading(0),
            Phase::Fading(done) if done + samples < self.fade => Phase::Fading(done + samples),
            Phase::Fading(_) => {
                self.heard = to;
                self.next = None;
                return self.start();
            }
        };
        self.next = Some((to, phase));
        None
    }
}
