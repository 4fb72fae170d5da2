"""Soak test of `quietwire relay`: many Opus streams through a lossy network for a long time.

    python scripts/soak.py target/release/quietwire [--streams 100] [--seconds 600] [--strict] [--steady] [--json OUT]

Starts the relay, sends every stream 50 packets per second with loss, jitter, reordering and
duplication (from --seed), switches streams and changes models and attenuation meanwhile, and
receives everything that the relay sends. Prints a table and checks. With --steady every stream stays on, with
the first model.

Checks of continuity, of counts and of memory do not depend on the speed of the machine. Figures of
time are printed only; with --strict they are checked too, which needs a machine without other load.
Exits with 0 if all checks pass, with 1 if one fails, and with 2 if the result is not valid because
this program itself lost packets or the clock was set. Needs Linux, numpy and ffmpeg (with libopus).

Definitions:
- Loss. Every sequence number is either received or lost: the counts of the relay must add up
  exactly. A packet that was dropped here is always lost. With --strict the count must also lie
  between two bounds that follow from the measured send times: a packet is lost too if it is sent
  later than the hold after one that follows it.
- Latency. A packet is sent by the relay when the packet one `delay` after it is played: when it is
  received or, if earlier packets are missing, when they are received or the hold is over. The latter
  are "held" and have figures of their own. Times are the sender's before `sendto` and the kernel's at
  the receiving socket, so that a late receiver does not matter. The bounds are raised by twice the
  lateness of the sender, because a packet waits for a processor twice in the relay: when it is
  received and when it is played.
- Continuity. Every timestamp between the first and the last must be received once, and sequence
  numbers must rise with them. Only packets lost while the stream was off may be missing, with their
  sequence numbers.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ogg import opus_packets

PACKET_S = 0.020
TICKS = 960
HOLD_S = 0.040  # the default of the relay
PAYLOAD_TYPE = 111
MODELS = ("base", "tiny")

# The network. Jitter and reordering together stay within the hold; overdue packets do not.
LOSS = 0.05
JITTER_S = 0.030
REORDERED, REORDERED_S = 0.01, 0.025
OVERDUE, OVERDUE_S = 0.001, 0.150
DUPLICATED, DUPLICATED_S = 0.01, 0.020
# Packets without impairments: the first one sets the numbers, and a loss at the end cannot be detected.
INTACT_START, INTACT_END = 10, 16

STAGGER_S = 2.0
CHANGES_PER_STREAM_PER_S, MIN_CHANGES_PER_S = 0.1, 5.0
SWITCHING_S = 0.3  # a switch takes 200 ms, and delayed packets are sent after it
UNCHANGED_WHILE_ON = "packets unchanged while on"
SO_TIMESTAMPNS = 35  # Linux; missing in Python's socket module

# Bounds. Those of time are checked with --strict.
LATENCY_MS = {"p50": 10.0, "p99": 30.0, "p99.9": 60.0}
HELD_P99_MS = 30.0
MAX_GROWTH_MIB = 4.0  # of a line fitted from the warm-up to the end
MAX_CONCEALED_EARLY = 0.005  # ratio of packets that were concealed before they were received
MAX_SENDER_P99_MS = 10.0
MAX_STOLEN = 0.1  # ratio of the processor time of all programs


@dataclass
class Plan:
    """All packets to be sent, in order of time."""

    due: np.ndarray  # seconds after the start
    stream: np.ndarray
    number: np.ndarray
    is_duplicate: np.ndarray
    dropped: np.ndarray  # [streams][packets]
    seconds: float


def make_plan(streams: int, seconds: float, seed: int) -> Plan:
    rng = np.random.default_rng(seed)
    stagger = min(STAGGER_S, seconds / 5)
    packets = int((seconds - stagger) / PACKET_S)
    shape = (streams, packets)
    number = np.arange(packets)
    intact = (number < INTACT_START) | (number >= packets - INTACT_END)
    start = rng.uniform(0, stagger, (streams, 1))
    due = start + number * PACKET_S + rng.uniform(0, JITTER_S, shape) * ~intact
    draw = rng.random(shape) + intact
    dropped = draw < LOSS
    overdue = (draw >= LOSS) & (draw < LOSS + OVERDUE)
    late = (draw >= LOSS + OVERDUE) & (draw < LOSS + OVERDUE + REORDERED)
    due += overdue * OVERDUE_S + late * REORDERED_S
    duplicated = ~dropped & (rng.random(shape) + intact < DUPLICATED)
    after = due + rng.uniform(0, DUPLICATED_S, shape)
    which = np.concatenate([np.argwhere(~dropped), np.argwhere(duplicated)])
    is_duplicate = np.arange(len(which)) >= np.count_nonzero(~dropped)
    all_due = np.concatenate([due[~dropped], after[duplicated]])
    order = np.argsort(all_due, kind="stable")
    return Plan(all_due[order], which[order, 0], which[order, 1], is_duplicate[order], dropped, seconds)


class Control:
    """The control interface of the relay: one connection per thread."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=10)

    def request(self, method: str, path: str, body: dict | None = None) -> str:
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, {"content-type": "application/json"})
        response = self.connection.getresponse()
        text = response.read().decode()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text}")
        return text


