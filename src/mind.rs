//! A model's view of the channels that share one mask: its graphs run in their order, and what
//! they say is done to the spectra.

use std::ops::Range;

use realfft::num_complex::Complex32;

use crate::Error;
use crate::feature::FeatureMaker;
use crate::mask::{Energies, History, Masker};
use crate::model::Model;
use crate::model::spec::{Gate, Layout, Role, Spec};
use crate::model::tract::Session;
use crate::stft::{Stft, Transform};

/// What one channel hears and says at the model's rate.
pub(crate) struct Channel {
    stft: Stft,
    history: History,
    /// [bins] of the hop, as far as the graphs have made it
    made: Vec<Complex32>,
    /// [window] in the place of the bins, where a graph gives samples; else empty
    frame: Vec<f32>,
}

impl Channel {
    pub(crate) fn new(spec: &Spec, transform: &Transform) -> Self {
        let mut tensors = spec.graphs().iter().flat_map(|g| &g.outputs);
        let frame = tensors.any(|t| t.role == Role::Frame);
        Self {
            stft: Stft::new(transform),
            history: History::new(spec),
            made: vec![Complex32::default(); spec.bins()],
            frame: vec![0.0; if frame { spec.window() } else { 0 }],
        }
    }

    /// Takes one hop of samples.
    pub(crate) fn hear(&mut self, hop: &[f32]) {
        self.stft.analyse(hop, self.history.advance());
    }

    /// Writes one hop of samples.
    pub(crate) fn say(&mut self, hop: &mut [f32]) {
        if self.frame.is_empty() {
            self.stft.synthesise(&mut self.made, hop);
        } else {
            self.stft.synthesise_frame(&self.frame, hop);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.stft.reset();
        self.history.reset();
    }
}

/// See the module.
pub(crate) struct Mind {
    channels: Range<usize>,
    roles: Roles,
    /// the stream's own, also where its states lie while it shares steps
    session: Session,
    failed: bool,
}

/// What a model's tensors mean, whichever session holds them.
struct Roles {
    /// with graph and input of each
    features: Vec<(usize, usize, FeatureMaker)>,
    steps: Vec<Step>,
    /// whether the first graph gives every bin a gain, so that nothing need be there before
    gains_first: bool,
    masker: Masker,
    gate: Option<Gate>,
    need: Need,
    energies: Energies,
    speech: f32,
}

/// Where a graph's tensors are that mean something to the flow.
#[derive(Default)]
struct Step {
    frame_in: Option<usize>,
    gain: Option<usize>,
    taps: Option<usize>,
    spectrum: Option<(usize, Layout)>,
    frame: Option<usize>,
    vad: Option<usize>,
    snr: Option<usize>,
}

impl Step {
    fn new(spec: &crate::model::spec::GraphSpec) -> Self {
        let mut step = Self {
            frame_in: spec.inputs.iter().position(|t| t.role == Role::Frame),
            ..Self::default()
        };
        for (at, tensor) in spec.outputs.iter().enumerate() {
            match tensor.role {
                Role::Gain => step.gain = Some(at),
                Role::Taps => step.taps = Some(at),
                Role::Spectrum => step.spectrum = tensor.layout.map(|layout| (at, layout)),
                Role::Frame => step.frame = Some(at),
                Role::Vad => step.vad = Some(at),
                Role::Snr => step.snr = Some(at),
                _ => {}
            }
        }
        step
    }
}

/// What the gate makes of a hop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    All,
    Gains,
    Silence,
    Nothing,
}

impl Need {
    fn new(gate: Gate, snr_db: f32) -> Self {
        if snr_db < gate.noise_below_db {
            Self::Silence
        } else if snr_db > gate.clean_above_db {
            Self::Nothing
        } else if snr_db > gate.no_taps_above_db {
            Self::Gains
        } else {
            Self::All
        }
    }
}

