//! Counts and levels in the Prometheus text format 0.0.4.

use std::fmt::Write as _;

use crate::api::{Levels, State, StreamInfo};
use crate::worker::WorkerStats;

/// One metric.
struct Metric<T> {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: Value<T>,
}

type Value<T> = fn(&T) -> Option<f64>;

const fn gauge<T>(name: &'static str, help: &'static str, value: Value<T>) -> Metric<T> {
    Metric {
        name,
        kind: "gauge",
        help,
        value,
    }
}

const fn counter<T>(name: &'static str, help: &'static str, value: Value<T>) -> Metric<T> {
    Metric {
        name,
        kind: "counter",
        help,
        value,
    }
}

fn level(stream: &StreamInfo, value: fn(&Levels) -> Option<f32>) -> Option<f64> {
    let levels = stream.levels.as_ref()?;
    value(levels).map(f64::from)
}

fn flag(flag: bool) -> Option<f64> {
    Some(f64::from(u8::from(flag)))
}

fn count(count: u64) -> Option<f64> {
    Some(count as f64)
}

const RELAY_METRICS: [Metric<usize>; 1] = [gauge("streams", "Streams of the relay.", |streams| {
    Some(*streams as f64)
})];

const STREAM_METRICS: [Metric<StreamInfo>; 22] = [
    gauge(
        "stream_on",
        "1 if the stream is switched on, else 0.",
        |s| flag(s.on),
    ),
    gauge(
        "stream_stepped_down",
        "1 if an overload has switched the stream to a cheaper model or to its input, else 0.",
        |s| flag(s.state == State::SteppedDown),
    ),
    gauge(
        "stream_input_dbfs",
        "Input level of the latest hop, dBFS.",
        |s| level(s, |l| Some(l.input_dbfs)),
    ),
    gauge(
        "stream_output_dbfs",
        "Output level of the latest hop, dBFS.",
        |s| level(s, |l| Some(l.output_dbfs)),
    ),
    gauge(
        "stream_snr_db",
        "Power that the model keeps over the power that it removes, latest hop, dB.",
        |s| level(s, |l| Some(l.snr_db)),
    ),
    gauge(
        "stream_gain_db",
        "Output power over input power, latest hop, dB.",
        |s| level(s, |l| Some(l.gain_db)),
    ),
    gauge(
        "stream_speech_probability",
        "Probability of speech in the latest hop, 0 to 1.",
        |s| level(s, |l| l.speech_probability),
    ),
    gauge(
        "stream_speech_share",
        "Part of the denoised packets with speech, 0 to 1.",
        |s| level(s, |l| Some(l.speech_share)),
    ),
    gauge(
        "stream_jitter_seconds",
        "Interarrival jitter of received packets (RFC 3550), seconds.",
        |s| Some(s.jitter_ms / 1000.0),
    ),
    gauge(
        "stream_delay_seconds",
        "Delay from a received to a sent packet, seconds; the same on and off.",
        |s| Some(s.delay_ms / 1000.0),
    ),
    counter(
        "stream_packets_received_total",
        "Packets received and accepted.",
        |s| count(s.packets.received),
    ),
    counter(
        "stream_packets_sent_total",
        "Packets sent, clean or unchanged.",
        |s| count(s.packets.sent),
    ),
    counter(
        "stream_packets_relayed_total",
        "Packets sent unchanged.",
        |s| count(s.packets.relayed),
    ),
    counter(
        "stream_packets_lost_total",
        "Packets that were not received in time.",
        |s| count(s.packets.lost),
    ),
    counter(
        "stream_packets_recovered_total",
        "Lost packets whose audio was found in later packets.",
        |s| count(s.packets.recovered),
    ),
    counter(
        "stream_packets_concealed_total",
        "Packets of audio that were concealed.",
        |s| count(s.packets.concealed),
    ),
    counter(
        "stream_packets_late_total",
        "Packets received after their playout time.",
        |s| count(s.packets.late),
    ),
    counter(
        "stream_packets_refused_total",
        "Datagrams dropped: malformed, of an unexpected payload type, on probation or undecodable.",
        |s| {
            let p = &s.packets;
            count(p.malformed + p.unexpected_payload_type + p.probation + p.undecodable)
        },
    ),
    counter(
        "stream_restarts_total",
        "Restarts of the source, of its sequence numbers or of its timestamps.",
        |s| count(s.packets.restarts),
    ),
    counter(
        "stream_failures_total",
        "Packets that were not sent, and blocks on which the codec or the model failed.",
        |s| count(s.packets.failed),
    ),
    counter(
        "stream_missed_deadlines_total",
        "Hops without time for a model; their output is the input.",
        |s| count(s.missed_deadlines),
    ),
    counter(
        "stream_cpu_seconds_total",
        "Processor time of the stream, seconds.",
        |s| Some(s.cpu_seconds),
    ),
];

const WORKER_METRICS: [Metric<WorkerStats>; 7] = [
    counter(
        "worker_busy_seconds_total",
        "Time that the worker spent on its streams, seconds.",
        |w| Some(w.busy.as_secs_f64()),
    ),
    counter("worker_hops_total", "Hops for which a model ran.", |w| {
        count(w.batch.hops)
    }),
    counter(
        "worker_steps_total",
        "Runs of a model; several hops share one.",
        |w| count(w.batch.steps),
    ),
    counter(
        "worker_missed_hops_total",
        "Hops without time for a model; their output is the input.",
        |w| count(w.batch.deadline_misses),
    ),
    counter(
        "worker_steps_down_total",
        "Times that an overload switched a stream to a cheaper model or to its input.",
        |w| count(w.batch.step_downs),
    ),
    counter(
        "worker_steps_up_total",
        "Times that a stream was switched back towards its model.",
        |w| count(w.batch.step_ups),
    ),
    gauge(
        "worker_load",
        "Part of the time budget that the models take; 1 is all of it.",
        |w| Some(f64::from(w.batch.load)),
    ),
];

/// All metrics.
pub fn text(streams: &[StreamInfo], workers: &[WorkerStats]) -> String {
    let mut text = String::new();
    write_metrics(&mut text, &RELAY_METRICS, &[streams.len()], |_, _| {
        String::new()
    });
    // Ids have only characters that need no escape.
    write_metrics(&mut text, &STREAM_METRICS, streams, |_, stream| {
        format!("{{stream=\"{}\"}}", stream.id)
    });
    write_metrics(&mut text, &WORKER_METRICS, workers, |index, _| {
        format!("{{worker=\"{index}\"}}")
    });
    text
}

fn write_metrics<T>(
    text: &mut String,
    metrics: &[Metric<T>],
    items: &[T],
    label: impl Fn(usize, &T) -> String,
) {
    for metric in metrics {
        let (name, kind, help) = (metric.name, metric.kind, metric.help);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# HELP quietwire_{name} {help}\n# TYPE quietwire_{name} {kind}"
        );
        for (index, item) in items.iter().enumerate() {
            if let Some(value) = (metric.value)(item) {
                let _ = writeln!(text, "quietwire_{name}{} {value}", label(index, item));
            }
        }
    }
}
