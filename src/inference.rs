//! One inference per hop for the channels that share a mask: runs a model's graphs in their order and
//! applies their outputs to the spectra of the channels.

use std::ops::Range;
use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::engine::Session;
use crate::error::Error;
use crate::feature::FeatureExtractor;
use crate::hop_powers::HopPowers;
use crate::manifest::{Gate, GraphSpec, Layout, Manifest, Role};
use crate::mask::MaskApplier;
use crate::model::Model;
use crate::options::{AttenuationLimit, DenoiserOptions};
use crate::spectrum_history::SpectrumHistory;
use crate::stft::{Stft, Transform};

/// The spectra of one channel, at the model's rate.
pub(crate) struct SpectralChannel {
    stft: Stft,
    history: SpectrumHistory,
    /// [bins] output of the hop, as far as the graphs have computed it
    output_spectrum: Vec<Complex32>,
    /// [window] output of the hop where a graph outputs samples; otherwise empty
    output_window: Vec<f32>,
}

impl SpectralChannel {
    pub(crate) fn new(manifest: &Manifest, transform: &Arc<Transform>) -> Self {
        let mut tensors = manifest.graphs().iter().flat_map(|g| &g.outputs);
        let windowed = tensors.any(|t| t.role == Role::Windowed);
        Self {
            stft: Stft::new(transform),
            history: SpectrumHistory::new(manifest),
            output_spectrum: vec![Complex32::default(); manifest.bins()],
            output_window: vec![0.0; if windowed { manifest.window() } else { 0 }],
        }
    }

    /// Reads one hop of samples.
    pub(crate) fn analyze(&mut self, hop: &[f32]) {
        self.stft.analyze(hop, self.history.advance());
    }

    /// Writes one hop of samples.
    pub(crate) fn synthesize(&mut self, hop: &mut [f32]) {
        if self.output_window.is_empty() {
            self.stft.synthesize(&mut self.output_spectrum, hop);
        } else {
            self.stft.overlap_add(&self.output_window, hop);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.stft.reset();
        self.history.reset();
    }
}

/// The channels of a stream that share one mask, and the model's state for them.
pub(crate) struct ChannelGroup {
    channels: Range<usize>,
    bindings: TensorBindings,
    /// the stream's own session; it also holds the states between the steps of a batch
    session: Session,
    failed: bool,
}

/// The parts that a model's tensors play, the same for every session.
struct TensorBindings {
    /// graph and input of each feature tensor
    features: Vec<(usize, usize, FeatureExtractor)>,
    /// [graphs]
    outputs: Vec<GraphOutputs>,
    /// whether the first graph has a gain for every bin, which overwrites the output spectrum
    gains_first: bool,
    mask: MaskApplier,
    gate: Option<Gate>,
    gate_decision: GateDecision,
    powers: HopPowers,
    speech: Option<f32>,
}

/// The tensors of one graph that are applied to the spectra, by index.
#[derive(Default)]
struct GraphOutputs {
    windowed_input: Option<usize>,
    gain: Option<usize>,
    taps: Option<usize>,
    spectrum: Option<(usize, Layout)>,
    windowed: Option<usize>,
    vad: Option<usize>,
    snr: Option<usize>,
}

impl GraphOutputs {
    fn new(graph: &GraphSpec) -> Self {
        let mut outputs = Self {
            windowed_input: graph.inputs.iter().position(|t| t.role == Role::Windowed),
            ..Self::default()
        };
        for (at, tensor) in graph.outputs.iter().enumerate() {
            match tensor.role {
                Role::Gain => outputs.gain = Some(at),
                Role::Taps => outputs.taps = Some(at),
                Role::Spectrum => outputs.spectrum = tensor.layout.map(|layout| (at, layout)),
                Role::Windowed => outputs.windowed = Some(at),
                Role::Vad => outputs.vad = Some(at),
                Role::Snr => outputs.snr = Some(at),
                _ => {}
            }
        }
        outputs
    }
}

/// Which outputs of the model a hop needs, by its signal-to-noise ratio.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GateDecision {
    /// gains and taps
    All,
    /// gains without taps
    Gains,
    /// only noise: the output is silence
    Silence,
    /// clean: the output is the input
    Passthrough,
}

impl GateDecision {
    fn new(gate: Gate, snr_db: f32) -> Self {
        if snr_db < gate.noise_below_db {
            Self::Silence
        } else if snr_db > gate.clean_above_db {
            Self::Passthrough
        } else if snr_db > gate.no_taps_above_db {
            Self::Gains
        } else {
            Self::All
        }
    }
}

