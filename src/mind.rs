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
    /// with graph and input of each
    features: Vec<(usize, usize, FeatureMaker)>,
    session: Session,
    steps: Vec<Step>,
    masker: Masker,
    gate: Option<Gate>,
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
        Ok(Self {
            channels,
            features,
            session: model.session()?,
            steps: spec.graphs().iter().map(Step::new).collect(),
            masker: Masker::new(spec, attenuation_db),
            gate: spec.gate().filter(|_| gate),
            speech: 0.0,
        })
    }

    /// Probability of speech in the latest hop; 0 when the model does not tell.
    pub(crate) fn speech(&self) -> f32 {
        self.speech
    }

    pub(crate) fn set_attenuation_db(&mut self, attenuation_db: f32) {
        self.masker.set_attenuation_db(attenuation_db);
    }

    /// One hop of its channels among all `channels`, which have heard it.
    ///
    /// # Errors
    /// [`Error::Engine`]: the hop is the delayed input.
    pub(crate) fn run(&mut self, channels: &mut [Channel]) -> Result<Energies, Error> {
        let channels = &mut channels[self.channels.clone()];
        self.masker.advance();
        let mut energies = Energies::default();
        match self.run_graphs(channels) {
            Ok(()) => {
                for channel in channels {
                    energies += if channel.frame.is_empty() {
                        self.masker.limit(&channel.history, &mut channel.made)
                    } else {
                        let dry = channel.stft.dry_frame();
                        self.masker
                            .limit_frame(&channel.history, dry, &mut channel.frame)
                    };
                }
                Ok(energies)
            }
            Err(error) => {
                self.speech = 0.0;
                for channel in channels {
                    self.masker.pass(&channel.history, &mut channel.made);
                    let dry = channel.stft.dry_frame();
                    for (to, x) in channel.frame.iter_mut().zip(dry) {
                        *to = x;
                    }
                }
                Err(error)
            }
        }
    }

    /// What channels that were passed on have in them.
    pub(crate) fn passed(&self, channels: &[Channel]) -> Energies {
        let mut energies = Energies::default();
        for channel in &channels[self.channels.clone()] {
            energies += self.masker.passed(&channel.history);
        }
        energies
    }

    fn run_graphs(&mut self, channels: &mut [Channel]) -> Result<(), Error> {
        for (graph, input, maker) in &mut self.features {
            let spectra = channels.iter().map(|channel| channel.history.back(0));
            maker.run(spectra, self.session.input_mut(*graph, *input));
        }
        for channel in &mut *channels {
            self.masker.pass(&channel.history, &mut channel.made);
        }
        let mut need = Need::All;
        for (graph, step) in self.steps.iter().enumerate() {
            let rests = match need {
                Need::All => false,
                Need::Gains => step.taps.is_some() && step.gain.is_none(),
                Need::Silence | Need::Nothing => true,
            };
            if rests {
                continue;
            }
            if let Some(input) = step.frame_in {
                let channel = &mut channels[0];
                let frame = channel.stft.invert(&mut channel.made);
                self.session.input_mut(graph, input).copy_from_slice(frame);
            }
            self.session.run(graph)?;
            let number = |at: usize| self.session.output(graph, at)[0];
            if let Some(at) = step.vad {
                self.speech = number(at);
            }
            if let (Some(gate), Some(at)) = (self.gate, step.snr) {
                need = Need::new(gate, number(at));
            }
            if let Some(at) = step.gain {
                self.masker.take_gains(self.session.output(graph, at));
            }
            for channel in &mut *channels {
                let Channel {
                    history,
                    made,
                    frame,
                    ..
                } = channel;
                if need == Need::Silence {
                    made.fill(Complex32::default());
                }
                if matches!(need, Need::Silence | Need::Nothing) {
                    continue;
                }
                if step.gain.is_some() {
                    self.masker.apply_gains(history, made);
                }
                if let Some(at) = step.taps.filter(|_| need == Need::All) {
                    let taps = self.session.output(graph, at);
                    self.masker.apply_taps(taps, history, made);
                }
                if let Some((at, layout)) = step.spectrum {
                    let tensor = self.session.output(graph, at);
                    self.masker.take_spectrum(layout, tensor, made);
                }
                if let Some(at) = step.frame {
                    frame.copy_from_slice(self.session.output(graph, at));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn reset(&mut self) {
        for (_, _, maker) in &mut self.features {
            maker.reset();
        }
        self.session.reset();
        self.masker.reset();
        self.speech = 0.0;
    }
}
