//! One stream of packets: in order, decoded, cleaned, coded, and sent in the same places.
//!
//! A packet goes out when one comes in: the clean packet of `delay` ticks before. Timestamps say
//! when a sound was sampled, so they are those of the packets that came, and only a change of
//! source moves them. A stream that is off sends what came, as late as the clean one would be.

use std::sync::Arc;
use std::time::Duration;

use super::buffer::{Buffer, Entry, Kind, WINDOW};
use super::codec::{Decoder, Encoder, MOST_SECONDS};
use super::packet::Packet;
use super::sender::{Clean, Sender};
use super::{RtpDenoiserBuilder, RtpError, red};
use crate::hop::Queue;
use crate::{Denoiser, Error, Job, Model, Telemetry};

/// Longest datagram that is taken in: 40 ms of the fastest L16 that one frame of any network holds.
const MOST_BYTES: usize = 9000;
/// A packet further behind than this belongs to another beginning (RFC 3550, appendix A.1).
const MOST_BEHIND: i64 = 100;
/// Made up at most, at one place: longer holes are silence.
const MOST_CONCEALED_SECONDS: f32 = 0.2;
/// A timestamp may be so far from what the clock says; else the source has begun anew.
const MOST_STRAY_SECONDS: f32 = 2.0;
/// Packets after switching on that need no packet before them, for the receiver's decoder has
/// heard another encoder.
const INDEPENDENT_PACKETS: u8 = 2;
/// Counting on across wraps begins here, so that what came before the first has a number too.
const FIRST_TURN: u64 = 1 << 32;

/// Counts of packets since the stream was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtpCounts {
    /// Packets taken in, of the stream's payload types.
    pub received: u64,
    /// Packets sent, clean or as they came.
    pub sent: u64,
    /// Of those, sent as they came.
    pub relayed: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// Of those, found again in later packets (in-band FEC, RED).
    pub recovered: u64,
    /// Packets' worth of sound that was made up.
    pub concealed: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Datagrams that were no RTP packet, or too long.
    pub malformed: u64,
    /// Packets of a payload type that the stream was not told of, and RTCP.
    pub foreign: u64,
    /// Packets of another source or far from the others, while no second one followed.
    pub strange: u64,
    /// Payloads that the codec could not read.
    pub undecodable: u64,
    /// Times that the source or its numbers began anew.
    pub restarts: u64,
    /// Packets that were dropped because nobody took them from
    /// [`RtpDenoiser::poll_packet`], and blocks that the codec or the model failed on.
    pub failed: u64,
}

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
    counts: RtpCounts,
}

/// Variation of arrival (RFC 3550 section 6.4.1 and appendix A.8).
#[derive(Debug, Default)]
struct Jitter {
    transit: Option<f64>,
    seconds: f64,
}

