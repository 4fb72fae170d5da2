"""Calls through rtpengine and the relay, connected as in docs/sfu.md.

    python crates/quietwire-relay/tests/sfu/rtpengine_call.py QUIETWIRE [--out FOLDER]

Starts both programs and plays four calls at once, half a minute in all, with plain RTP sockets as
phones. Prints one line per check and exits with 1 if one fails. FOLDER receives the logs and the
recordings. Needs rtpengine, ffmpeg (with libopus) and numpy.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from judge import Check, dbfs, noise_floor, quietest, speech_level, verdict

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "scripts"))
from ogg import opus_file, opus_packets  # noqa: E402

SAMPLES = ROOT / "samples"

HOST = "127.0.0.1"
UNUSED_ADDRESS = (HOST, 9)
PACKET_S = 0.020
SECONDS, SWITCH_S = 17.0, 9.5  # length of the calls, and time at which one stream is switched off
SETTLING_S = 1.0  # the denoiser and a switch take less
HANDSHAKES_S = 2.0
REPORTS_S = 1.0  # interval of the reports (RTCP)
MIN_ATTENUATION_DB = 15.0
SPEECH_WITHIN_DB = 2.0
OFF_WITHIN_DB = 1.5
GAP_S, GAP_DBFS = 0.005, -75.0
MAX_EVENT_DELAY_S = 0.25

Address = tuple[str, int]


def format_address(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def parse_address(text: str) -> Address:
    host, port = text.rsplit(":", 1)
    return host, int(port)


# The two programs.


def bencode(value: object) -> bytes:
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(k) + bencode(v) for k, v in value.items()) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    data = str(value).encode()
    return b"%d:%s" % (len(data), data)


def bdecode(data: bytes, at: int = 0) -> tuple[object, int]:
    """The value that starts at `at`, and the index of its end."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in b"dl":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        return (dict(zip(items[::2], items[1::2], strict=True)) if kind == b"d" else items), at + 1
    begin = data.index(b":", at) + 1
    end = begin + int(data[at : begin - 1])
    return data[begin:end].decode(), end


class Rtpengine:
    """The rtpengine program, controlled by its `ng` protocol."""

    def __init__(self, log: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((HOST, 0))
            self.address = free.getsockname()
        command = ["rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr"]
        command += [f"--interface={HOST}", f"--listen-ng={format_address(self.address)}", "--num-threads=2"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(self.address)
        self.cookies = itertools.count()

    def request(self, command: str, wait_s: float = 5, **keys: object) -> dict:
        cookie = b"%d " % next(self.cookies)
        named = {name.replace("_", "-"): value for name, value in keys.items()}
        self.socket.settimeout(wait_s)
        self.socket.send(cookie + bencode({"command": command, **named}))
        while not (answer := self.socket.recv(65535)).startswith(cookie):
            pass
        answer = bdecode(answer[len(cookie) :])[0]
        if answer["result"] not in ("ok", "pong"):
            raise RuntimeError(f"rtpengine: {command}: {answer}")
        return answer

    def await_start(self) -> None:
        for _ in range(100):
            if self.process.poll() is not None:
                raise RuntimeError("rtpengine ended before it answered; see its log")
            with contextlib.suppress(TimeoutError, ConnectionError):
                self.request("ping", wait_s=0.1)
                return
            time.sleep(0.1)
        raise RuntimeError("rtpengine did not answer within 10 s")

    def offer(self, call: str, sdp: str, **keys: object) -> str:
        return self.request("offer", call_id=call, from_tag="a", sdp=sdp, **keys)["sdp"]

    def answer(self, call: str, sdp: str, **keys: object) -> str:
        return self.request("answer", call_id=call, from_tag="a", to_tag="b", sdp=sdp, **keys)["sdp"]


class Relay:
    """The relay program, controlled by its interface over HTTP."""

    def __init__(self, binary: Path, log: Path) -> None:
        command = [str(binary), "relay", "--http", f"{HOST}:0"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file)
        self.address = ""

    def await_start(self) -> None:
        ready = select.select([self.process.stdout], [], [], 20)[0]
        line = self.process.stdout.readline().decode() if ready else ""
        found = re.search(r"http://([0-9.:]+)", line)
        if not found:
            raise RuntimeError(f"the relay did not start: {line!r}; see its log")
        self.address = found[1]

    def request(self, method: str, path: str, body: dict | None = None) -> dict:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=5)) as connection:
            fields = {"content-type": "application/json"}
            connection.request(method, path, body and json.dumps(body), fields)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 300:
            raise RuntimeError(f"the relay: {method} {path}: {answer.status} {text}")
        return json.loads(text)

    def create(self, id: str, send_to: Address, **fields: object) -> Address:
        """Creates a stream and returns the address that it listens on."""
        created = self.request(
            "POST", "/v1/streams", {"id": id, "send_to": format_address(send_to), **fields}
        )
        return parse_address(created["listen"])

    def switch_off(self, id: str) -> None:
        self.request("PATCH", f"/v1/streams/{id}", {"on": False})


