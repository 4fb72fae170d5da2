//! The state of a stream as clients see it.

use std::sync::Arc;
use std::time::Instant;

use quietwire::Model;

use crate::api::media::Attenuation;
use crate::api::packets::PacketStats;
use crate::api::stream_info::{Levels, State, StreamInfo};
use crate::stream::{IDLE_TIMEOUT, Stream};

impl Stream {
    fn state(&self, now: Instant) -> State {
        let is_idle = self.last_packet_at.is_none_or(|at| now > at + IDLE_TIMEOUT);
        if is_idle {
            State::Idle
        } else if self.is_codec_shed && self.on {
            State::SteppedDown
        } else if self.rtp.is_passthrough() {
            State::Passthrough
        } else if self.rtp.denoiser().fallback_level() > 0 {
            State::SteppedDown
        } else {
            State::Denoising
        }
    }

    /// The state and the active model, if the state differs from that of the latest call.
    pub fn take_state_change(&mut self, now: Instant) -> Option<(State, Option<String>)> {
        let state = self.state(now);
        if std::mem::replace(&mut self.reported_state, state) == state {
            return None;
        }
        Some((state, self.active_model()))
    }

    /// The text of a new kind of error.
    pub fn take_error(&mut self) -> Option<String> {
        self.last_error.take_unreported()
    }

    fn active_model(&self) -> Option<String> {
        let model = self.rtp.denoiser().active_model();
        let model = model.filter(|_| !self.is_codec_shed);
        model.map(|model| model.manifest().id().to_owned())
    }

    fn levels(&self) -> Levels {
        let telemetry = self.rtp.denoiser().telemetry();
        Levels {
            input_dbfs: telemetry.input_dbfs,
            output_dbfs: telemetry.output_dbfs,
            snr_db: telemetry.snr_db,
            gain_db: telemetry.gain_db,
            speech_probability: telemetry.speech_probability,
            speech_share: self.with_speech as f32 / self.denoised.max(1) as f32,
        }
    }

    /// The stream as the control interface shows it.
    pub fn snapshot(&self, now: Instant) -> StreamInfo {
        let denoiser = self.rtp.denoiser();
        let model_id = |model: &Arc<Model>| model.manifest().id().to_owned();
        let state = self.state(now);
        let has_levels = matches!(state, State::Denoising | State::SteppedDown);
        StreamInfo {
            id: self.id.clone(),
            labels: self.labels.clone(),
            listen: self.listen,
            send_to: self.send_to,
            accept_from: self.accept_from.clone(),
            srtp_in: self.srtp_in.as_ref().map(|(suite, _)| *suite),
            srtp_out: self.srtp_out.as_ref().map(|(suite, _)| *suite),
            codec: self.codec,
            payload_type: self.payload_type,
            channels: self.channels,
            on: self.on,
            attenuation_db: Attenuation(denoiser.attenuation()),
            model: model_id(denoiser.model()),
            active_model: self.active_model(),
            codec_active: !self.rtp.is_passthrough(),
            delay_ms: self.rtp.delay().as_secs_f64() * 1000.0,
            state,
            seconds: now.saturating_duration_since(self.created_at).as_secs_f64(),
            idle_timeout_s: self
                .idle_timeout
                .map_or(0, |timeout| timeout.as_secs() as u32),
            levels: has_levels.then(|| self.levels()),
            packets: PacketStats::new(&self.rtp.stats(), &self.socket_stats),
            jitter_ms: self.rtp.jitter().as_secs_f64() * 1000.0,
            missed_deadlines: denoiser.stats().deadline_misses,
            cpu_seconds: self.cpu.sum().as_secs_f64(),
            cpu_stage_seconds: self.cpu.seconds(),
            last_error: self.last_error.text(),
            last_error_age_s: self.last_error.age(now).map(|age| age.as_secs_f64()),
        }
    }
}