class Stream:
    """A stream with its sender and receiver on one socket."""

    def __init__(
        self, control: Control, at: int, packets: int, payloads: list[bytes], rng: random.Random
    ) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        own = f"127.0.0.1:{self.port}"
        # The sender is the receiver too, which must be intended.
        config = {"id": f"s{at}", "send_to": own, "accept_from": own, "hold_ms": int(HOLD_S * 1000)}
        created = json.loads(control.request("POST", "/v1/streams", config))
        self.id = created["id"]
        self.listen = ("127.0.0.1", int(created["listen"].rsplit(":", 1)[1]))
        self.delay = round(created["delay_ms"] / 1000 / PACKET_S)
        # Some of them wrap soon.
        self.first_sequence = rng.choice((rng.randrange(65536), 65536 - rng.randrange(500)))
        self.first_ticks = rng.choice((rng.randrange(2**32), 2**32 - TICKS * rng.randrange(500)))
        self.ssrc = 0x50AC0000 + at
        # Each stream starts at another place of the audio.
        self.payloads = payloads[37 * at % len(payloads) :] + payloads[: 37 * at % len(payloads)]
        nothing = array("d", [float("nan")])
        self.sent_at = nothing * packets
        # The relay may send silence before the first and concealed audio after the last packet.
        self.received_at = nothing * (packets + 32)
        self.unchanged = bytearray(packets + 32)  # whether the received payload is the sent one
        self.received = 0
        self.unexpected = 0
        self.repeated = 0
        self.last: tuple[int, int] | None = None
        self.jumps: list[
            tuple[int, int, int]
        ] = []  # steps of sequence number and of timestamp (packets), and the packet after them
        self.switches: list[tuple[float, bool]] = []

    def receive(self, datagram: bytes, at: float) -> None:
        _, kind, sequence, ticks, ssrc = struct.unpack_from("!BBHII", datagram)
        offset = (ticks - self.first_ticks + TICKS * 16) & 0xFFFFFFFF
        place, rest = divmod(offset, TICKS)
        self.received += 1
        if rest or place >= len(self.received_at) or kind & 0x7F != PAYLOAD_TYPE or ssrc != self.ssrc:
            self.unexpected += 1
            return
        if self.received_at[place] == self.received_at[place]:
            self.repeated += 1
            return
        self.received_at[place] = at
        self.unchanged[place] = datagram[12:] == self.payloads[(place - 16) % len(self.payloads)]
        if self.last is not None:
            numbers, times = (sequence - self.last[0]) & 0xFFFF, place - self.last[1]
            if numbers != 1 or times != 1:
                self.jumps.append((numbers, times, place - 16))
        self.last = (sequence, place)