@contextlib.contextmanager
def programs(binary: Path, out: Path) -> Iterator[tuple[Rtpengine, Relay]]:
    with contextlib.ExitStack() as stack:
        rtpengine = Rtpengine(out / "rtpengine.log")
        stack.callback(end, rtpengine.process)
        relay = Relay(binary, out / "relay.log")
        stack.callback(end, relay.process)
        rtpengine.await_start()
        relay.await_start()
        yield rtpengine, relay


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


# SDP.


def media_address(sdp: str) -> Address:
    return find(r"^c=IN IP4 (\S+)", sdp), int(find(r"^m=audio (\d+)", sdp))


def report_address(sdp: str) -> Address:
    return find(r"^c=IN IP4 (\S+)", sdp), int(find(r"^a=rtcp:(\d+)", sdp))


def find(pattern: str, sdp: str) -> str:
    found = re.search(pattern, sdp, re.MULTILINE)
    if not found:
        raise RuntimeError(f"no {pattern} in {sdp}")
    return found[1]


def moved(sdp: str, listen: Address) -> str:
    """The SDP with media at `listen`. The address of reports stays."""
    host, port = report_address(sdp)
    for old, new in (
        (r"^c=IN IP4 \S+", f"c=IN IP4 {listen[0]}"),
        (r"^m=audio \d+", f"m=audio {listen[1]}"),
        (r"^a=rtcp:[^\r\n]*", f"a=rtcp:{port} IN IP4 {host}"),
    ):
        sdp = re.sub(old, new, sdp, flags=re.MULTILINE)
    return sdp


# The phones.


@dataclass(frozen=True)
class Codec:
    payload_type: int
    ticks: int  # per packet
    rate: int  # of the decoded audio, Hz
    formats: str  # SDP: payload types, then their rtpmap lines
    silence: bytes  # a payload


EVENT = 101
OPUS = Codec(111, 960, 48000, "111\r\na=rtpmap:111 opus/48000/2\r\n", b"\xf8\xff\xfe")
PCMU = Codec(
    0,
    160,
    8000,
    f"0 {EVENT}\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:{EVENT} telephone-event/8000\r\n",
    b"\xff" * 160,
)


@dataclass(frozen=True)
class Event:
    """A telephone event (RFC 4733): its packets have the timestamp of its start, and its end is sent
    three times."""

    name: str
    code: int
    begin: int  # packet number in the call
    packets: int
    beside_voice: bool = False  # or instead of voice

    def payload(self, n: int) -> bytes | None:
        place = n - self.begin
        if not 0 <= place < self.packets + 2:
            return None
        is_end = place >= self.packets - 1
        return struct.pack("!BBH", self.code, 10 | 0x80 * is_end, min(place + 1, self.packets) * PCMU.ticks)


# After an event of one second or more rtpengine 10.5 can delay the next one by as much.
EVENTS = [
    Event("an event of 60 ms instead of voice", 1, 250, 3),
    Event("an event of 160 ms instead of voice", 2, 350, 8),
    Event("an event of 600 ms instead of voice", 3, 450, 30),
    Event("an event of 160 ms beside voice", 4, 600, 8, beside_voice=True),
]


@dataclass(frozen=True)
class Packet:
    """An RTP datagram, its source and its time of arrival."""

    datagram: bytes
    source: Address
    at: float

    @property
    def payload_type(self) -> int:
        return self.datagram[1] & 0x7F

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.datagram[2:4], "big")

    @property
    def timestamp(self) -> int:
        return int.from_bytes(self.datagram[4:8], "big")

    @property
    def ssrc(self) -> int:
        return int.from_bytes(self.datagram[8:12], "big")

    @property
    def payload(self) -> bytes:
        return self.datagram[12:]


def datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((HOST, 0))
    made.setblocking(False)
    return made