impl Mind {
    pub(crate) fn new(
        model: &Model,
        channels: Range<usize>,
        power_scale: f32,
        attenuation_db: f32,
        gate: bool,
    ) -> Result<Self, Error> {
        let spec = model.spec();
        let mut features = Vec::new();
        for (graph, graph_spec) in spec.graphs().iter().enumerate() {
            for (input, tensor) in graph_spec.inputs.iter().enumerate() {
                let maker = FeatureMaker::new(spec, tensor, power_scale, channels.len());
                features.extend(maker.map(|maker| (graph, input, maker)));
            }
        }
        let steps: Vec<Step> = spec.graphs().iter().map(Step::new).collect();
        let shared = channels.len() as f32;
        Ok(Self {
            channels,
            roles: Roles {
                features,
                gains_first: steps[0].gain.is_some(),
                steps,
                masker: Masker::new(spec, attenuation_db, power_scale / shared),
                gate: spec.gate().filter(|_| gate),
                need: Need::All,
                energies: Energies::default(),
                speech: 0.0,
            },
            session: model.session()?,
            failed: false,
        })
    }

    /// Probability of speech in the latest hop; 0 when the model does not tell.
    pub(crate) fn speech(&self) -> f32 {
        self.roles.speech
    }

    /// What the latest hop had in it.
    pub(crate) fn energies(&self) -> Energies {
        self.roles.energies
    }

    /// Whether the engine failed on the latest hop.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// Whether its steps can be shared with other minds of its model.
    pub(crate) fn can_share(&self) -> bool {
        // A gate leaves graphs out for one stream that another needs.
        self.roles.gate.is_none()
    }

    pub(crate) fn set_attenuation_db(&mut self, attenuation_db: f32) {
        self.roles.masker.set_attenuation_db(attenuation_db);
    }

    /// One hop of its channels among all `channels`, which have heard it. A hop that fails is the
    /// delayed input.
    pub(crate) fn run(&mut self, channels: &mut [Channel]) {
        let channels = &mut channels[self.channels.clone()];
        let (roles, session) = (&mut self.roles, &mut self.session);
        roles.prepare(session, 0, channels);
        for graph in 0..roles.steps.len() {
            if roles.rests(graph) {
                continue;
            }
            roles.before(graph, session, 0, channels);
            if session.run(graph).is_err() {
                self.failed = true;
                roles.skip(channels);
                return;
            }
            roles.after(graph, session, 0, channels);
        }
        self.failed = false;
        roles.finish(channels);
    }

    /// Takes a seat in a shared step: the hop as in [`Self::run`], in parts.
    pub(crate) fn join(&mut self, shared: &mut Session, row: usize, channels: &mut [Channel]) {
        shared.bring_states(row, &self.session);
        let channels = &mut channels[self.channels.clone()];
        self.roles.prepare(shared, row, channels);
    }

    /// Before the shared step runs a graph.
    pub(crate) fn before(
        &mut self,
        graph: usize,
        shared: &mut Session,
        row: usize,
        channels: &mut [Channel],
    ) {
        let channels = &mut channels[self.channels.clone()];
        self.roles.before(graph, shared, row, channels);
    }

    /// After the shared step ran a graph.
    pub(crate) fn after(
        &mut self,
        graph: usize,
        shared: &Session,
        row: usize,
        channels: &mut [Channel],
    ) {
        let channels = &mut channels[self.channels.clone()];
        self.roles.after(graph, shared, row, channels);
    }

    /// Gives up its seat in a shared step that is done.
    pub(crate) fn leave(&mut self, shared: &Session, row: usize, channels: &mut [Channel]) {
        shared.take_states(row, &mut self.session);
        self.failed = false;
        self.roles.finish(&mut channels[self.channels.clone()]);
    }

    /// Makes the hop the delayed input; the states stay where they are.
    pub(crate) fn skip(&mut self, channels: &mut [Channel], failed: bool) {
        self.failed = failed;
        self.roles.skip(&mut channels[self.channels.clone()]);
    }