@dataclass
class Samples:
    """Measurements of the relay process while it runs."""

    seconds: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)
    changes: int = 0
    disagreements: int = 0  # samples in which streams and workers have different missed deadlines
    decreasing: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    failure: str | None = None


def rss_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_s() -> tuple[float, float]:
    """Processor time of all programs, and time that the host gave to other machines, seconds."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / tick, steal / tick


def metrics_of(text: str) -> dict[str, float]:
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def total(metrics: dict[str, float], name: str) -> float:
    return sum(value for key, value in metrics.items() if key.startswith(f"quietwire_{name}{{"))


class Watcher(threading.Thread):
    """Samples the process and changes random streams."""

    def __init__(
        self, address: str, pid: int, streams: list[Stream], seconds: float, seed: int, is_steady: bool
    ) -> None:
        super().__init__(daemon=True)
        self.control, self.pid, self.streams = Control(address), pid, streams
        self.seconds, self.rng = seconds, random.Random(seed)
        self.is_steady = is_steady
        self.started_at = time.time()
        self.samples = Samples()

    def run(self) -> None:
        try:
            self.watch()
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            self.samples.failure = f"{type(error).__name__}: {error}"

    def watch(self) -> None:
        # Uses both models in all streams, so that their memory is allocated before the growth is measured.
        early = [(stream, {"model": model}) for model in reversed(MODELS) for stream in self.streams]
        early_step_s = warm_up_s(self.seconds) / 4 / len(early)
        late_step_s = 1 / max(MIN_CHANGES_PER_S, len(self.streams) * CHANGES_PER_STREAM_PER_S)
        every_s = min(5.0, max(1.0, self.seconds / 100))
        sample_at = change_at = 0.0
        while (now := time.time() - self.started_at) < self.seconds:
            if now >= sample_at:
                self.sample()
                sample_at += every_s
            if now >= change_at and not self.is_steady:
                change_at = now + (early_step_s if early else late_step_s)
                self.apply(*(early.pop(0) if early else self.change()))
            time.sleep(0.02 if self.is_steady else min(0.02, early_step_s))
        self.sample()

    def change(self) -> tuple[Stream, dict]:
        rng = self.rng
        kinds = [
            {"on": rng.random() < 0.5},
            {"on": rng.random() < 0.5},
            {"model": rng.choice(MODELS)},
            {"attenuation_db": rng.choice((6.0, 20.0, 40.0, 100.0))},
        ]
        return rng.choice(self.streams), rng.choice(kinds)

    def apply(self, stream: Stream, change: dict) -> None:
        self.control.request("PATCH", f"/v1/streams/{stream.id}", change)
        self.samples.changes += 1
        if "on" in change:
            stream.switches.append((time.time(), change["on"]))

    def sample(self) -> None:
        samples = self.samples
        samples.seconds.append(time.time() - self.started_at)
        samples.rss_mib.append(rss_mib(self.pid))
        samples.cpu_s.append(cpu_s(self.pid))
        metrics = metrics_of(self.control.request("GET", "/metrics"))
        by_streams = total(metrics, "stream_missed_deadlines_total")
        samples.missed.append(by_streams)
        samples.disagreements += by_streams != total(metrics, "worker_missed_hops_total")
        for name, value in metrics.items():
            if "_total{" in name and value < samples.metrics.get(name, 0):
                samples.decreasing.append(name)
        samples.metrics = metrics


def warm_up_s(seconds: float) -> float:
    return min(60.0, 0.4 * seconds)


def play(streams: list[Stream], plan: Plan, start: float) -> np.ndarray:
    """Sends and receives all packets. Returns how late each was sent, seconds."""
    poll = select.epoll()
    by_file = {stream.socket.fileno(): stream for stream in streams}
    for file in by_file:
        poll.register(file, select.EPOLLIN)
    header = struct.Struct("!BBHII")
    late = np.zeros(len(plan.due))
    # Elements of numpy arrays are slow to read one by one.
    due = array("d", (plan.due + start).tobytes())
    which, number = (array("q", column.astype(np.int64).tobytes()) for column in (plan.stream, plan.number))
    is_duplicate = plan.is_duplicate.tobytes()
    clock, count, at = time.time, len(due), 0
    after = start + plan.seconds + 1.5  # until all packets are sent and the streams are idle
    while (now := clock()) < after:
        while at < count and due[at] <= now:
            stream, n = streams[which[at]], number[at]
            packet = header.pack(
                0x80,
                PAYLOAD_TYPE,
                (stream.first_sequence + n) & 0xFFFF,
                (stream.first_ticks + n * TICKS) & 0xFFFFFFFF,
                stream.ssrc,
            )
            packet += stream.payloads[n % len(stream.payloads)]
            now = clock()
            stream.socket.sendto(packet, stream.listen)
            if not is_duplicate[at]:
                stream.sent_at[n] = now
            late[at] = now - due[at]
            at += 1
        wait = max(0.0, due[at] - clock()) if at < count else 0.01
        for file, _ in poll.poll(wait):
            stream = by_file[file]
            datagram, ancillary, _, _ = stream.socket.recvmsg(2048, 64)
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
            stream.receive(datagram, seconds + nanoseconds * 1e-9)
    poll.close()
    return late


def kernel_drops(ports: set[int]) -> int:
    """Datagrams that the kernel dropped because the buffer of a socket was full."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(int(f[-1]) for f in fields if int(f[1].split(":")[1], 16) in ports)


