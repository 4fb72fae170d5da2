"""Calls through a real rtpengine with the relay in them, wired as docs/sfu.md tells it.

    python tests/sfu/rtpengine_call.py QUIETWIRE [--out FOLDER]

Starts both programs and plays four calls at once, half a minute in all, with bare RTP sockets as
phones. Prints one line for each check; exits with 1 where one fails. FOLDER keeps the logs and what
was heard. Needs rtpengine, ffmpeg (with libopus) and numpy.
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

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from ogg import opus_file, opus_packets  # noqa: E402

SAMPLES = ROOT / "samples"

HOST = "127.0.0.1"
NOWHERE = (HOST, 9)
PACKET_S = 0.020
SECONDS, SWITCH_S = 17.0, 9.5  # of all calls, and when one stream is switched off
SETTLING_S = 1.0  # of the denoiser, and of a switch
HANDSHAKES_S = 2.0
REPORTS_S = 1.0  # from one report (RTCP) to the next
LEAST_DROP_DB = 15.0
SPEECH_WITHIN_DB = 2.0
OFF_WITHIN_DB = 1.5
GAP_S, GAP_DBFS = 0.005, -75.0
EVENTS_LATE_S = 0.25

Address = tuple[str, int]


def written(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def read(text: str) -> Address:
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
    """The value that begins at `at`, and where it ends."""
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
    """The program, by its `ng` protocol."""

    def __init__(self, log: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((HOST, 0))
            self.address = free.getsockname()
        command = ["rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr"]
        command += [f"--interface={HOST}", f"--listen-ng={written(self.address)}", "--num-threads=2"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(self.address)
        self.cookies = itertools.count()

    def ask(self, command: str, wait_s: float = 5, **keys: object) -> dict:
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
                self.ask("ping", wait_s=0.1)
                return
            time.sleep(0.1)
        raise RuntimeError("rtpengine did not answer within 10 s")

    def offer(self, call: str, sdp: str, **keys: object) -> str:
        return self.ask("offer", call_id=call, from_tag="a", sdp=sdp, **keys)["sdp"]

    def answer(self, call: str, sdp: str, **keys: object) -> str:
        return self.ask("answer", call_id=call, from_tag="a", to_tag="b", sdp=sdp, **keys)["sdp"]


class Relay:
    """The program, by its interface over HTTP."""

    def __init__(self, binary: Path, log: Path) -> None:
        command = [str(binary), "relay", "--http", f"{HOST}:0"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file)
        self.address = ""

    def await_start(self) -> None:
        ready = select.select([self.process.stdout], [], [], 20)[0]
        said = self.process.stdout.readline().decode() if ready else ""
        found = re.search(r"http://([0-9.:]+)", said)
        if not found:
            raise RuntimeError(f"the relay did not start: {said!r}; see its log")
        self.address = found[1]

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=5)) as connection:
            fields = {"content-type": "application/json"}
            connection.request(method, path, body and json.dumps(body), fields)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 300:
            raise RuntimeError(f"the relay: {method} {path}: {answer.status} {text}")
        return json.loads(text)

    def create(self, id: str, send_to: Address, **wish: object) -> Address:
        """Where the new stream listens."""
        made = self.ask("POST", "/v1/streams", {"id": id, "send_to": written(send_to), **wish})
        return read(made["listen"])

    def switch_off(self, id: str) -> None:
        self.ask("PATCH", f"/v1/streams/{id}", {"on": False})


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
    """The same with media at `listen`; reports stay where they were."""
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
    ticks: int  # of a packet
    rate: int  # at which it is judged
    formats: str  # of the SDP: payload types, then what they are
    nothing: bytes  # a payload of silence


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
class Digit:
    """One that is dialled (RFC 4733): its packets have the timestamp of its beginning, and its end
    is told three times."""

    name: str
    event: int
    begin: int  # packet of the call
    packets: int
    beside_voice: bool = False  # or in its place

    def payload(self, n: int) -> bytes | None:
        place = n - self.begin
        if not 0 <= place < self.packets + 2:
            return None
        is_end = place >= self.packets - 1
        return struct.pack("!BBH", self.event, 10 | 0x80 * is_end, min(place + 1, self.packets) * PCMU.ticks)


# After one of a second or more rtpengine 10.5 may hold the next one back for as long.
DIGITS = [
    Digit("a digit of 60 ms in the place of voice", 1, 250, 3),
    Digit("a digit of 160 ms in the place of voice", 2, 350, 8),
    Digit("a digit of 600 ms in the place of voice", 3, 450, 30),
    Digit("a digit of 160 ms beside voice", 4, 600, 8, beside_voice=True),
]


@dataclass(frozen=True)
class Packet:
    """A datagram of RTP, and when and where it came from."""

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
    """Sends RTP, and reports (RTCP) beside it, to where it is told; hears both."""

    sources = itertools.count(0x52540000, 0x101)

    def __init__(
        self, codec: Codec, payloads: list[bytes], digits: list[Digit] | None = None, hides: bool = False
    ) -> None:
        self.codec, self.payloads, self.digits, self.hides = codec, payloads, digits or [], hides
        self.ssrc = next(self.sources)
        self.sequence = 0xFF80  # wraps soon
        self.media, self.reports = datagram_socket(), datagram_socket()
        self.media_to = self.reports_to = NOWHERE
        self.sent: list[Packet] = []
        self.sent_reports: list[bytes] = []
        self.heard: list[Packet] = []
        self.heard_reports: list[bytes] = []

    @property
    def address(self) -> Address:
        return self.media.getsockname()

    def sdp(self) -> str:
        """One that hides, as behind a NAT, does not know its own address."""
        (host, port), (_, reports) = self.address, self.reports.getsockname()
        if self.hides:
            host, port, reports = *NOWHERE, NOWHERE[1] + 1
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {self.codec.formats}a=rtcp:{reports}\r\n"
        )

    def obey(self, sdp: str) -> None:
        self.media_to, self.reports_to = media_address(sdp), report_address(sdp)

    def timestamp(self, n: int) -> int:
        """Of packet `n`; wraps soon."""
        return (n - 200) * self.codec.ticks & 0xFFFFFFFF

    def number(self, timestamp: int) -> float:
        """Of the packet with that timestamp."""
        offset = (timestamp - self.timestamp(0) + (1 << 31)) & 0xFFFFFFFF
        return (offset - (1 << 31)) / self.codec.ticks

    def speak(self, n: int) -> None:
        dialled = next((digit for digit in self.digits if digit.payload(n)), None)
        if dialled:
            marker = 0x80 * (n == dialled.begin)
            self.send(EVENT | marker, self.timestamp(dialled.begin), dialled.payload(n))
        if not dialled or dialled.beside_voice:
            self.send(self.codec.payload_type, self.timestamp(n), self.payloads[n])
        every = round(REPORTS_S / PACKET_S)
        # One that hides reports first, so that it is found.
        if n % every == every // 2 - 5 * self.hides:
            self.sent_reports.append(self.report(n))
            self.reports.sendto(self.sent_reports[-1], self.reports_to)

    def send(self, second_byte: int, timestamp: int, payload: bytes) -> None:
        numbers = 0x80, second_byte, self.sequence, timestamp, self.ssrc
        packet = Packet(struct.pack("!BBHII", *numbers) + payload, self.address, time.monotonic())
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.sent.append(packet)
        self.media.sendto(packet.datagram, self.media_to)

    def report(self, n: int) -> bytes:
        """A sender report (RFC 3550, section 6.4.1) and the name that goes with it."""
        now = time.time() + 2208988800
        times = int(now), int(now % 1 * 2**32), self.timestamp(n)
        sender = struct.pack("!BBHIIIIII", 0x80, 200, 6, self.ssrc, *times, n, n * 100)
        return sender + struct.pack("!BBHIBB6s", 0x81, 202, 3, self.ssrc, 1, 5, b"phone")

    def hear(self) -> None:
        now = time.monotonic()
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(Packet(*self.media.recvfrom(16384), now))
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard_reports.append(self.reports.recv(16384))


def play(phones: list[Phone], events: dict[int, Callable[[], None]]) -> None:
    """All packets in their time; an event comes before the packets of its number."""
    by_file = {file: phone for phone in phones for file in (phone.media, phone.reports)}
    begin = time.monotonic()
    packets = round(SECONDS / PACKET_S)
    for n in range(packets + 20):
        if n in events:
            events[n]()
        for phone in phones if n < packets else ():
            phone.speak(n)
        while (left := begin + (n + 1) * PACKET_S - time.monotonic()) > 0:
            for file in select.select(list(by_file), [], [], left)[0]:
                by_file[file].hear()


# The calls.

PLAIN = {"transport_protocol": "RTP/AVP", "ICE": "remove", "rtcp_mux": ["demux"]}
SECURE = {"transport_protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "rtcp_mux": ["offer"]}
ASYMMETRIC = {"flags": ["asymmetric"]}


@dataclass
class Voice:
    """One direction of a call: what B, or A, hears."""

    name: str
    speaker: Phone
    listener: Phone
    source: Address  # that packets must come from
    stream: str | None = None  # of the relay


@dataclass
class Calls:
    rtpengine: Rtpengine
    relay: Relay
    phones: list[Phone] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)

    def stream(self, name: str, speaker: Phone, send_to: Address) -> Address:
        wish = {"codec": "pcmu", "relayed_payload_types": [EVENT]} if speaker.codec is PCMU else {}
        return self.relay.create(name.replace(" ", "-"), send_to, **wish)

    def voice(self, name: str, speaker: Phone, listener: Phone, source: Address, clean: bool = True) -> None:
        self.voices.append(Voice(name, speaker, listener, source, name.replace(" ", "-") if clean else None))

    def connect(self, a: Phone, b: Phone, for_b: str, for_a: str) -> None:
        """Tells the phones where to send to. B speaks first: if it hides, that is how it is found."""
        b.obey(for_b)
        a.obey(for_a)
        self.phones += [b, a]

    def one_way(self, name: str, a: Phone, b: Phone) -> None:
        """A's voice goes through the relay to B; B's goes to rtpengine as ever."""
        offered = self.rtpengine.offer(name, a.sdp(), **PLAIN)
        to_b = self.stream(f"{name} to B", a, b.address)
        answered = self.rtpengine.answer(name, moved(b.sdp(), to_b), **ASYMMETRIC)
        self.connect(a, b, offered, answered)
        self.voice(f"{name} to B", a, b, to_b)
        self.voice(f"{name} to A", b, a, media_address(answered), clean=False)

    def both_ways(self, name: str, a: Phone, b: Phone) -> None:
        """Each phone sends to rtpengine and hears the relay."""
        to_a = self.stream(f"{name} to A", b, a.address)
        offered = self.rtpengine.offer(name, moved(a.sdp(), to_a), **PLAIN, **ASYMMETRIC)
        to_b = self.stream(f"{name} to B", a, b.address)
        answered = self.rtpengine.answer(name, moved(b.sdp(), to_b), **ASYMMETRIC)
        self.connect(a, b, offered, answered)
        self.voice(f"{name} to B", a, b, to_b)
        self.voice(f"{name} to A", b, a, to_a)

    def between(self, name: str, a: Phone, b: Phone) -> None:
        """The relay between two calls of rtpengine. A's has DTLS and ICE; B's phone is behind a
        NAT. What A's phone cannot do itself, one more call does in its place."""
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
            self.unaltered(voice)
        else:
            self.whole(voice)
            self.clean(voice, off_at)
        for digit in voice.speaker.digits:
            self.dialled(voice, digit)
        self.reported(voice)

    def unaltered(self, voice: Voice) -> None:
        sent = [packet.datagram for packet in voice.speaker.sent]
        heard = [packet.datagram for packet in voice.listener.heard]
        sources = {packet.source for packet in voice.listener.heard}
        self.check(
            voice,
            heard == sent and sources == {voice.source},
            f"{len(heard)} of {len(sent)} packets, {sum(map(sent.__contains__, heard))} of them the "
            f"very bytes, from {spoken(sources)} (all, from rtpengine)",
        )

    def whole(self, voice: Voice) -> None:
        speaker, heard = voice.speaker, voice.listener.heard
        sources = {packet.source for packet in heard}
        self.check(voice, sources == {voice.source}, f"from {spoken(sources)} ({written(voice.source)})")
        jumps = sum((b.sequence - a.sequence) & 0xFFFF != 1 for a, b in itertools.pairwise(heard))
        strange = sum(packet.ssrc != speaker.ssrc for packet in heard)
        due = {speaker.number(p.timestamp) for p in speaker.sent if p.payload_type != EVENT}
        missing = due - {speaker.number(p.timestamp) for p in heard if p.payload_type != EVENT}
        counts = self.relay.ask("GET", f"/v1/streams/{voice.stream}")["packets"]
        self.check(
            voice,
            not jumps and not strange and not missing and counts["received"] == len(speaker.sent),
            f"{len(speaker.sent)} packets sent, {counts['received']} reached the relay, {len(heard)} "
            f"heard: {jumps} jumps of numbers, {strange} of another source, {len(missing)} missing",
        )

    def clean(self, voice: Voice, off_at: int | None) -> None:
        rate, per_packet = voice.speaker.codec.rate, round(PACKET_S * voice.speaker.codec.rate)
        sent, heard = (self.sound(voice, packets) for packets in (voice.speaker.sent, voice.listener.heard))
        settling = round(SETTLING_S * rate)
        on = slice(settling, off_at and off_at * per_packet)
        floors = [dbfs(noise_floor(path[on], rate)) for path in (sent, heard)]
        speech = [speech_level(path[on], rate) for path in (sent, heard)]
        self.check(
            voice,
            floors[0] - floors[1] >= LEAST_DROP_DB,
            f"noise floor {floors[0]:.1f} dBFS sent, {floors[1]:.1f} heard: "
            f"{floors[0] - floors[1]:.1f} dB lower (at least {LEAST_DROP_DB:g})",
        )
        self.check(
            voice,
            abs(speech[1] - speech[0]) <= SPEECH_WITHIN_DB,
            f"speech {speech[0]:.1f} dBFS sent, {speech[1]:.1f} heard: "
            f"{speech[1] - speech[0]:+.1f} dB (within {SPEECH_WITHIN_DB:g})",
        )
        if off_at is not None:
            self.switched_off(voice, off_at, sent, heard, floors[1])
        self.keep(voice, rate, sent, heard)

    def switched_off(
        self, voice: Voice, off_at: int, sent: np.ndarray, heard: np.ndarray, clean_floor: float
    ) -> None:
        speaker, rate = voice.speaker, voice.speaker.codec.rate
        switch, settled = round(off_at * PACKET_S * rate), off_at + round(SETTLING_S / PACKET_S)
        off = slice(switch + round(SETTLING_S * rate), None)
        floors = [dbfs(noise_floor(path[off], rate)) for path in (sent, heard)]
        self.check(
            voice,
            abs(floors[1] - floors[0]) <= OFF_WITHIN_DB,
            f"off: noise floor {floors[0]:.1f} dBFS sent, {floors[1]:.1f} heard: "
            f"{floors[1] - floors[0]:+.1f} dB (within {OFF_WITHIN_DB:g})",
        )
        payloads = {p.timestamp: p.payload for p in speaker.sent if speaker.number(p.timestamp) >= settled}
        same = sum(payloads.get(p.timestamp) == p.payload for p in voice.listener.heard)
        self.check(
            voice,
            same == len(payloads),
            f"off: {same} of {len(payloads)} payloads are those that were sent",
        )
        around = slice(switch - rate // 2, switch + rate)
        gap_dbfs = min(GAP_DBFS, clean_floor - 20)
        lowest = quietest(sent[around], heard[around], round(GAP_S * rate), gap_dbfs)
        self.check(
            voice,
            lowest > gap_dbfs,
            f"switch: the quietest {1000 * GAP_S:g} ms are at {lowest:.1f} dBFS "
            f"(no gap: above {gap_dbfs:.1f})",
        )

    def dialled(self, voice: Voice, digit: Digit) -> None:
        def events(packets: list[Packet]) -> list[Packet]:
            found = [packet for packet in packets if packet.payload_type == EVENT]
            return [packet for packet in found if packet.payload[0] == digit.event]

        sent, heard = events(voice.speaker.sent), events(voice.listener.heard)
        times = {packet.timestamp for packet in heard}
        late = max((b.at - a.at for a, b in zip(sent, heard, strict=False)), default=float("inf"))
        self.check(
            voice,
            [p.payload for p in heard] == [p.payload for p in sent]
            and times == {sent[0].timestamp}
            and late <= EVENTS_LATE_S,
            f"{digit.name}: {len(heard)} of {len(sent)} packets, {len(times)} timestamps, {1000 * late:.0f} "
            f"ms late at most (all, with that of its beginning, within {1000 * EVENTS_LATE_S:g})",
        )

    def reported(self, voice: Voice) -> None:
        sent, heard = voice.speaker.sent_reports, voice.listener.heard_reports
        self.check(
            voice, heard == sent, f"{len(heard)} of {len(sent)} reports (RTCP) came past the relay, unaltered"
        )

    def sound(self, voice: Voice, packets: list[Packet]) -> np.ndarray:
        codec, number = voice.speaker.codec, voice.speaker.number
        payloads = {number(p.timestamp): p.payload for p in packets if p.payload_type == codec.payload_type}
        count = round(SECONDS / PACKET_S)
        return decoded(codec, [payloads.get(n, codec.nothing) for n in range(count)])

    def keep(self, voice: Voice, rate: int, sent: np.ndarray, heard: np.ndarray) -> None:
        """Left: what was sent; right: what was heard."""
        both = np.stack([sent[: len(heard)], heard[: len(sent)]], axis=1)
        with wave.open(str(self.out / f"{voice.stream}.wav"), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((both * 32767).astype("<i2").tobytes())


def spoken(sources: set[Address]) -> str:
    return " and ".join(sorted(map(written, sources))) or "nobody"


# Sound, through ffmpeg.


def ffmpeg(*args: str, data: bytes = b"") -> bytes:
    command = ["ffmpeg", "-v", "error", *args, "pipe:1"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True, timeout=60).stdout


def coded(codec: Codec, sample: str) -> list[bytes]:
    """Payloads for a whole call; the sample is repeated."""
    sound = ["-stream_loop", "-1", "-i", str(SAMPLES / sample), "-t", f"{SECONDS:g}", "-ac", "1"]
    if codec is PCMU:
        data = ffmpeg(*sound, "-ar", "8000", "-f", "mulaw")
        return [data[at : at + 160] for at in range(0, len(data) - 159, 160)]
    return opus_packets(*sound, bitrate="48k")


def decoded(codec: Codec, payloads: list[bytes]) -> np.ndarray:
    if codec is PCMU:
        file, form = b"".join(payloads), ["-f", "mulaw", "-ar", "8000", "-ac", "1"]
    else:
        file, form = opus_file(payloads), ["-f", "ogg"]
    pcm = ffmpeg(*form, "-i", "pipe:0", "-f", "s16le", "-ar", str(codec.rate), "-ac", "1", data=file)
    return np.frombuffer(pcm, "<i2") / 32768


def run(binary: Path, out: Path) -> list[Check]:
    fan, keys, line = coded(OPUS, "office-fan.wav"), coded(OPUS, "keyboard.wav"), coded(PCMU, "telephone.wav")
    with programs(binary, out) as (rtpengine, relay):
        calls = Calls(rtpengine, relay)
        calls.one_way("one way", Phone(OPUS, fan), Phone(OPUS, keys))
        calls.both_ways("both ways", Phone(OPUS, fan), Phone(OPUS, keys))
        calls.one_way("telephone", Phone(PCMU, line, DIGITS), Phone(PCMU, line))
        calls.between("between", Phone(OPUS, fan), Phone(OPUS, keys, hides=True))
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
    parser.add_argument("--out", type=Path, help="keep the logs and what was heard there")
    arguments = parser.parse_args()
    # So that a signal ends the programs too.
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
