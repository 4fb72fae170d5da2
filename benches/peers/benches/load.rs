//! Live streams on one core. Each has a block every 10 ms, at its own phase. Measures the time from the
//! arrival of a block to its completion. `cargo bench -p quietwire-peers --bench load -- [--seconds=N] [--tick-ms=N]`

use std::time::{Duration, Instant};

use quietwire::{Batch, BatchStream, Denoiser, Model, OwnedBatchStream};
use quietwire_peers::{Blocks, clip, nnnoiseless_stream, sonora_stream};

const PERIOD: Duration = Duration::from_millis(10);

/// The blocks of all streams, and the times at which they are due.
struct Live {
    blocks: Vec<Blocks>,
    due: Vec<Duration>,
}

impl Live {
    fn new(audio: &[f32], streams: usize) -> Self {
        Self {
            blocks: (0..streams).map(|n| Blocks::new(audio, 480, n)).collect(),
            due: (0..streams)
                .map(|n| PERIOD.mul_f64(n as f64 / streams as f64))
                .collect(),
        }
    }

    /// At each tick, runs `clean` on the streams that are due. Returns the lateness of all hops, sorted.
    fn run(
        mut self,
        seconds: f64,
        tick: Duration,
        mut clean: impl FnMut(&[usize], &mut [Blocks]),
    ) -> Lateness {
        let began = Instant::now();
        let end = Duration::from_secs_f64(seconds);
        let (mut late, mut busy) = (Vec::new(), Duration::ZERO);
        let mut next = tick;
        while next < end {
            std::thread::sleep(next.saturating_sub(began.elapsed()));
            let now = began.elapsed();
            let due: Vec<usize> = (0..self.due.len())
                .filter(|stream| self.due[*stream] <= now)
                .collect();
            if !due.is_empty() {
                clean(&due, &mut self.blocks);
            }
            let done = began.elapsed();
            busy += done - now;
            for stream in due {
                late.push(done - self.due[stream]);
                self.due[stream] += PERIOD;
            }
            next = (next + tick).max(done);
        }
        late.sort_unstable();
        Lateness {
            late,
            busy: busy.as_secs_f64() / seconds,
        }
    }
}

struct Lateness {
    late: Vec<Duration>,
    busy: f64,
}

impl Lateness {
    fn print(&self, name: &str, streams: usize, note: &str) {
        let percentile = |part: f64| {
            let place = ((self.late.len() as f64 * part) as usize).min(self.late.len() - 1);
            self.late[place].as_secs_f64() * 1000.0
        };
        println!(
            "{name:<28} {streams:>4}  {:>6.2} {:>6.2} {:>7.2}  {:>3.0} %{note}",
            percentile(0.5),
            percentile(0.99),
            percentile(0.999),
            100.0 * self.busy,
        );
    }
}

/// Has a block only while it is due.
struct LiveStream {
    inner: OwnedBatchStream,
    is_due: bool,
}

impl BatchStream for LiveStream {
    fn stream_and_block(&mut self) -> Option<(&mut Denoiser, &mut [f32])> {
        if self.is_due {
            self.inner.stream_and_block()
        } else {
            None
        }
    }

    fn complete(&mut self, result: Result<(), quietwire::Error>) {
        self.is_due = false;
        self.inner.complete(result);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: f64| {
        let arg = args.iter().find_map(|arg| arg.strip_prefix(name));
        arg.map_or(default, |arg| arg.parse().expect("a number"))
    };
    let is_test = args.iter().any(|arg| arg == "--test");
    let seconds = number("--seconds=", if is_test { 0.3 } else { 5.0 });
    let tick = Duration::from_secs_f64(number("--tick-ms=", 4.0) / 1000.0);
    let counts: &[usize] = if is_test {
        &[4]
    } else {
        &[1, 50, 100, 200, 250, 300, 400, 500]
    };
    let audio = clip();
    println!(
        "{:<28} {:>4}  {:>6} {:>6} {:>7}  busy",
        "ms from arrival to completion", "n", "p50", "p99", "p99.9"
    );
    for &streams in counts {
        for id in ["base", "tiny"] {
            for width in [1, 16] {
                let model = Model::embedded(id).unwrap();
                let mut batch = Batch::new(std::slice::from_ref(&model), width).unwrap();
                let mut live: Vec<LiveStream> = (0..streams)
                    .map(|_| {
                        let stream = Denoiser::builder(model.clone()).hop_aligned(true);
                        let inner = OwnedBatchStream::new(stream.build().unwrap(), vec![0.0; 480]);
                        LiveStream {
                            inner,
                            is_due: false,
                        }
                    })
                    .collect();
                let began = Instant::now();
                let lateness = Live::new(&audio, streams).run(seconds, tick, |due, blocks| {
                    for stream in due {
                        let due = &mut live[*stream];
                        due.is_due = true;
                        due.inner
                            .samples_mut()
                            .copy_from_slice(blocks[*stream].next());
                    }
                    // Hops that are not done 10 ms after the tick pass as delayed input and are counted.
                    batch.process_within(&mut live, PERIOD, || began.elapsed());
                });
                let stats = batch.stats();
                let missed =
                    stats.deadline_misses as f64 / (stats.hops + stats.deadline_misses) as f64;
                let note = format!(
                    "  {:.1} hops per step, {:.2} % missed, {} step-downs",
                    stats.hops as f64 / stats.steps.max(1) as f64,
                    100.0 * missed,
                    stats.step_downs
                );
                lateness.print(&format!("quietwire {id}, width {width}"), streams, &note);
            }
        }
        let mut others: Vec<_> = (0..streams).map(|_| nnnoiseless_stream()).collect();
        let lateness = Live::new(&audio, streams).run(seconds, tick, |due, blocks| {
            for stream in due {
                others[*stream](blocks[*stream].next());
            }
        });
        lateness.print("nnnoiseless", streams, "");
        let mut others: Vec<_> = (0..streams).map(|_| sonora_stream()).collect();
        let lateness = Live::new(&audio, streams).run(seconds, tick, |due, blocks| {
            for stream in due {
                others[*stream](blocks[*stream].next());
            }
        });
        lateness.print("sonora", streams, "");
    }
}