class Phone:
    """Sends RTP and reports (RTCP) to the addresses of its SDP, and receives both."""

    sources = itertools.count(0x52540000, 0x101)

    def __init__(
        self, codec: Codec, payloads: list[bytes], events: list[Event] | None = None, behind_nat: bool = False
    ) -> None:
        self.codec, self.payloads, self.events, self.behind_nat = codec, payloads, events or [], behind_nat
        self.ssrc = next(self.sources)
        self.sequence = 0xFF80  # wraps soon
        self.media, self.reports = datagram_socket(), datagram_socket()
        self.media_to = self.reports_to = UNUSED_ADDRESS
        self.sent: list[Packet] = []
        self.sent_reports: list[bytes] = []
        self.received: list[Packet] = []
        self.received_reports: list[bytes] = []

    @property
    def address(self) -> Address:
        return self.media.getsockname()

    def sdp(self) -> str:
        """A phone behind a NAT has no public address of its own."""
        (host, port), (_, reports) = self.address, self.reports.getsockname()
        if self.behind_nat:
            host, port, reports = *UNUSED_ADDRESS, UNUSED_ADDRESS[1] + 1
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {self.codec.formats}a=rtcp:{reports}\r\n"
        )

    def apply_remote_sdp(self, sdp: str) -> None:
        self.media_to, self.reports_to = media_address(sdp), report_address(sdp)

    def timestamp(self, n: int) -> int:
        """The timestamp of packet `n`. Wraps soon."""
        return (n - 200) * self.codec.ticks & 0xFFFFFFFF

    def number(self, timestamp: int) -> float:
        """The number of the packet with this timestamp."""
        offset = (timestamp - self.timestamp(0) + (1 << 31)) & 0xFFFFFFFF
        return (offset - (1 << 31)) / self.codec.ticks

    def send_packet(self, n: int) -> None:
        event = next((event for event in self.events if event.payload(n)), None)
        if event:
            marker = 0x80 * (n == event.begin)
            self.send(EVENT | marker, self.timestamp(event.begin), event.payload(n))
        if not event or event.beside_voice:
            self.send(self.codec.payload_type, self.timestamp(n), self.payloads[n])
        every = round(REPORTS_S / PACKET_S)
        # The phone behind a NAT reports first, so that rtpengine learns its address.
        if n % every == every // 2 - 5 * self.behind_nat:
            self.sent_reports.append(self.report(n))
            self.reports.sendto(self.sent_reports[-1], self.reports_to)

    def send(self, second_byte: int, timestamp: int, payload: bytes) -> None:
        numbers = 0x80, second_byte, self.sequence, timestamp, self.ssrc
        packet = Packet(struct.pack("!BBHII", *numbers) + payload, self.address, time.monotonic())
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.sent.append(packet)
        self.media.sendto(packet.datagram, self.media_to)

    def report(self, n: int) -> bytes:
        """A sender report (RFC 3550 section 6.4.1) with a source description."""
        now = time.time() + 2208988800
        times = int(now), int(now % 1 * 2**32), self.timestamp(n)
        sender = struct.pack("!BBHIIIIII", 0x80, 200, 6, self.ssrc, *times, n, n * 100)
        return sender + struct.pack("!BBHIBB6s", 0x81, 202, 3, self.ssrc, 1, 5, b"phone")

    def receive(self) -> None:
        now = time.monotonic()
        with contextlib.suppress(BlockingIOError):
            while True:
                self.received.append(Packet(*self.media.recvfrom(16384), now))
        with contextlib.suppress(BlockingIOError):
            while True:
                self.received_reports.append(self.reports.recv(16384))


def play(phones: list[Phone], events: dict[int, Callable[[], None]]) -> None:
    """Sends all packets at their times. An action runs before the packets of its number."""
    by_file = {file: phone for phone in phones for file in (phone.media, phone.reports)}
    begin = time.monotonic()
    packets = round(SECONDS / PACKET_S)
    for n in range(packets + 20):
        if n in events:
            events[n]()
        for phone in phones if n < packets else ():
            phone.send_packet(n)
        while (left := begin + (n + 1) * PACKET_S - time.monotonic()) > 0:
            for file in select.select(list(by_file), [], [], left)[0]:
                by_file[file].receive()


# The calls.