@dataclass
class Check:
    ok: bool
    text: str
    is_timing: bool


@dataclass
class StreamResult:
    """The figures of one stream."""

    min_lost: int  # by the measured send times
    max_lost: int
    latency: np.ndarray
    held: np.ndarray
    timing_faults: Counter
    faults: Counter


def spans(stream: Stream, on: bool, until: float) -> list[tuple[float, float]]:
    """The intervals in which the stream was on (or off), without the time of the switches."""
    found, since = [], None
    for at, now_on in [*stream.switches, (until, not on)]:
        if now_on == on and since is None:
            since = at + SWITCHING_S
        elif now_on != on and since is not None:
            found.append((since, at))
            since = None
    return found


def evaluate(stream: Stream) -> StreamResult:
    sent = np.frombuffer(stream.sent_at)
    received = np.frombuffer(stream.received_at)[16:]
    was_sent = ~np.isnan(sent)
    arrival = np.where(was_sent, sent, np.inf)
    count = len(sent)
    # Of the packets after each packet: the earliest, and the latest of the next four.
    lookahead = 12
    later = np.full((lookahead, count), np.inf)
    for ahead in range(1, lookahead + 1):
        later[ahead - 1, : count - ahead] = arrival[ahead:]
    earliest = later.min(axis=0)
    latest = np.where(np.isinf(later[:4]), -np.inf, later[:4]).max(axis=0)
    too_late = was_sent & (arrival >= earliest + HOLD_S)
    certainly_late = was_sent & (arrival > latest + HOLD_S + 0.03) & (latest > 0)
    dropped = np.count_nonzero(~was_sent)

    # When each packet is played. The hold starts with the next packet that was sent.
    following = np.full(count, np.inf)
    for n in range(count - 2, -1, -1):
        following[n] = arrival[n + 1] if was_sent[n + 1] else following[n + 1]
    playout = np.maximum.accumulate(np.minimum(arrival, following + HOLD_S))
    delay = stream.delay
    latency = received[: count - delay] - playout[delay:]
    is_held = playout[delay:] > arrival[delay:]
    is_measured = (
        ~np.isnan(latency)
        & was_sent[delay:]
        & ~too_late[delay:]
        & (received[: count - delay] >= arrival[delay:])
    )

    faults: Counter = Counter()
    faults["packets of another source, type or time"] += stream.unexpected
    faults["timestamps that were received twice"] += stream.repeated
    timing_faults: Counter = Counter()
    unchanged = np.frombuffer(stream.unchanged, np.uint8)[16:].astype(bool)
    skipped: set[int] = set()
    for numbers, times, before in stream.jumps:
        faults["sequence numbers that do not rise with timestamps"] += numbers != times or times < 1
        between = range(before - times + 1, before)
        skipped.update(between)
        is_off = unchanged[before] or unchanged[before - times]
        in_time = sum(was_sent[n] and not too_late[n] for n in between if n < count)
        timing_faults["packets missing that were sent in time"] += in_time
        timing_faults["packets missing between clean ones"] += 0 if is_off else len(between) - in_time
    first = int(np.flatnonzero(~np.isnan(received))[0])
    faults["packets missing at the start or the end"] += first > delay or np.isnan(
        received[count - 1 - delay]
    )
    missing = set(np.flatnonzero(np.isnan(received[first : count - delay])) + first)
    faults["timestamps missing without a jump"] += len(missing - skipped)
    received_at = np.where(np.isnan(received), -np.inf, received)
    end = float(np.nanmax(sent))
    for on in (False, True):
        kind = UNCHANGED_WHILE_ON if on else "packets changed while off"
        wrong = ~np.isnan(received) & (unchanged == on)
        for since, until in spans(stream, on, end):
            timing_faults[kind] += int(
                np.count_nonzero(wrong & (received_at > since) & (received_at < until))
            )
    return StreamResult(
        min_lost=dropped + np.count_nonzero(certainly_late),
        max_lost=dropped + np.count_nonzero(too_late),
        latency=latency[is_measured & ~is_held],
        held=latency[is_measured & is_held],
        timing_faults=timing_faults,
        faults=faults,
    )