impl Jitter {
    fn note(&mut self, arrival: Duration, ticks: i64, rate_hz: u32) {
        let transit = arrival.as_secs_f64() - ticks as f64 / f64::from(rate_hz);
        if let Some(before) = self.transit.replace(transit) {
            self.seconds += ((transit - before).abs() - self.seconds) / 16.0;
        }
    }
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
        // Until the first packet tells: 20 ms, as nearly all packets have.
        let frames = rate_hz as usize / 50;
        let (denoiser, delay) = fit(&mut options, lookahead, frames, frames)?;
        let sender = Sender::new(
            options.sound(),
            options.red_payload_type.filter(|_| options.red_out),
            options.audio_level_id,
        );
        let most = (rate_hz as f32 * MOST_SECONDS) as usize;
        let mut stream = Self {
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
            delay,
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
            block: vec![0.0; most * channels],
            pending: None,
            dry: 0,
            independent: 0,
            coded: Vec::new(),
            jitter: Jitter::default(),
            counts: RtpCounts::default(),
            options,
        };
        stream.set_pad();
        Ok(stream)
    }

    /// Time from a sound in a packet that came to the same sound in one that goes out, on top of
    /// the network's: constant, on or off. With 20 ms packets of Opus and the embedded models,
    /// 20 ms. Packets of another length make it the next whole number of them.
    pub fn delay(&self) -> Duration {
        Duration::from_secs_f64(self.delay as f64 / f64::from(self.rate_hz))
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
    pub fn counts(&self) -> RtpCounts {
        let mut counts = self.counts;
        counts.relayed = self.sender.relayed;
        counts.sent = self.sender.sent + self.sender.relayed;
        counts.failed += self.sender.dropped;
        counts
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

    fn take_in(&mut self, now: Duration, datagram: &[u8]) -> Result<(), RtpError> {
        if datagram.len() > MOST_BYTES {
            return Err(RtpError::TooLong {
                found: datagram.len(),
                most: MOST_BYTES,
            });
        }
        let packet = Packet::parse(datagram)?;
        let found = packet.payload_type();
        let sound = self.options.sound();
        let is_red = self.options.red_payload_type == Some(found);
        let is_other = self.options.relayed_payload_types.contains(&found);
        if found != sound && !is_red && !is_other {
            return Err(RtpError::PayloadType {
                found,
                expected: sound,
            });
        }
        // Nothing of a packet is taken before all of it is known to be right.
        let mut primary = None;
        if is_red {
            for block in red::parse(packet.payload())? {
                primary = Some(block);
            }
            if primary.is_none_or(|block| block.payload_type != sound) {
                return Err(RtpError::Malformed("redundant audio of another codec"));
            }
        }
        let sequence = self.place(now, &packet)?;
        let ticks = self.unwrapped(packet.timestamp());
        let payload = packet.payload();
        let coded = primary.map_or(0, |block| payload.len() - block.payload.len())..payload.len();
        let entry = Arrived {
            ticks,
            now,
            packet: &packet,
        };
        entry.write(
            self.buffer.put(sequence),
            if is_other { Kind::Other } else { Kind::Sound },
            coded,
        );
        if is_red {
            self.take_redundant(sequence, &entry)?;
        }
        if !is_other {
            self.jitter.note(now, ticks, self.rate_hz);
        }
        Ok(())
    }

    /// The number of a packet, counted on across wraps, if there is a place for it.
    fn place(&mut self, now: Duration, packet: &Packet<'_>) -> Result<u64, RtpError> {
        let sequence = packet.sequence();
        let ssrc = packet.ssrc();
        let Some(source) = self.ssrc else {
            self.ssrc = Some(ssrc);
            self.turn = FIRST_TURN + u64::from(sequence);
            self.expected = i64::from(packet.timestamp());
            self.sender.begin(ssrc, sequence);
            return Ok(self.turn);
        };
        let ahead = i64::from(sequence.wrapping_sub(self.turn as u16) as i16);
        if ssrc != source || ahead < -MOST_BEHIND || ahead >= WINDOW as i64 {
            let follows = self.candidate == Some((ssrc, sequence));
            self.candidate = Some((ssrc, sequence.wrapping_add(1)));
            if !follows {
                return Err(RtpError::Strange { sequence, ssrc });
            }
            self.restart(now, packet);
            return Ok(self.turn);
        }
        let place = self.turn.wrapping_add_signed(ahead);
        if ahead < 0 {
            self.counts.late += 1;
            return Err(RtpError::Late { sequence });
        }
        let held = self.buffer.get(place).map(|entry| entry.kind);
        if held.is_some_and(|kind| kind != Kind::Recovered) {
            self.counts.duplicate += 1;
            return Err(RtpError::Late { sequence });
        }
        Ok(place)
    }

    /// A new beginning, where the old one ended.
    fn restart(&mut self, now: Duration, packet: &Packet<'_>) {
        self.counts.restarts += 1;
        self.candidate = None;
        self.ssrc = Some(packet.ssrc());
        self.buffer.clear();
        self.decoder.reset();
        self.jitter.transit = None;
        self.turn = FIRST_TURN + u64::from(packet.sequence());
        self.splice(now, i64::from(packet.timestamp()));
    }

    /// The stream goes on at `ticks`, whatever was expected.
    fn splice(&mut self, now: Duration, ticks: i64) {
        let passed = self.ticks_since(now) - self.frames as i64;
        self.expected = ticks;
        self.made_up = 0;
        self.sender.splice(ticks - self.delay as i64, passed.max(0));
    }

    fn ticks_since(&self, now: Duration) -> i64 {
        let seconds = now.saturating_sub(self.taken_at).as_secs_f64();
        (seconds * f64::from(self.rate_hz)) as i64
    }

    fn unwrapped(&self, timestamp: u32) -> i64 {
        self.expected + i64::from(timestamp.wrapping_sub(self.expected as u32) as i32)
    }

    fn take_redundant(&mut self, sequence: u64, entry: &Arrived<'_>) -> Result<(), RtpError> {
        let payload = entry.packet.payload();
        let count = red::parse(payload)?.count() as u64;
        let mut blocks_before = count;
        let mut begin = None;
        for block in red::parse(payload)? {
            // Blocks lie one after the other, in front of the primary one.
            let len = block.payload.len();
            let at = begin.unwrap_or_else(|| {
                let all: usize = red::parse(payload)
                    .map(|blocks| blocks.map(|block| block.payload.len()).sum())
                    .unwrap_or(0);
                payload.len() - all
            });
            begin = Some(at + len);
            blocks_before -= 1;
            let Some(place) = sequence.checked_sub(blocks_before) else {
                continue;
            };
            let wanted = blocks_before > 0
                && len > 0
                && block.payload_type == self.options.sound()
                && place >= self.turn
                && !self.buffer.holds(place);
            if wanted {
                let again = Arrived {
                    ticks: entry.ticks - i64::from(block.behind),
                    ..*entry
                };
                again.write(self.buffer.put(place), Kind::Recovered, at..at + len);
            }
        }
        Ok(())
    }

    /// When [`prepare`](Self::prepare) or [`drive`](Self::drive) must be called even if no packet
    /// comes.
    pub fn timeout(&self) -> Option<Duration> {
        if self.buffer.holds(self.turn) {
            return Some(Duration::ZERO);
        }
        match self.buffer.first_from(self.turn) {
            Some(waiting) => Some(waiting.arrival + self.options.hold),
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

    /// One packet's turn, or what stands for it; false: nothing is due.
    fn step(&mut self, now: Duration) -> bool {
        let Some(first) = self.buffer.first_from(self.turn) else {
            return self.wait(now);
        };
        let (arrival, ahead) = (first.arrival, first.sequence - self.turn);
        let gap = first.ticks - self.expected;
        if ahead == 0 {
            self.take_turn(now, gap);
            return true;
        }
        if now < arrival + self.options.hold {
            return false;
        }
        // Lost. What the clock has made up already need not be made up again.
        self.counts.lost += 1;
        self.sender.remember_lost(self.expected);
        self.turn += 1;
        if gap > 0 && !self.is_fresh {
            let frames = self.frames.min(gap as usize);
            let coded = if ahead == 1 { first.coded() } else { &[] };
            let recovered = !self.asleep
                && frames == gap as usize
                && self
                    .decoder
                    .recover(coded, &mut self.block[..frames * self.channels]);
            if recovered {
                self.counts.recovered += 1;
                self.made(frames);
            } else {
                self.make_up(frames);
            }
        }
        true
    }

    /// Nothing has come: silence begins, or the sound of a packet is overdue.
    fn wait(&mut self, now: Duration) -> bool {
        let Some(due) = self.due.filter(|due| *due <= now) else {
            return false;
        };
        let frames = self.frames;
        if self.made_up >= self.most_made_up() {
            self.due = None;
            self.sender.rest();
            return false;
        }
        let seconds = frames as f64 / f64::from(self.rate_hz);
        self.due = Some(due + Duration::from_secs_f64(seconds));
        self.make_up(frames);
        true
    }

    fn most_made_up(&self) -> usize {
        (self.rate_hz as f32 * MOST_CONCEALED_SECONDS) as usize
    }

    /// The turn of a packet that is there, `gap` ticks after what was expected.
    fn take_turn(&mut self, now: Duration, gap: i64) {
        let entry = self.buffer.get(self.turn).expect("it is there");
        let ticks = entry.ticks;
        if entry.kind == Kind::Other {
            self.sender.remember(entry, self.expected);
            self.buffer.drop_one(self.turn);
            self.turn += 1;
            if self.asleep {
                self.sender.relay_until(self.expected - self.delay as i64);
            }
            return;
        }
        let made_up = self.made_up as i64;
        let stray = gap - (self.ticks_since(now) - self.frames as i64);
        let most_stray = (self.rate_hz as f32 * MOST_STRAY_SECONDS) as i64;
        if self.is_fresh {
            self.expected = ticks;
        } else if gap < 0 && -gap <= made_up {
            // Its time was made up.
            self.counts.late += 1;
            self.buffer.drop_one(self.turn);
            self.turn += 1;
            return;
        } else if gap < 0 || gap > most_stray && stray.abs() > most_stray {
            self.counts.restarts += 1;
            self.splice(now, ticks);
        } else if gap > 0 {
            let frames = self.frames.min(gap as usize);
            if self.made_up + frames <= self.most_made_up() {
                self.make_up(frames);
                return;
            }
            self.expected = ticks;
            self.sender.rest();
        }
        let entry = self.buffer.get(self.turn).expect("it is there");
        let recovered = entry.kind == Kind::Recovered;
        let Ok(frames) = self.decoder.frames(entry.coded(), self.rate_hz) else {
            self.counts.undecodable += 1;
            self.sender.remember_lost(self.expected);
            self.buffer.drop_one(self.turn);
            self.turn += 1;
            self.make_up(self.frames);
            return;
        };
        if recovered {
            self.counts.lost += 1;
            self.counts.recovered += 1;
        }
        self.fit(frames);
        let entry = self.buffer.get(self.turn).expect("it is there");
        self.sender.remember(entry, self.expected);
        self.taken_at = now;
        let seconds = frames as f64 / f64::from(self.rate_hz);
        self.due =
            Some(entry.arrival.max(now) + Duration::from_secs_f64(seconds) + self.options.hold);
        self.frames = frames;
        self.is_fresh = false;
        self.wake();
        if !self.asleep {
            let entry = self.buffer.get(self.turn).expect("it is there");
            let block = &mut self.block[..frames * self.channels];
            self.encoder.follow(entry.coded());
            if self.decoder.decode(entry.coded(), block).is_err() {
                self.counts.undecodable += 1;
                self.decoder.conceal(block);
            }
        }
        self.buffer.drop_one(self.turn);
        self.turn += 1;
        self.made(frames);
        self.made_up = 0;
    }

    /// Makes up `frames` that nothing came for.
    fn make_up(&mut self, frames: usize) {
        self.counts.concealed += 1;
        self.wake();
        if !self.asleep {
            self.decoder
                .conceal(&mut self.block[..frames * self.channels]);
        }
        self.made_up += frames;
        self.made(frames);
    }

    /// The block holds the next `frames`.
    fn made(&mut self, frames: usize) {
        let ticks = self.expected;
        self.expected += frames as i64;
        if self.asleep {
            self.relay(ticks, frames);
        } else {
            self.pending = Some((frames, ticks));
        }
    }

    /// Sends what came a delay ago.
    fn relay(&mut self, ticks: i64, frames: usize) {
        let ticks = ticks - self.delay as i64;
        self.sender.relay_until(ticks);
        self.sender.ends_at(ticks + frames as i64);
    }

    /// After sleep the decoder and the encoder begin anew; nobody hears them yet.
    fn wake(&mut self) {
        if self.asleep && !self.denoiser.bypass() {
            self.asleep = false;
            self.decoder.reset();
            self.encoder.reset();
            self.set_pad();
        }
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

    /// Makes the delay whole packets of this length, and the hops whole blocks if they can be.
    fn fit(&mut self, frames: usize) {
        let hops = frames.is_multiple_of(self.denoiser.hop_frames());
        let hops = hops || !self.options.denoiser.whole_hops;
        if self.delay.is_multiple_of(frames) && hops && !self.is_fresh {
            return;
        }
        let model = self.denoiser.model().clone();
        let models = std::iter::once(&self.options.denoiser.model);
        let mut models = models.chain(&self.options.denoiser.alternatives);
        let index = models
            .position(|other| Arc::ptr_eq(other, &model))
            .unwrap_or(0);
        let mut options = self.options.clone();
        options.denoiser = options
            .denoiser
            .bypass(self.denoiser.bypass())
            .attenuation_db(self.denoiser.attenuation_db());
        // Before the first packet there is no length that the delay should suit too.
        let before = if self.is_fresh { frames } else { self.delay };
        match fit(&mut options, self.lookahead, frames, before) {
            Ok((mut denoiser, delay)) => {
                denoiser.set_steps_down(self.denoiser.steps_down());
                denoiser.set_model(index).expect("the models are the same");
                (self.denoiser, self.delay) = (denoiser, delay);
                self.options = options;
                self.set_pad();
            }
            // The delay stays, and switching may be heard.
            Err(_) => self.counts.failed += 1,
        }
    }

    fn set_pad(&mut self) {
        self.pad_frames = self.delay - self.denoiser.latency() - self.lookahead;
        let most = self.block.len();
        self.pad = Queue::new(self.pad_frames * self.channels + most);
        self.pad.prime(self.pad_frames * self.channels);
    }
}

/// A denoiser for packets of `frames`, and the delay that it makes with the encoder: whole packets,
/// and if it can be of the length that `before` was too.
fn fit(
    options: &mut RtpDenoiserBuilder,
    lookahead: usize,
    frames: usize,
    before: usize,
) -> Result<(Denoiser, usize), Error> {
    let build = |whole_hops: bool| options.denoiser.clone().whole_hops(whole_hops).build();
    let (denoiser, whole_hops) = match build(true) {
        Ok(denoiser) if frames.is_multiple_of(denoiser.hop_frames()) => (denoiser, true),
        _ => (build(false)?, false),
    };
    options.denoiser = options.denoiser.clone().whole_hops(whole_hops);
    let most = (denoiser.rate_hz() as f32 * MOST_SECONDS) as usize;
    let both = frames / gcd(frames, before) * before;
    let step = if both <= most { both } else { frames };
    let delay = (denoiser.latency() + lookahead).next_multiple_of(step);
    Ok((denoiser, delay))
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

/// A packet with when it came and what it is.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    ticks: i64,
    now: Duration,
    packet: &'a Packet<'a>,
}

impl Arrived<'_> {
    fn write(&self, entry: &mut Entry, kind: Kind, coded: std::ops::Range<usize>) {
        entry.ticks = self.ticks;
        entry.arrival = self.now;
        entry.marker = self.packet.marker();
        entry.payload_type = self.packet.payload_type();
        entry.kind = kind;
        entry.header.clear();
        entry.header.extend_from_slice(self.packet.header());
        entry.payload.clear();
        entry.payload.extend_from_slice(self.packet.payload());
        entry.coded = coded;
    }
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