    pub(crate) fn reset(&mut self) {
        for (_, _, maker) in &mut self.roles.features {
            maker.reset();
        }
        self.session.reset();
        self.roles.masker.reset();
        self.roles.speech = 0.0;
        self.failed = false;
    }
}

impl Roles {
    /// Fills what the graphs hear of a hop.
    fn prepare(&mut self, session: &mut Session, row: usize, channels: &mut [Channel]) {
        self.masker.advance();
        self.need = Need::All;
        for (graph, input, maker) in &mut self.features {
            let spectra = channels.iter().map(|channel| channel.history.back(0));
            maker.run(spectra, session.input_mut(*graph, *input, row));
        }
        if !self.gains_first {
            self.pass(channels);
        }
    }

    /// Makes the hop the delayed input.
    fn pass(&self, channels: &mut [Channel]) {
        for channel in channels {
            self.masker.pass(&channel.history, &mut channel.made);
        }
    }

    /// Whether the gate spares a graph.
    fn rests(&self, graph: usize) -> bool {
        let step = &self.steps[graph];
        match self.need {
            Need::All => false,
            Need::Gains => step.taps.is_some() && step.gain.is_none(),
            Need::Silence | Need::Nothing => true,
        }
    }

    fn before(&self, graph: usize, session: &mut Session, row: usize, channels: &mut [Channel]) {
        if let Some(input) = self.steps[graph].frame_in {
            let channel = &mut channels[0];
            let frame = channel.stft.invert(&mut channel.made);
            session.input_mut(graph, input, row).copy_from_slice(frame);
        }
    }

    fn after(&mut self, graph: usize, session: &Session, row: usize, channels: &mut [Channel]) {
        let step = &self.steps[graph];
        let output = |at: usize| session.output(graph, at, row);
        if let Some(at) = step.vad {
            self.speech = output(at)[0];
        }
        if let (Some(gate), Some(at)) = (self.gate, step.snr) {
            self.need = Need::new(gate, output(at)[0]);
        }
        if self.gains_first && self.need == Need::Nothing {
            self.pass(channels);
            return;
        }
        if let Some(at) = step.gain {
            self.masker.take_gains(output(at));
        }
        for channel in channels {
            let Channel {
                history,
                made,
                frame,
                ..
            } = channel;
            if self.need == Need::Silence {
                made.fill(Complex32::default());
            }
            if matches!(self.need, Need::Silence | Need::Nothing) {
                continue;
            }
            if step.gain.is_some() {
                self.masker.apply_gains(history, made);
            }
            if let Some(at) = step.taps.filter(|_| self.need == Need::All) {
                self.masker.apply_taps(output(at), history, made);
            }
            if let Some((at, layout)) = step.spectrum {
                self.masker.take_spectrum(layout, output(at), made);
            }
            if let Some(at) = step.frame {
                frame.copy_from_slice(output(at));
            }
        }
    }

    /// Sets the limit on what the graphs made of a hop.
    fn finish(&mut self, channels: &mut [Channel]) {
        let input = channels.iter().map(|c| self.masker.power(&c.history)).sum();
        let share = self.masker.share(input);
        self.energies = Energies {
            input,
            ..Energies::default()
        };
        for channel in channels {
            self.energies += if channel.frame.is_empty() {
                self.masker
                    .limit(share, &channel.history, &mut channel.made)
            } else {
                let dry = channel.stft.dry_frame();
                self.masker
                    .limit_frame(share, &channel.history, dry, &mut channel.frame)
            };
        }
        let Energies { speech, input, .. } = self.energies;
        self.masker.take_speech(speech, input);
    }

    fn skip(&mut self, channels: &mut [Channel]) {
        self.speech = 0.0;
        self.energies = Energies::default();
        for channel in channels {
            self.masker.pass(&channel.history, &mut channel.made);
            let dry = channel.stft.dry_frame();
            for (to, x) in channel.frame.iter_mut().zip(dry) {
                *to = x;
            }
            self.energies += self.masker.passed(&channel.history);
        }
    }
}