impl ChannelGroup {
    pub(crate) fn new(
        model: &Model,
        options: &DenoiserOptions,
        channels: Range<usize>,
        power_scale: f32,
    ) -> Result<Self, Error> {
        let manifest = model.manifest();
        let mut features = Vec::new();
        for (graph, spec) in manifest.graphs().iter().enumerate() {
            for (input, tensor) in spec.inputs.iter().enumerate() {
                let extractor =
                    FeatureExtractor::new(manifest, tensor, power_scale, channels.len());
                features.extend(extractor.map(|extractor| (graph, input, extractor)));
            }
        }
        let outputs: Vec<_> = manifest.graphs().iter().map(GraphOutputs::new).collect();
        let mask_power_scale = power_scale / channels.len() as f32;
        Ok(Self {
            channels,
            bindings: TensorBindings {
                features,
                gains_first: outputs[0].gain.is_some(),
                outputs,
                mask: MaskApplier::new(manifest, options.attenuation, mask_power_scale),
                gate: manifest.gate().filter(|_| options.snr_gating),
                gate_decision: GateDecision::All,
                powers: HopPowers::default(),
                speech: None,
            },
            session: model.session()?,
            failed: false,
        })
    }

    /// Probability of speech in the latest hop, where the model has such an output.
    pub(crate) fn speech(&self) -> Option<f32> {
        self.bindings.speech
    }

    /// Powers of the latest hop.
    pub(crate) fn powers(&self) -> HopPowers {
        self.bindings.powers
    }

    /// Whether the model failed on the latest hop.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// The engine's reason for the latest failure of the stream's own session.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.session.last_failure()
    }

    /// Whether it can take part in steps with other groups of its model.
    pub(crate) fn can_batch(&self) -> bool {
        // A gate skips graphs for one stream that another stream needs.
        self.bindings.gate.is_none()
    }

    pub(crate) fn set_limit(&mut self, limit: AttenuationLimit) {
        self.bindings.mask.set_limit(limit);
    }

    /// Runs one hop that all `channels` of the stream have analyzed. When the model fails, the output
    /// is the delayed input.
    pub(crate) fn run(&mut self, channels: &mut [SpectralChannel]) {
        let channels = &mut channels[self.channels.clone()];
        self.bindings
            .compute_features(&mut self.session, 0, channels);
        self.infer(channels);
    }

    /// [`Self::run`] with the feature tensors that row `row` of a step that failed was filled with.
    pub(crate) fn rerun(&mut self, shared: &Session, row: usize, channels: &mut [SpectralChannel]) {
        let channels = &mut channels[self.channels.clone()];
        self.session.copy_inputs(shared, row);
        self.infer(channels);
    }

    /// Runs all graphs of the stream's own session.
    fn infer(&mut self, channels: &mut [SpectralChannel]) {
        let (bindings, session) = (&mut self.bindings, &mut self.session);
        for graph in 0..bindings.outputs.len() {
            if bindings.is_gated(graph) {
                continue;
            }
            bindings.feed(graph, session, 0, channels);
            if session.run(graph).is_err() {
                self.failed = true;
                bindings.passthrough(channels);
                return;
            }
            bindings.apply(graph, session, 0, channels);
        }
        self.failed = false;
        bindings.finish(channels);
    }

    /// Starts row `row` of a step of a batch: the hop as in [`Self::run`], in parts.
    pub(crate) fn begin_row(
        &mut self,
        shared: &mut Session,
        row: usize,
        channels: &mut [SpectralChannel],
    ) {
        shared.load_states(row, &mut self.session);
        let channels = &mut channels[self.channels.clone()];
        self.bindings.compute_features(shared, row, channels);
    }

    /// Fills the inputs of `graph` that the outputs of earlier graphs determine.
    pub(crate) fn feed(
        &mut self,
        graph: usize,
        shared: &mut Session,
        row: usize,
        channels: &mut [SpectralChannel],
    ) {
        let channels = &mut channels[self.channels.clone()];
        self.bindings.feed(graph, shared, row, channels);
    }

    /// Applies the outputs of `graph` to the spectra.
    pub(crate) fn apply(
        &mut self,
        graph: usize,
        shared: &Session,
        row: usize,
        channels: &mut [SpectralChannel],
    ) {
        let channels = &mut channels[self.channels.clone()];
        self.bindings.apply(graph, shared, row, channels);
    }

    /// Ends row `row` of a step.
    pub(crate) fn end_row(
        &mut self,
        shared: &mut Session,
        row: usize,
        channels: &mut [SpectralChannel],
    ) {
        shared.store_states(row, &mut self.session);
        self.failed = false;
        self.bindings.finish(&mut channels[self.channels.clone()]);
    }

    /// Outputs the delayed input for this hop. The states do not change.
    pub(crate) fn passthrough(&mut self, channels: &mut [SpectralChannel]) {
        self.failed = false;
        self.bindings
            .passthrough(&mut channels[self.channels.clone()]);
    }

    pub(crate) fn reset(&mut self) {
        for (_, _, extractor) in &mut self.bindings.features {
            extractor.reset();
        }
        self.session.reset();
        self.bindings.mask.reset();
        self.bindings.speech = None;
        self.failed = false;
    }
}

