//! Counts and levels in the Prometheus text format 0.0.4.

use std::fmt::Write as _;
use std::time::Duration;

use crate::api::stream_info::{CpuStages, Levels, State, StreamInfo};
use crate::process::{self, ProcessStats};
use crate::worker::WorkerStats;

const PREFIX: &str = "quietwire_";

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

/// The relay as a whole.
struct RelayStats {
    streams: usize,
    max_streams: usize,
    process: ProcessStats,
}

const RELAY_METRICS: [Metric<RelayStats>; 2] = [
    gauge("streams", "Streams of the relay.", |r| {
        Some(r.streams as f64)
    }),
    gauge(
        "max_streams",
        "Largest number of streams that the relay creates.",
        |r| Some(r.max_streams as f64),
    ),
];

/// With the names that Prometheus clients use.
const PROCESS_METRICS: [Metric<RelayStats>; 5] = [
    counter(
        "process_cpu_seconds_total",
        "Processor time of the process, seconds.",
        |r| Some(r.process.cpu.as_secs_f64()),
    ),
    gauge(
        "process_start_time_seconds",
        "Start of the process, seconds since 1970-01-01 00:00 UTC.",
        |r| Some(r.process.start_unix_s),
    ),
    gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process, bytes.",
        |r| r.process.resident_bytes.map(|bytes| bytes as f64),
    ),
    gauge(
        "process_open_fds",
        "Open files and sockets of the process.",
        |r| r.process.open_files.map(|files| files as f64),
    ),
    gauge(
        "process_max_fds",
        "Largest number of open files and sockets.",
        |r| r.process.max_files.map(|files| files as f64),
    ),
];

