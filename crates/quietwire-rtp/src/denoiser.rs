//! One stream of packets: in order, decoded, cleaned, coded, and sent in the same places.
//!
//! A packet goes out when one comes in: the clean packet of `delay` ticks before. Timestamps say
//! when a sound was sampled, so they are those of the packets that came, and only a change of
//! source moves them. A stream that is off sends what came, as late as the clean one would be.

mod intake;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use super::buffer::Buffer;
use super::codec::{Decoder, Encoder, MAX_SECONDS};
use super::counts::Jitter;
use super::sender::{Clean, Sender};
use super::{RtpStats, RtpDenoiserBuilder, RtpError};
use crate::fifo::Queue;
use crate::{Denoiser, Error, Job, Model, Telemetry};
use intake::FIRST_TURN;

/// Packets of another length in a row, until the delay is made whole packets again.
const STEADY_PACKETS: u32 = 8;
/// Packets after switching on that need no packet before them, for the receiver's decoder has
/// heard another encoder.
const INDEPENDENT_PACKETS: u8 = 2;

/// One stream of RTP packets: noisy in, clean out; see the [module](crate::rtp).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use quietwire::{Model, rtp::RtpDenoiser};
///
/// let mut stream = RtpDenoiser::builder(Model::embedded("base")?).build()?;
/// # let datagram = [0x80, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xF8, 0xFF, 0xFE];
/// # let now = Duration::ZERO;
/// // For each datagram of this stream, and when `timeout` says so:
/// let _ = stream.receive(now, &datagram); // what is wrong with one packet is its matter alone
/// stream.drive(now);
/// let mut packet = Vec::new();
/// while stream.poll_packet(&mut packet) {
///     // send `packet`
/// }
/// # Ok(())
/// # }
/// ```
pub struct RtpDenoiser {
    options: RtpDenoiserBuilder,
    /// whether the models take hops as they come, at the codec's rate
    can_be_whole_hops: bool,
    rate_hz: u32,
    channels: usize,
    decoder: Decoder,
    denoiser: Denoiser,
    encoder: Encoder,
    lookahead: usize,
    buffer: Buffer,
    sender: Sender,
    /// ticks from what comes in to what goes out
    delay: usize,
    /// [delay - latencies] clean samples that wait, so that the delay is whole packets
    pad: Queue,
    pad_frames: usize,

    /// who sends
    ssrc: Option<u32>,
    /// who may be sending instead: source and next sequence number
    candidate: Option<(u32, u16)>,
    /// the packet whose turn it is, and the ticks of its first sample
    turn: u64,
    expected: i64,
    /// samples of each channel in the latest packet
    frames: usize,
    /// ticks made up since the latest packet
    made_up: usize,
    /// when something must be made up if nothing comes
    due: Option<Duration>,
    /// when the latest packet's turn was
    taken_at: Duration,
    is_fresh: bool,
    /// the latest packet was no sound
    after_other: bool,

    /// [most frames][channels]
    block: Vec<f32>,
    /// frames of the block that waits to be cleaned, and its ticks
    pending: Option<(usize, i64)>,
    /// what came goes out, while the stream is off
    relaying: bool,
    /// nothing is decoded: the stream is off, and nothing of its own is on the way any more
    asleep: bool,
    /// samples that were the input since the stream is off
    dry: usize,
    independent: u8,
    coded: Vec<u8>,
    jitter: Jitter,
    counts: RtpStats,
    /// of denoisers before this one
    missed_hops: u64,
    /// packets in a row of the latest length
    alike: u32,
}

impl RtpDenoiser {
    /// Starts from `model`: Opus, mono, payload type 111.
    pub fn builder(model: Arc<Model>) -> RtpDenoiserBuilder {
        RtpDenoiserBuilder::new(model)
    }

    pub(super) fn new(mut options: RtpDenoiserBuilder) -> Result<Self, Error> {
        let (rate_hz, channels) = (options.codec.rate_hz(), options.channels);
        options.denoiser = options.denoiser.rate_hz(rate_hz).channels(channels);
        let mut encoder = Encoder::new(&options)?;
        let lookahead = encoder.lookahead();
        // Packets are whole hops wherever hops are whole samples of the codec.
        options.denoiser.whole_hops = true;
        let denoiser = match options.denoiser.clone().build() {
            Err(Error::WholeHops { .. }) => {
                options.denoiser.whole_hops = false;
                options.denoiser.clone().build()?
            }
            built => built?,
        };
        // Until the first packet tells: 20 ms, as nearly all packets have.
        let frames = rate_hz as usize / 50;
        let sender = Sender::new(
            options.sound(),
            options.red_payload_type.filter(|_| options.red_out),
            options.audio_level_id,
        );
        let most = (rate_hz as f32 * MAX_SECONDS) as usize;
        let mut stream = Self {
            can_be_whole_hops: options.denoiser.whole_hops,
            rate_hz,
            channels,
            decoder: Decoder::new(options.codec, channels)?,
            relaying: denoiser.is_dry(),
            asleep: denoiser.is_dry(),
            denoiser,
            encoder,
            lookahead,
            buffer: Buffer::new(),
            sender,
            delay: 0,
            pad: Queue::new(0),
            pad_frames: 0,
            ssrc: None,
            candidate: None,
            turn: FIRST_TURN,
            expected: 0,
            frames,
            made_up: 0,
            due: None,
            taken_at: Duration::ZERO,
            is_fresh: true,
            after_other: false,
            block: vec![0.0; most * channels],
            pending: None,
            dry: 0,
            independent: 0,
            coded: Vec::new(),
            jitter: Jitter::default(),
            counts: RtpStats::default(),
            missed_hops: 0,
            alike: 0,
            options,
        };
        stream.set_delay(frames, frames);
        Ok(stream)
    }