PLAIN = {"transport_protocol": "RTP/AVP", "ICE": "remove", "rtcp_mux": ["demux"]}
SECURE = {"transport_protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "rtcp_mux": ["offer"]}
ASYMMETRIC = {"flags": ["asymmetric"]}


@dataclass
class Voice:
    """One direction of a call."""

    name: str
    speaker: Phone
    listener: Phone
    source: Address  # of the received packets
    stream: str | None = None  # of the relay


@dataclass
class Calls:
    rtpengine: Rtpengine
    relay: Relay
    phones: list[Phone] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)

    def stream(self, name: str, speaker: Phone, send_to: Address) -> Address:
        fields = {"codec": "pcmu", "relayed_payload_types": [EVENT]} if speaker.codec is PCMU else {}
        return self.relay.create(name.replace(" ", "-"), send_to, **fields)

    def voice(self, name: str, speaker: Phone, listener: Phone, source: Address, clean: bool = True) -> None:
        self.voices.append(Voice(name, speaker, listener, source, name.replace(" ", "-") if clean else None))

    def connect(self, a: Phone, b: Phone, for_b: str, for_a: str) -> None:
        """Connects the phones. B sends first, so that rtpengine learns its address behind a NAT."""
        b.apply_remote_sdp(for_b)
        a.apply_remote_sdp(for_a)
        self.phones += [b, a]

    def one_way(self, name: str, a: Phone, b: Phone) -> None:
        """A's voice goes through the relay to B; B's goes through rtpengine only."""
        offered = self.rtpengine.offer(name, a.sdp(), **PLAIN)
        to_b = self.stream(f"{name} to B", a, b.address)
        answered = self.rtpengine.answer(name, moved(b.sdp(), to_b), **ASYMMETRIC)
        self.connect(a, b, offered, answered)
        self.voice(f"{name} to B", a, b, to_b)
        self.voice(f"{name} to A", b, a, media_address(answered), clean=False)

    def both_ways(self, name: str, a: Phone, b: Phone) -> None:
        """Each phone sends to rtpengine and receives from the relay."""
        to_a = self.stream(f"{name} to A", b, a.address)
        offered = self.rtpengine.offer(name, moved(a.sdp(), to_a), **PLAIN, **ASYMMETRIC)
        to_b = self.stream(f"{name} to B", a, b.address)
        answered = self.rtpengine.answer(name, moved(b.sdp(), to_b), **ASYMMETRIC)
        self.connect(a, b, offered, answered)
        self.voice(f"{name} to B", a, b, to_b)
        self.voice(f"{name} to A", b, a, to_a)

    def between(self, name: str, a: Phone, b: Phone) -> None:
        """The relay between two calls of rtpengine. A's has DTLS and ICE; B's phone is behind a
        NAT. One more call does DTLS and ICE for A's phone."""
        rtpengine, near, far, device = self.rtpengine, f"{name} near", f"{name} far", f"{name} device"
        from_a = rtpengine.offer(device, a.sdp(), **SECURE)
        first = rtpengine.offer(near, from_a, **PLAIN)
        to_a = self.stream(f"{name} to A", b, media_address(first))
        offered = rtpengine.offer(far, moved(first, to_a), **ASYMMETRIC)
        second = rtpengine.answer(far, b.sdp())
        to_b = self.stream(f"{name} to B", a, media_address(second))
        answered = rtpengine.answer(near, moved(second, to_b), **ASYMMETRIC)
        if "UDP/TLS/RTP/SAVPF" not in answered:
            raise RuntimeError(f"rtpengine answered A without DTLS: {answered}")
        for_a = rtpengine.answer(device, answered)
        self.connect(a, b, offered, for_a)
        self.voice(f"{name} to B", a, b, media_address(offered))
        self.voice(f"{name} to A", b, a, media_address(for_a))


# Verdicts.