const STREAM_METRICS: [Metric<StreamInfo>; 25] = [
    gauge(
        "stream_on",
        "1 if the stream is switched on, else 0.",
        |s| flag(s.on),
    ),
    gauge(
        "stream_active",
        "1 if the stream received a packet in the latest second, else 0.",
        |s| flag(s.state != State::Idle),
    ),
    gauge(
        "stream_codec_active",
        "0 if payloads pass unchanged, because the stream is off or by an overload, else 1.",
        |s| flag(s.codec_active),
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
        "Datagrams received: those replaced, relayed and dropped, and those that wait.",
        |s| count(s.packets.received),
    ),
    counter(
        "stream_packets_sent_total",
        "Packets sent, clean or unchanged.",
        |s| count(s.packets.sent),
    ),
    counter(
        "stream_packets_replaced_total",
        "Packets received and sent with denoised audio.",
        |s| count(s.packets.replaced),
    ),
    gauge(
        "stream_packets_waiting",
        "Packets received that wait to be sent.",
        |s| count(s.packets.waiting),
    ),
    counter(
        "stream_packets_relayed_total",
        "Packets received and sent unchanged.",
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
        "Lost packets whose audio was extrapolated.",
        |s| count(s.packets.concealed),
    ),
    counter(
        "stream_packets_unreachable_total",
        "Packets sent, for which the network reported that the target is unreachable.",
        |s| count(s.packets.unreachable),
    ),
    counter(
        "stream_restarts_total",
        "Changes of the source, or of its sequence numbers.",
        |s| count(s.packets.restarts),
    ),
    counter(
        "stream_delay_changes_total",
        "Changes of the delay, because the packets have another length.",
        |s| count(s.packets.delay_changes),
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
];

const WORKER_METRICS: [Metric<WorkerStats>; 12] = [
    counter(
        "worker_busy_seconds_total",
        "Time that the worker spent on its streams, with and without the processor, seconds.",
        |w| Some(w.busy.as_secs_f64()),
    ),
    counter(
        "worker_thread_cpu_seconds_total",
        "Processor time of the thread, seconds.",
        |w| Some(w.cpu.as_secs_f64()),
    ),
    counter(
        "worker_turns_total",
        "Turns: each receives, denoises and sends what is due.",
        |w| count(w.turns),
    ),
    counter(
        "worker_codec_sheds_total",
        "Times that an overload stopped the codec of a stream: its payloads pass unchanged.",
        |w| count(w.codec_sheds),
    ),
    counter(
        "worker_codec_restores_total",
        "Times that the codec of a stream was started again after an overload.",
        |w| count(w.codec_restores),
    ),
    gauge(
        "worker_codec_shed_streams",
        "Streams whose codec is stopped by an overload.",
        |w| Some(w.codec_shed_streams as f64),
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

/// Takes the value of a label and of the metric.
type Add<'a> = dyn FnMut(&str, f64) + 'a;

/// Metrics of several values each, with one more label.
struct LabeledMetric<T> {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: fn(&T, &mut Add),
}

fn stages(stages: CpuStages, add: &mut Add) {
    add("socket", stages.socket);
    add("decode", stages.decode);
    add("denoise", stages.denoise);
    add("encode", stages.encode);
}

const STREAM_CPU: LabeledMetric<StreamInfo> = LabeledMetric {
    name: "stream_cpu_seconds_total",
    help: "Processor time of the stream, seconds, by stage: socket (and encryption), decode, denoise, encode.",
    label: "stage",
    values: |stream, add| stages(stream.cpu_stage_seconds, add),
};

const WORKER_CPU: LabeledMetric<WorkerStats> = LabeledMetric {
    name: "worker_cpu_seconds_total",
    help: "Processor time of the worker's streams, seconds, by stage, removed streams included.",
    label: "stage",
    values: |worker, add| stages(worker.stages.seconds(), add),
};

/// A stream and the datagrams that its socket dropped.
type StreamAndDrops<'a> = (&'a StreamInfo, Option<u64>);

const fn stream_drops<'a>() -> LabeledMetric<StreamAndDrops<'a>> {
    LabeledMetric {
        name: "stream_packets_dropped_total",
        help: "Packets and datagrams dropped, by reason.",
        label: "reason",
        values: |(stream, socket_drops), add| {
            for (reason, count) in stream.packets.dropped.reasons() {
                add(reason, count as f64);
            }
            if let Some(count) = socket_drops {
                add("socket_buffer", *count as f64);
            }
        },
    }
}

/// All metrics.
pub fn text(
    start_id: &str,
    uptime: Duration,
    max_streams: usize,
    streams: &[StreamInfo],
    workers: &[WorkerStats],
) -> String {
    let mut text = String::new();
    write_info(
        &mut text,
        "build_info",
        "Version of the relay.",
        &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
    );
    write_info(
        &mut text,
        "start_info",
        "Start of the relay: another id means another start.",
        &format!("start_id=\"{start_id}\""),
    );
    let relay = [RelayStats {
        streams: streams.len(),
        max_streams,
        process: process::stats(uptime),
    }];
    write_metrics(&mut text, "", &PROCESS_METRICS, &relay, |_, _| {
        String::new()
    });
    write_metrics(&mut text, PREFIX, &RELAY_METRICS, &relay, |_, _| {
        String::new()
    });
    // Ids have only characters that need no escape.
    let stream_label = |stream: &StreamInfo| format!("stream=\"{}\"", stream.id);
    let worker_label = |index: usize, _: &WorkerStats| format!("worker=\"{index}\"");
    write_metrics(&mut text, PREFIX, &STREAM_METRICS, streams, |_, s| {
        stream_label(s)
    });
    write_labeled(&mut text, &STREAM_CPU, streams, |_, s| stream_label(s));
    let socket_drops = process::socket_drops();
    let drops = streams
        .iter()
        .map(|stream| (stream, socket_drops.get(&stream.listen).copied()));
    let drops: Vec<_> = drops.collect();
    write_labeled(&mut text, &stream_drops(), &drops, |_, (s, _)| {
        stream_label(s)
    });
    write_metrics(&mut text, PREFIX, &WORKER_METRICS, workers, worker_label);
    write_labeled(&mut text, &WORKER_CPU, workers, worker_label);
    text
}

// Writing to a string does not fail.

fn write_head(text: &mut String, prefix: &str, name: &str, kind: &str, help: &str) {
    let _ = writeln!(
        text,
        "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}"
    );
}

fn write_info(text: &mut String, name: &str, help: &str, label: &str) {
    write_head(text, PREFIX, name, "gauge", help);
    let _ = writeln!(text, "{PREFIX}{name}{{{label}}} 1");
}

fn write_metrics<T>(
    text: &mut String,
    prefix: &str,
    metrics: &[Metric<T>],
    items: &[T],
    label: impl Fn(usize, &T) -> String,
) {
    for metric in metrics {
        let name = metric.name;
        write_head(text, prefix, name, metric.kind, metric.help);
        for (index, item) in items.iter().enumerate() {
            let Some(value) = (metric.value)(item) else {
                continue;
            };
            let label = label(index, item);
            let _ = match label.is_empty() {
                true => writeln!(text, "{prefix}{name} {value}"),
                false => writeln!(text, "{prefix}{name}{{{label}}} {value}"),
            };
        }
    }
}

fn write_labeled<T>(
    text: &mut String,
    metric: &LabeledMetric<T>,
    items: &[T],
    label: impl Fn(usize, &T) -> String,
) {
    let (name, key) = (metric.name, metric.label);
    write_head(text, PREFIX, name, "counter", metric.help);
    for (index, item) in items.iter().enumerate() {
        let label = label(index, item);
        (metric.values)(item, &mut |of, value| {
            let _ = writeln!(text, "{PREFIX}{name}{{{label},{key}=\"{of}\"}} {value}");
        });
    }
}