    /// Time from a sound in a packet that came to the same sound in one that goes out, on top of
    /// the network's: constant, on or off. With 20 ms packets of Opus and the embedded models,
    /// 20 ms. Packets of another length, if they stay, make it the next whole number of them.
    pub fn delay(&self) -> Duration {
        self.time_of(self.delay)
    }

    fn time_of(&self, frames: usize) -> Duration {
        Duration::from_secs_f64(frames as f64 / f64::from(self.rate_hz))
    }

    /// The stream of samples inside, to read its telemetry.
    pub fn denoiser(&self) -> &Denoiser {
        &self.denoiser
    }

    /// See [`Denoiser::telemetry`].
    pub fn telemetry(&self) -> Telemetry {
        self.denoiser.telemetry()
    }

    /// Counts of packets.
    pub fn counts(&self) -> RtpStats {
        let mut counts = self.counts;
        counts.relayed = self.sender.relayed;
        counts.sent = self.sender.sent + self.sender.relayed;
        counts.failed += self.sender.dropped;
        counts
    }

    /// See [`Denoiser::missed_hops`]; since the stream was made.
    pub fn missed_hops(&self) -> u64 {
        self.missed_hops + self.denoiser.missed_hops()
    }

    /// Variation of arrival, as RTCP has it (RFC 3550 section 6.4.1).
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter.seconds)
    }

    /// Off (true): packets go out with the very payloads that they came with, as late as before,
    /// and nothing is decoded. Both ways it takes effect without a gap or a click, within 200 ms.
    pub fn set_bypass(&mut self, bypass: bool) {
        self.denoiser.set_bypass(bypass);
    }

    /// Whether packets go out as they came.
    pub fn is_relaying(&self) -> bool {
        self.relaying
    }

    /// See [`Denoiser::set_attenuation_db`].
    ///
    /// # Errors
    /// As there.
    pub fn set_attenuation_db(&mut self, attenuation_db: f32) -> Result<(), Error> {
        self.denoiser.set_attenuation_db(attenuation_db)
    }

    /// See [`Denoiser::set_model`].
    ///
    /// # Errors
    /// As there.
    pub fn set_model(&mut self, index: usize) -> Result<(), Error> {
        self.denoiser.set_model(index)
    }

    /// Takes a datagram that came at `now`, on any clock that goes forward.
    ///
    /// # Errors
    /// [`RtpError`] for a packet that is left out; it is counted, and the stream goes on.
    ///
    /// # Real-time
    /// Takes memory for the longest packets so far.
    pub fn receive(&mut self, now: Duration, datagram: &[u8]) -> Result<(), RtpError> {
        let result = self.take_in(now, datagram);
        match result {
            Ok(()) => self.counts.received += 1,
            Err(RtpError::Malformed(_) | RtpError::TooLong { .. }) => self.counts.malformed += 1,
            Err(RtpError::Rtcp | RtpError::PayloadType { .. }) => self.counts.foreign += 1,
            Err(RtpError::Strange { .. }) => self.counts.strange += 1,
            // Counted where it is known whether it is late or came twice.
            Err(_) => {}
        }
        result
    }

    /// When [`prepare`](Self::prepare) or [`drive`](Self::drive) must be called even if no packet
    /// comes.
    pub fn timeout(&self) -> Option<Duration> {
        if self.buffer.holds(self.turn) {
            return Some(Duration::ZERO);
        }
        match self.buffer.waiting_since(self.turn) {
            Some(since) => Some(since + self.options.hold),
            None => self.due,
        }
    }

    /// Does everything that is due: for a stream that is not in a batch.
    pub fn drive(&mut self, now: Duration) {
        while self.prepare(now) {
            let (frames, _) = self.pending.expect("prepare said so");
            let block = &mut self.block[..frames * self.channels];
            let result = self.denoiser.process_in_place(block);
            self.finish(result);
        }
    }

    /// Goes on until a block waits to be cleaned (true), or nothing is due any more (false). True
    /// calls for the stream's turn in a [`Batch`](crate::Batch), and then for another `prepare`.
    pub fn prepare(&mut self, now: Duration) -> bool {
        while self.pending.is_none() {
            if !self.step(now) {
                return false;
            }
        }
        true
    }

    /// The block that waits, interleaved; clean after its turn in a batch, until
    /// [`done`](Job::done) has been called.
    pub fn block(&self) -> Option<&[f32]> {
        let (frames, _) = self.pending?;
        Some(&self.block[..frames * self.channels])
    }

    /// The next packet to be sent, in `packet`'s place; false: none.
    pub fn poll_packet(&mut self, packet: &mut Vec<u8>) -> bool {
        self.sender.take(packet)
    }

    /// The block was cleaned.
    fn finish(&mut self, result: Result<(), Error>) {
        let Some((frames, ticks)) = self.pending.take() else {
            return;
        };
        self.counts.failed += u64::from(result.is_err());
        let block = &mut self.block[..frames * self.channels];
        self.pad.push(block);
        self.pad.pop(block);
        let is_dry = self.denoiser.is_dry();
        if is_dry && self.denoiser.bypass() {
            self.dry += frames;
        } else {
            self.dry = 0;
        }
        if self.relaying && !is_dry {
            self.relaying = false;
            self.independent = INDEPENDENT_PACKETS;
        } else if self.dry >= self.pad_frames + self.lookahead + frames {
            // All that is on the way to the receiver is the input.
            self.relaying = true;
            self.asleep = true;
        }
        let telemetry = self.denoiser.telemetry();
        let level = level_below_full_scale(block);
        self.encoder.set_independent(self.independent > 0);
        self.coded.clear();
        let coded = self.encoder.encode(block, &mut self.coded);
        if self.relaying {
            self.relay(ticks, frames);
            return;
        }
        self.independent = self.independent.saturating_sub(1);
        let payload = match coded {
            Ok(wanted) => wanted.then_some(&self.coded[..]),
            Err(_) => {
                self.counts.failed += 1;
                None
            }
        };
        self.sender.send(&Clean {
            ticks: ticks - self.delay as i64,
            frames,
            payload,
            voice: telemetry.speech_probability > 0.5,
            level,
        });
    }

    /// Makes the delay whole packets of this length, and the denoiser one that takes them.
    fn fit(&mut self, frames: usize) {
        self.alike = if frames == self.frames {
            self.alike + 1
        } else {
            0
        };
        let is_whole = frames.is_multiple_of(self.denoiser.hop_frames());
        let whole_hops = self.can_be_whole_hops && is_whole;
        let breaks_hops = self.options.denoiser.whole_hops && !is_whole;
        // A stream whose packets go up and down by a sample is not made anew for each.
        let suits = self.delay.is_multiple_of(frames) || self.alike != STEADY_PACKETS;
        if suits && !breaks_hops && !self.is_fresh {
            return;
        }
        if whole_hops != self.options.denoiser.whole_hops && self.remake(whole_hops).is_err() {
            // The delay stays, and switching may be heard.
            self.counts.failed += 1;
            return;
        }
        // Before the first packet there is no length that the delay should suit too.
        let before = if self.is_fresh { frames } else { self.delay };
        self.set_delay(frames, before);
    }

    /// Makes the denoiser anew, as far as it can be told from the old one by its options.
    fn remake(&mut self, whole_hops: bool) -> Result<(), Error> {
        let old = &self.denoiser;
        let options = self.options.denoiser.clone();
        let options = options
            .whole_hops(whole_hops)
            .bypass(old.bypass())
            .attenuation_db(old.attenuation_db());
        let mut new = options.clone().build()?;
        new.set_steps_down(old.steps_down());
        let mut models = std::iter::once(&options.model).chain(&options.alternatives);
        let index = models.position(|model| Arc::ptr_eq(model, old.model()));
        new.set_model(index.unwrap_or(0))?;
        self.missed_hops += old.missed_hops();
        self.options.denoiser = options;
        self.denoiser = new;
        Ok(())
    }

    /// Makes the delay whole packets of `frames`, and if it can be of the length `before` too.
    fn set_delay(&mut self, frames: usize, before: usize) {
        let most = self.block.len() / self.channels;
        let both = frames / gcd(frames, before) * before;
        let step = if both <= most { both } else { frames };
        self.delay = (self.denoiser.latency() + self.lookahead).next_multiple_of(step);
        self.set_pad();
    }

    fn set_pad(&mut self) {
        self.pad_frames = self.delay - self.denoiser.latency() - self.lookahead;
        let most = self.block.len();
        self.pad = Queue::new(self.pad_frames * self.channels + most);
        self.pad.prime(self.pad_frames * self.channels);
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// As an audio level has it: 0 to 127 dB (RFC 6464 section 3).
fn level_below_full_scale(block: &[f32]) -> u8 {
    let power = block.iter().map(|x| x * x).sum::<f32>() / block.len().max(1) as f32;
    // The cast holds at 0, and for silence, whose logarithm is infinite.
    (-10.0 * power.log10()).round().min(127.0) as u8
}

impl Job for RtpDenoiser {
    fn work(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        let (frames, _) = self.pending?;
        Some((
            &mut self.denoiser,
            &mut self.block[..frames * self.channels],
        ))
    }

    fn done(&mut self, result: Result<(), Error>) {
        self.finish(result);
    }
}

impl std::fmt::Debug for RtpDenoiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RtpDenoiser")
            .field("codec", &self.options.codec)
            .field("channels", &self.channels)
            .field("delay", &self.delay())
            .finish_non_exhaustive()
    }
}