@dataclass
class Judge:
    relay: Relay
    out: Path
    checks: list[Check] = field(default_factory=list)

    def check(self, voice: Voice, ok: bool, text: str) -> None:
        self.checks.append(Check(bool(ok), f"{voice.name}: {text}"))

    def judge(self, voice: Voice, off_at: int | None) -> None:
        if voice.stream is None:
            self.check_unchanged(voice)
        else:
            self.check_complete(voice)
            self.check_clean(voice, off_at)
        for event in voice.speaker.events:
            self.check_event(voice, event)
        self.check_reports(voice)

    def check_unchanged(self, voice: Voice) -> None:
        sent = [packet.datagram for packet in voice.speaker.sent]
        received = [packet.datagram for packet in voice.listener.received]
        sources = {packet.source for packet in voice.listener.received}
        self.check(
            voice,
            received == sent and sources == {voice.source},
            f"{len(received)} of {len(sent)} packets, {sum(map(sent.__contains__, received))} of them "
            f"unchanged, from {format_sources(sources)} (all, from rtpengine)",
        )

    def check_complete(self, voice: Voice) -> None:
        speaker, received = voice.speaker, voice.listener.received
        sources = {packet.source for packet in received}
        self.check(
            voice,
            sources == {voice.source},
            f"from {format_sources(sources)} ({format_address(voice.source)})",
        )
        jumps = sum((b.sequence - a.sequence) & 0xFFFF != 1 for a, b in itertools.pairwise(received))
        other_source = sum(packet.ssrc != speaker.ssrc for packet in received)
        due = {speaker.number(p.timestamp) for p in speaker.sent if p.payload_type != EVENT}
        missing = due - {speaker.number(p.timestamp) for p in received if p.payload_type != EVENT}
        counts = self.relay.request("GET", f"/v1/streams/{voice.stream}")["packets"]
        self.check(
            voice,
            not jumps and not other_source and not missing and counts["received"] == len(speaker.sent),
            f"{len(speaker.sent)} packets sent, {counts['received']} reached the relay, {len(received)} "
            f"received: {jumps} jumps of sequence numbers, {other_source} of another source, {len(missing)} missing",
        )

    def check_clean(self, voice: Voice, off_at: int | None) -> None:
        rate, per_packet = voice.speaker.codec.rate, round(PACKET_S * voice.speaker.codec.rate)
        sent, received = (
            self.audio(voice, packets) for packets in (voice.speaker.sent, voice.listener.received)
        )
        settling = round(SETTLING_S * rate)
        on = slice(settling, off_at and off_at * per_packet)
        floors = [dbfs(noise_floor(path[on], rate)) for path in (sent, received)]
        speech = [speech_level(path[on], rate) for path in (sent, received)]
        self.check(
            voice,
            floors[0] - floors[1] >= MIN_ATTENUATION_DB,
            f"noise floor {floors[0]:.1f} dBFS sent, {floors[1]:.1f} received: "
            f"{floors[0] - floors[1]:.1f} dB lower (at least {MIN_ATTENUATION_DB:g})",
        )
        self.check(
            voice,
            abs(speech[1] - speech[0]) <= SPEECH_WITHIN_DB,
            f"speech {speech[0]:.1f} dBFS sent, {speech[1]:.1f} received: "
            f"{speech[1] - speech[0]:+.1f} dB (within {SPEECH_WITHIN_DB:g})",
        )
        if off_at is not None:
            self.check_switch(voice, off_at, sent, received, floors[1])
        self.write_wav(voice, rate, sent, received)

    def check_switch(
        self, voice: Voice, off_at: int, sent: np.ndarray, received: np.ndarray, clean_floor: float
    ) -> None:
        speaker, rate = voice.speaker, voice.speaker.codec.rate
        switch, settled = round(off_at * PACKET_S * rate), off_at + round(SETTLING_S / PACKET_S)
        off = slice(switch + round(SETTLING_S * rate), None)
        floors = [dbfs(noise_floor(path[off], rate)) for path in (sent, received)]
        self.check(
            voice,
            abs(floors[1] - floors[0]) <= OFF_WITHIN_DB,
            f"off: noise floor {floors[0]:.1f} dBFS sent, {floors[1]:.1f} received: "
            f"{floors[1] - floors[0]:+.1f} dB (within {OFF_WITHIN_DB:g})",
        )
        payloads = {p.timestamp: p.payload for p in speaker.sent if speaker.number(p.timestamp) >= settled}
        same = sum(payloads.get(p.timestamp) == p.payload for p in voice.listener.received)
        self.check(
            voice,
            same == len(payloads),
            f"off: {same} of {len(payloads)} payloads are unchanged",
        )
        around = slice(switch - rate // 2, switch + rate)
        gap_dbfs = min(GAP_DBFS, clean_floor - 20)
        lowest = quietest(sent[around], received[around], round(GAP_S * rate), gap_dbfs)
        self.check(
            voice,
            lowest > gap_dbfs,
            f"switch: the quietest {1000 * GAP_S:g} ms are at {lowest:.1f} dBFS "
            f"(no gap: above {gap_dbfs:.1f})",
        )

    def check_event(self, voice: Voice, event: Event) -> None:
        def events(packets: list[Packet]) -> list[Packet]:
            found = [packet for packet in packets if packet.payload_type == EVENT]
            return [packet for packet in found if packet.payload[0] == event.code]

        sent, received = events(voice.speaker.sent), events(voice.listener.received)
        times = {packet.timestamp for packet in received}
        late = max((b.at - a.at for a, b in zip(sent, received, strict=False)), default=float("inf"))
        self.check(
            voice,
            [p.payload for p in received] == [p.payload for p in sent]
            and times == {sent[0].timestamp}
            and late <= MAX_EVENT_DELAY_S,
            f"{event.name}: {len(received)} of {len(sent)} packets, {len(times)} timestamps, {1000 * late:.0f} "
            f"ms late at most (all, with the timestamp of its start, within {1000 * MAX_EVENT_DELAY_S:g})",
        )

    def check_reports(self, voice: Voice) -> None:
        sent, received = voice.speaker.sent_reports, voice.listener.received_reports
        self.check(
            voice,
            received == sent,
            f"{len(received)} of {len(sent)} reports (RTCP) arrived unchanged, without the relay",
        )

    def audio(self, voice: Voice, packets: list[Packet]) -> np.ndarray:
        codec, number = voice.speaker.codec, voice.speaker.number
        payloads = {number(p.timestamp): p.payload for p in packets if p.payload_type == codec.payload_type}
        count = round(SECONDS / PACKET_S)
        return decode(codec, [payloads.get(n, codec.silence) for n in range(count)])

    def write_wav(self, voice: Voice, rate: int, sent: np.ndarray, received: np.ndarray) -> None:
        """Left: sent; right: received."""
        both = np.stack([sent[: len(received)], received[: len(sent)]], axis=1)
        with wave.open(str(self.out / f"{voice.stream}.wav"), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((both * 32767).astype("<i2").tobytes())


def format_sources(sources: set[Address]) -> str:
    return " and ".join(sorted(map(format_address, sources))) or "no source"


# Audio, through ffmpeg.


def ffmpeg(*args: str, data: bytes = b"") -> bytes:
    command = ["ffmpeg", "-v", "error", *args, "pipe:1"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True, timeout=60).stdout


def encode(codec: Codec, sample: str) -> list[bytes]:
    """Payloads for a whole call. The sample is repeated."""
    audio = ["-stream_loop", "-1", "-i", str(SAMPLES / sample), "-t", f"{SECONDS:g}", "-ac", "1"]
    if codec is PCMU:
        data = ffmpeg(*audio, "-ar", "8000", "-f", "mulaw")
        return [data[at : at + 160] for at in range(0, len(data) - 159, 160)]
    return opus_packets(*audio, bitrate="48k")


def decode(codec: Codec, payloads: list[bytes]) -> np.ndarray:
    if codec is PCMU:
        file, form = b"".join(payloads), ["-f", "mulaw", "-ar", "8000", "-ac", "1"]
    else:
        file, form = opus_file(payloads), ["-f", "ogg"]
    pcm = ffmpeg(*form, "-i", "pipe:0", "-f", "s16le", "-ar", str(codec.rate), "-ac", "1", data=file)
    return np.frombuffer(pcm, "<i2") / 32768


def run(binary: Path, out: Path) -> list[Check]:
    fan, keys, line = (
        encode(OPUS, "office-fan.wav"),
        encode(OPUS, "keyboard.wav"),
        encode(PCMU, "telephone.wav"),
    )
    with programs(binary, out) as (rtpengine, relay):
        calls = Calls(rtpengine, relay)
        calls.one_way("one way", Phone(OPUS, fan), Phone(OPUS, keys))
        calls.both_ways("both ways", Phone(OPUS, fan), Phone(OPUS, keys))
        calls.one_way("telephone", Phone(PCMU, line, EVENTS), Phone(PCMU, line))
        calls.between("between", Phone(OPUS, fan), Phone(OPUS, keys, behind_nat=True))
        time.sleep(HANDSHAKES_S)
        off_at = round(SWITCH_S / PACKET_S)
        switched = calls.voices[0]
        play(calls.phones, {off_at: lambda: relay.switch_off(switched.stream)})
        judge = Judge(relay, out)
        for voice in calls.voices:
            judge.judge(voice, off_at if voice is switched else None)
    return judge.checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path, metavar="QUIETWIRE", help="the quietwire program")
    parser.add_argument("--out", type=Path, help="write the logs and the recordings to this folder")
    arguments = parser.parse_args()
    # A signal ends the programs too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        try:
            checks = run(arguments.binary.resolve(), out)
        except (OSError, RuntimeError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return verdict(checks)


if __name__ == "__main__":
    sys.exit(main())