def percentiles_ms(values: np.ndarray, *shares: float) -> dict[str, float]:
    if not len(values):
        return {f"p{share:g}": float("nan") for share in shares}
    return {f"p{share:g}": float(np.percentile(values, share) * 1000) for share in shares}


def started(args: argparse.Namespace) -> tuple[subprocess.Popen, str]:
    command = [args.binary, "relay", "--http", "127.0.0.1:0", "--models", ",".join(MODELS)]
    command += ["--max-streams", str(args.streams)]
    if args.workers:
        command += ["--workers", str(args.workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = process.stdout.readline()
    found = re.search(r"http://(\S+),", line)
    if not found:
        process.kill()
        sys.exit(f"the relay did not start: {line!r}")
    return process, found[1]


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Soak test of quietwire relay.")
    parser.add_argument("binary", help="the quietwire program")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=600, help="at least 15")
    parser.add_argument("--sound", type=Path, default=root / "samples/office-fan.wav")
    parser.add_argument("--workers", type=int, help="of the relay; default: its own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strict", action="store_true", help="check figures of time too")
    parser.add_argument("--steady", action="store_true", help="change no stream")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args()
    if args.seconds < 15 or args.streams < 1:
        parser.error("at least 15 seconds and one stream")

    payloads = opus_packets("-i", str(args.sound), bitrate="32k")
    plan = make_plan(args.streams, args.seconds, args.seed)
    load = os.getloadavg()[0]
    process, address = started(args)
    try:
        return soak(args, plan, payloads, process, address, load)
    finally:
        process.kill()
        process.wait()


def soak(
    args: argparse.Namespace,
    plan: Plan,
    payloads: list[bytes],
    process: subprocess.Popen,
    address: str,
    load: float,
) -> int:
    control = Control(address)
    rng = random.Random(args.seed)
    packets = plan.dropped.shape[1]
    streams = [Stream(control, at, packets, payloads, rng) for at in range(args.streams)]
    watcher = Watcher(address, process.pid, streams, args.seconds, args.seed, args.steady)
    # Neither the other thread nor the garbage collector should delay the sender.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.disable()
    start, steady_start = time.time(), time.monotonic()
    before = (*machine_s(), time.process_time())
    watcher.start()
    late = play(streams, plan, start)
    after = (*machine_s(), time.process_time())
    all_cores, stolen, own_cores = np.subtract(after, before) / (time.time() - start)
    watcher.join(15)
    gc.enable()
    clock_moved = abs((time.time() - start) - (time.monotonic() - steady_start))
    samples = watcher.samples
    checks: list[Check] = []

    def check(ok: object, text: str, is_timing: bool = False) -> None:
        checks.append(Check(bool(ok), text, is_timing))

    check(
        samples.failure is None and process.poll() is None,
        f"the relay answers all requests ({samples.failure or 'no failure'})",
    )
    if samples.failure or process.poll() is not None:
        return verdict(checks, args.strict, [], False)
    shown = {s["id"]: s for s in json.loads(control.request("GET", "/v1/streams"))["streams"]}
    watcher.control = control
    watcher.sample()
    drops = kernel_drops({stream.listen[1] for stream in streams})
    own_drops = kernel_drops({stream.port for stream in streams})
    for stream in streams:
        control.request("DELETE", f"/v1/streams/{stream.id}")
    left = json.loads(control.request("GET", "/health"))["streams"]
    control.connection.close()
    after_mib = rss_mib(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(60)
    except subprocess.TimeoutExpired:
        status = None

    results = [evaluate(stream) for stream in streams]
    counts = Counter()
    for one in shown.values():
        packets_of_one, dropped_of_one = one["packets"], one["packets"].pop("dropped")
        # Without the packets that arrived too late or twice.
        packets_of_one["received"] -= dropped_of_one["late"] + dropped_of_one["duplicate"]
        counts.update(packets_of_one)
        counts.update(dropped_of_one)
    missed = sum(one["missed_deadlines"] for one in shown.values())
    metrics = samples.metrics
    latency = np.concatenate([one.latency for one in results])
    held = np.concatenate([one.held for one in results])
    faults, timing_faults = Counter(), Counter()
    for one in results:
        faults.update(one.faults)
        timing_faults.update(one.timing_faults)
    sender = percentiles_ms(late, 50, 99, 99.9, 100)
    shares = percentiles_ms(latency, 50, 99, 99.9, 100)
    held_shares = percentiles_ms(held, 50, 99, 100)
    received = sum(stream.received for stream in streams)
    sent = len(plan.due)
    duplicated = int(np.count_nonzero(plan.is_duplicate))
    # A packet that was concealed before it is received counts as received and as late.
    early = counts["received"] + counts["late"] + counts["duplicate"] + drops - sent
    not_counted = [
        f"{stream.id}: {count} of {packets}"
        for stream in streams
        if (count := sum(shown[stream.id]["packets"][name] for name in ("received", "lost"))) != packets
    ]
    dropped = plan.dropped.sum(axis=1)
    lost_too_few = [
        f"{stream.id}: {shown[stream.id]['packets']['lost']} of {minimum}"
        for stream, minimum in zip(streams, dropped, strict=True)
        if shown[stream.id]["packets"]["lost"] < minimum
    ]
    lost_wrong = [
        f"{stream.id}: {shown[stream.id]['packets']['lost']}, not {one.min_lost} to {one.max_lost}"
        for stream, one in zip(streams, results, strict=True)
        if not one.min_lost <= shown[stream.id]["packets"]["lost"] <= one.max_lost
    ]

    seconds, memory = np.array(samples.seconds), np.array(samples.rss_mib)
    warm = seconds >= warm_up_s(args.seconds)
    slope = np.polyfit(seconds[warm], memory[warm], 1)[0]
    growth = float(slope * (seconds[-1] - seconds[warm][0]))
    cores = (samples.cpu_s[-1] - samples.cpu_s[0]) / (seconds[-1] - seconds[0])
    hops = total(metrics, "worker_hops_total")

    min_lost, max_lost = (sum(getattr(one, name) for one in results) for name in ("min_lost", "max_lost"))
    figures = {
        "streams": args.streams,
        "seconds": args.seconds,
        "seed": args.seed,
        "changes": samples.changes,
        "load_average_before": load,
        "cores": os.cpu_count(),
        "sent": sent,
        "dropped": int(plan.dropped.sum()),
        "duplicated": duplicated,
        "sender_late_ms": sender,
        "received": received,
        "packets": dict(counts),
        "lost_expected": [min_lost, max_lost],
        "concealed_before_received": early,
        "latency_ms": shares,
        "held_ms": held_shares,
        "share_held": len(held) / max(1, len(held) + len(latency)),
        "missed_deadlines": missed,
        "hops": hops,
        "steps": total(metrics, "worker_steps_total"),
        "steps_down": total(metrics, "worker_steps_down_total"),
        "steps_up": total(metrics, "worker_steps_up_total"),
        "stage_cores": {
            stage: sum(
                value
                for key, value in metrics.items()
                if key.startswith("quietwire_worker_cpu_seconds_total") and f'stage="{stage}"' in key
            )
            / seconds[-1]
            for stage in ("socket", "decode", "denoise", "encode")
        },
        "cpu_cores": {"relay": cores, "sender": own_cores, "all": all_cores, "stolen": stolen},
        "rss_mib": {
            "first": float(memory[0]),
            "warm": float(memory[warm][0]),
            "last": float(memory[-1]),
            "without_streams": after_mib,
        },
        "growth_mib": growth,
        "slope_mib_per_hour": float(slope * 3600),
        "kernel_drops": {"relay": drops, "soak": own_drops},
        "samples": {
            "seconds": samples.seconds,
            "rss_mib": samples.rss_mib,
            "cpu_s": samples.cpu_s,
            "missed": samples.missed,
        },
    }

    def row(name: str, text: str) -> None:
        print(f"{name:<10} {text}")

    print(
        f"soak: {args.streams} streams, {args.seconds:g} s, seed {args.seed}, load average {load:.2f} before"
    )
    row(
        "sender",
        f"{sent} packets ({duplicated} twice), {figures['dropped']} dropped, {samples.changes} changes",
    )
    row("", "late by " + format_ms(sender))
    row("relay", ", ".join(f"{name} {count}" for name, count in counts.items() if count))
    row("latency", f"{format_ms(shares)} of {len(latency)} packets not held")
    row(
        "held",
        f"{format_ms(held_shares)} after their playout time, {100 * figures['share_held']:.1f} % of packets",
    )
    row("deadlines", f"{missed} missed, {hops:.0f} hops in {figures['steps']:.0f} steps of models")
    row("", f"{figures['steps_down']:.0f} steps down, {figures['steps_up']:.0f} up")
    row("processor", f"{cores:.2f} cores, {100 * cores / args.streams:.2f} % of one for each stream")
    row(
        "",
        f"cores: {own_cores:.2f} this sender, {all_cores:.2f} all programs, {stolen:.2f} taken by the host",
    )
    mib = figures["rss_mib"]
    row("memory", f"MiB: {mib['first']:.1f} first, {mib['warm']:.1f} warm, {mib['last']:.1f} last")
    row("", f"fitted growth {growth:+.2f} MiB, {figures['slope_mib_per_hour']:+.1f} MiB/h")

    check(growth <= MAX_GROWTH_MIB, f"memory: fitted growth {growth:+.2f} MiB, at most {MAX_GROWTH_MIB}")

    def check_late(what: str, name: str, found_ms: float, max_ms: float) -> None:
        max_ms += 2 * sender[name]
        check(found_ms <= max_ms, f"{what}: {name} {found_ms:.2f} ms, at most {max_ms:.1f}", is_timing=True)

    for name, max_ms in LATENCY_MS.items():
        check_late("latency", name, shares[name], max_ms)
    check_late("held", "p99", held_shares["p99"], HELD_P99_MS)
    if figures["steps_down"]:
        # At its last fallback level a stream outputs its input.
        row("", f"{timing_faults.pop(UNCHANGED_WHILE_ON, 0)} {UNCHANGED_WHILE_ON}, possibly for lack of time")
    for what, count in faults.items():
        check(count == 0, f"continuity: {count} {what}")
    for what, count in timing_faults.items():
        check(count == 0, f"continuity: {count} {what}", is_timing=True)
    same = sum(sum(stream.unchanged) for stream in streams)
    check(
        same == counts["relayed"] - own_drops,
        f"packets unchanged: {same} received, {counts['relayed']} counted",
    )
    check(
        received == counts["sent"] - own_drops, f"packets sent: {received} received, {counts['sent']} counted"
    )
    check(not not_counted, f"received and lost add up to all packets; wrong: {not_counted[:3] or 'none'}")
    check(
        not lost_too_few,
        f"loss: {counts['lost']} counted, {dropped.sum()} dropped here; wrong: {lost_too_few[:3] or 'none'}",
    )
    check(early >= 0, f"received, late and duplicate add up to the {sent} packets sent")
    check(
        not lost_wrong,
        f"loss: {counts['lost']} counted, expected {min_lost} to {max_lost}; wrong: {lost_wrong[:3] or 'none'}",
        is_timing=True,
    )
    check(
        early <= MAX_CONCEALED_EARLY * sent,
        f"packets received: {early} concealed before, at most {100 * MAX_CONCEALED_EARLY:g} % of {sent}",
        is_timing=True,
    )
    odd = ("malformed", "unexpected_payload_type", "probation", "undecodable", "restarts", "failed")
    check(not any(counts[name] for name in odd), f"no packet was {', '.join(odd)}")
    check(
        not samples.disagreements,
        f"missed deadlines: {samples.disagreements} samples in which streams and workers differ",
    )
    check(not samples.decreasing, f"counters: {sorted(set(samples.decreasing))[:3] or 'none'} decreased")
    check(
        not drops,
        f"sockets: the system dropped {drops} packets that the relay did not read in time",
        is_timing=True,
    )
    check(
        left == 0 and status == 0,
        f"end: {left} streams left after DELETE, exit status {status} after SIGTERM",
    )

    figures["checks"] = [vars(one) for one in checks]
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1, default=float) + "\n")
    others = all_cores - cores - own_cores
    notes = []
    if sender["p99"] > MAX_SENDER_P99_MS:
        notes.append(f"the sender itself was late, p99 {sender['p99']:.1f} ms")
    if all_cores > 0.9 * os.cpu_count() and others > 0.1 * os.cpu_count():
        notes.append(f"other programs used {others:.1f} of {os.cpu_count()} processors")
    if stolen > MAX_STOLEN * all_cores:
        notes.append(f"the host gave {stolen:.2f} processors of {all_cores:.2f} to others")
    invalid = []
    if own_drops:
        invalid.append(f"{own_drops} packets were dropped at the sockets of this program")
    if clock_moved > 0.005:
        invalid.append(f"the clock was set by {clock_moved * 1000:.0f} ms")
    return verdict(checks, args.strict, notes + invalid, bool(invalid))


def format_ms(shares: dict[str, float]) -> str:
    names = {"p100": "max"}
    return ", ".join(f"{names.get(name, name)} {value:.2f}" for name, value in shares.items()) + " ms"


def verdict(checks: list[Check], strict: bool, notes: list[str], is_invalid: bool) -> int:
    """Prints the checks and returns the exit status. `notes`: causes outside the relay."""
    failed = 0
    for check in checks:
        is_checked = strict or not check.is_timing
        failed += is_checked and not check.ok
        word = "ok" if check.ok else "FAIL" if is_checked else "time"
        print(f"{word:<10} {check.text}")
    for note in notes:
        print(f"{'note':<10} {note}")
    if is_invalid:
        print("the result is not valid")
        return 2
    if failed:
        print(f"{failed} of {len(checks)} checks failed")
        return 1
    print("all checks hold" if strict else "all checks hold; figures of time were not checked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
