//! Counts and levels as Prometheus reads them (text format 0.0.4).

use std::fmt::Write as _;

use super::WorkerLook;
use super::view::Stream;

/// One family of numbers.
struct Family<T> {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    number: Number<T>,
}

type Number<T> = fn(&T) -> Option<f64>;

const fn gauge<T>(name: &'static str, help: &'static str, number: Number<T>) -> Family<T> {
    family("gauge", name, help, number)
}

const fn counter<T>(name: &'static str, help: &'static str, number: Number<T>) -> Family<T> {
    family("counter", name, help, number)
}

const fn family<T>(
    kind: &'static str,
    name: &'static str,
    help: &'static str,
    number: Number<T>,
) -> Family<T> {
    Family {
        name,
        kind,
        help,
        number,
    }
}

fn level(stream: &Stream, number: fn(&super::view::Levels) -> f32) -> Option<f64> {
    stream
        .levels
        .as_ref()
        .map(|levels| f64::from(number(levels)))
}

const OF_STREAMS: [Family<Stream>; 22] = [
    gauge("stream_on", "Whether the stream is switched on.", |s| {
        Some(f64::from(u8::from(s.on)))
    }),
    gauge(
        "stream_stepped_down",
        "Whether it lacks time for its model.",
        |s| {
            Some(f64::from(u8::from(
                s.state == super::view::State::SteppedDown,
            )))
        },
    ),
    gauge(
        "stream_input_dbfs",
        "Level of the latest hop that came.",
        |s| level(s, |l| l.input_dbfs),
    ),
    gauge(
        "stream_output_dbfs",
        "Level of the latest hop that went.",
        |s| level(s, |l| l.output_dbfs),
    ),
    gauge(
        "stream_snr_db",
        "What is kept against what is taken away.",
        |s| level(s, |l| l.snr_db),
    ),
    gauge(
        "stream_gain_db",
        "Level that went against level that came.",
        |s| level(s, |l| l.gain_db),
    ),
    gauge(
        "stream_speech_probability",
        "Of the latest hop, 0 to 1.",
        |s| level(s, |l| l.speech_probability),
    ),
    gauge(
        "stream_speech_share",
        "Share of packets with speech, 0 to 1.",
        |s| level(s, |l| l.speech_share),
    ),
    gauge(
        "stream_jitter_seconds",
        "Variation of arrival (RFC 3550).",
        |s| Some(s.jitter_ms / 1000.0),
    ),
    gauge(
        "stream_delay_seconds",
        "What the relay adds, constant.",
        |s| Some(s.delay_ms / 1000.0),
    ),
    counter("stream_packets_received_total", "Packets taken in.", |s| {
        count(s.packets.received)
    }),
    counter("stream_packets_sent_total", "Packets sent.", |s| {
        count(s.packets.sent)
    }),
    counter(
        "stream_packets_relayed_total",
        "Packets sent unchanged.",
        |s| count(s.packets.relayed),
    ),
    counter(
        "stream_packets_lost_total",
        "Packets that did not come.",
        |s| count(s.packets.lost),
    ),
    counter(
        "stream_packets_recovered_total",
        "Lost ones found in later packets.",
        |s| count(s.packets.recovered),
    ),
    counter("stream_packets_concealed_total", "Packets made up.", |s| {
        count(s.packets.concealed)
    }),
    counter(
        "stream_packets_late_total",
        "Packets after their turn.",
        |s| count(s.packets.late),
    ),
    counter(
        "stream_packets_refused_total",
        "Malformed, foreign, strange, undecodable.",
        |s| {
            let p = &s.packets;
            count(p.malformed + p.foreign + p.strange + p.undecodable)
        },
    ),
    counter(
        "stream_restarts_total",
        "Times that the source began anew.",
        |s| count(s.packets.restarts),
    ),
    counter(
        "stream_failures_total",
        "Refused by the network, codec or model.",
        |s| count(s.packets.failed),
    ),
    counter(
        "stream_missed_deadlines_total",
        "Hops that passed unchanged for want of time.",
        |s| count(s.missed_deadlines),
    ),
    counter("stream_cpu_seconds_total", "Processor time.", |s| {
        Some(s.cpu_seconds)
    }),
];

const OF_WORKERS: [Family<WorkerLook>; 7] = [
    counter("worker_busy_seconds_total", "Time spent on streams.", |w| {
        Some(w.busy.as_secs_f64())
    }),
    counter("worker_hops_total", "Hops that a model ran for.", |w| {
        count(w.counts.hops)
    }),
    counter(
        "worker_steps_total",
        "Steps of models, shared by hops.",
        |w| count(w.counts.steps),
    ),
    counter("worker_missed_hops_total", "Hops without time.", |w| {
        count(w.counts.missed_hops)
    }),
    counter("worker_steps_down_total", "Streams stepped down.", |w| {
        count(w.counts.steps_down)
    }),
    counter("worker_steps_up_total", "Streams stepped up again.", |w| {
        count(w.counts.steps_up)
    }),
    gauge(
        "worker_load",
        "Share of the time given that cleaning takes.",
        |w| Some(f64::from(w.counts.load)),
    ),
];

fn count(number: u64) -> Option<f64> {
    Some(number as f64)
}

/// The whole text.
pub fn text(streams: &[Stream], workers: &[WorkerLook]) -> String {
    let mut text = String::new();
    let all = [gauge("streams", "Streams that there are.", |n: &usize| {
        Some(*n as f64)
    })];
    families(&mut text, &all, &[streams.len()], |_, _| String::new());
    // Ids are made of letters that need no escape.
    families(&mut text, &OF_STREAMS, streams, |_, s| {
        format!("{{stream=\"{}\"}}", s.id)
    });
    families(&mut text, &OF_WORKERS, workers, |at, _| {
        format!("{{worker=\"{at}\"}}")
    });
    text
}

fn families<T>(
    text: &mut String,
    families: &[Family<T>],
    of: &[T],
    label: impl Fn(usize, &T) -> String,
) {
    for family in families {
        let (name, kind, help) = (family.name, family.kind, family.help);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# HELP quietwire_{name} {help}\n# TYPE quietwire_{name} {kind}"
        );
        for (at, one) in of.iter().enumerate() {
            if let Some(number) = (family.number)(one) {
                let _ = writeln!(text, "quietwire_{name}{} {number}", label(at, one));
            }
        }
    }
}