impl TensorBindings {
    /// Fills the feature tensors of a hop.
    fn compute_features(
        &mut self,
        session: &mut Session,
        row: usize,
        channels: &mut [SpectralChannel],
    ) {
        self.mask.advance();
        self.gate_decision = GateDecision::All;
        for (graph, input, extractor) in &mut self.features {
            let spectra = channels.iter().map(|channel| channel.history.delayed(0));
            extractor.extract(spectra, session.input_mut(*graph, *input, row));
        }
        if !self.gains_first {
            self.copy_delayed(channels);
        }
    }

    /// Sets the output spectra to the delayed input.
    fn copy_delayed(&self, channels: &mut [SpectralChannel]) {
        for channel in channels {
            self.mask
                .copy_delayed(&channel.history, &mut channel.output_spectrum);
        }
    }

    /// Whether the gate skips a graph on this hop.
    fn is_gated(&self, graph: usize) -> bool {
        let outputs = &self.outputs[graph];
        match self.gate_decision {
            GateDecision::All => false,
            GateDecision::Gains => outputs.taps.is_some() && outputs.gain.is_none(),
            GateDecision::Silence | GateDecision::Passthrough => true,
        }
    }

    fn feed(
        &self,
        graph: usize,
        session: &mut Session,
        row: usize,
        channels: &mut [SpectralChannel],
    ) {
        if let Some(input) = self.outputs[graph].windowed_input {
            let channel = &mut channels[0];
            let window = channel.stft.invert(&mut channel.output_spectrum);
            session.input_mut(graph, input, row).copy_from_slice(window);
        }
    }

    fn apply(
        &mut self,
        graph: usize,
        session: &Session,
        row: usize,
        channels: &mut [SpectralChannel],
    ) {
        let outputs = &self.outputs[graph];
        let output = |at: usize| session.output(graph, at, row);
        if let Some(at) = outputs.vad {
            self.speech = Some(output(at)[0]);
        }
        if let (Some(gate), Some(at)) = (self.gate, outputs.snr) {
            self.gate_decision = GateDecision::new(gate, output(at)[0]);
        }
        if self.gains_first && self.gate_decision == GateDecision::Passthrough {
            self.copy_delayed(channels);
            return;
        }
        if let Some(at) = outputs.gain {
            self.mask.set_band_gains(output(at));
        }
        for channel in channels {
            let SpectralChannel {
                history,
                output_spectrum,
                output_window,
                ..
            } = channel;
            match self.gate_decision {
                GateDecision::Silence => {
                    output_spectrum.fill(Complex32::default());
                    continue;
                }
                GateDecision::Passthrough => continue,
                GateDecision::All | GateDecision::Gains => {}
            }
            if outputs.gain.is_some() {
                self.mask.apply_gains(history, output_spectrum);
            }
            if let Some(at) = outputs
                .taps
                .filter(|_| self.gate_decision == GateDecision::All)
            {
                self.mask.apply_taps(output(at), history, output_spectrum);
            }
            if let Some((at, layout)) = outputs.spectrum {
                self.mask.read_spectrum(layout, output(at), output_spectrum);
            }
            if let Some(at) = outputs.windowed {
                output_window.copy_from_slice(output(at));
            }
        }
    }

    /// Applies the attenuation limit and the noise floor to the output of the graphs.
    fn finish(&mut self, channels: &mut [SpectralChannel]) {
        let input = channels
            .iter()
            .map(|c| self.mask.input_power(&c.history))
            .sum();
        let dry_gain = self.mask.dry_gain(input);
        self.powers = HopPowers {
            input,
            ..HopPowers::default()
        };
        for channel in channels {
            self.powers += if channel.output_window.is_empty() {
                self.mask
                    .mix_dry(dry_gain, &channel.history, &mut channel.output_spectrum)
            } else {
                let dry = channel.stft.dry_window();
                self.mask.mix_dry_windowed(
                    dry_gain,
                    &channel.history,
                    dry,
                    &mut channel.output_window,
                )
            };
        }
        let HopPowers { speech, input, .. } = self.powers;
        self.mask.update_noise_floor(speech, input);
    }

    fn passthrough(&mut self, channels: &mut [SpectralChannel]) {
        self.speech = None;
        self.powers = HopPowers::default();
        self.copy_delayed(channels);
        for channel in channels {
            let dry = channel.stft.dry_window();
            for (to, x) in channel.output_window.iter_mut().zip(dry) {
                *to = x;
            }
            self.powers += self.mask.passthrough_powers(&channel.history);
        }
    }
}
