"""A relay process, its streams, and the senders and receivers of their packets."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import resource
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ogg import opus_file, opus_packets

ROOT = Path(__file__).parents[4]
# cargo build -p quietwire-cli --features relay
BINARY = os.environ.get("QUIETWIRE") or str(ROOT / "target/debug/quietwire")
PACKET_S = 0.020
UNUSED_ADDRESS = "127.0.0.1:9"  # no socket is bound to it

# The process and its interface.


@dataclass
class Response:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> dict:
        return json.loads(self.text)

    @property
    def error(self) -> str:
        """The text of an error."""
        assert self.headers.get_content_type() == "application/json", self.text
        assert list(self.json) == ["error"] and self.json["error"].strip()
        return self.json["error"]


class Relay:
    """A relay process on a free port."""

    def __init__(self, *args: str, files: int | None = None, env: dict[str, str] | None = None) -> None:
        limit = files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        command = [BINARY, "relay", "--http", "127.0.0.1:0", *args]
        pipe = subprocess.PIPE
        environment = {**os.environ, **(env or {})}
        self.process = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, preexec_fn=limit, env=environment
        )
        line = ""
        if select.select([self.process.stdout], [], [], 10)[0]:
            line = self.process.stdout.readline()
        found = re.fullmatch(r"relay: control on http://([0-9.:]+), \d+ workers?\n", line)
        if not found:
            self.kill()
            pytest.fail(f"the relay did not start: {line!r}, {self.process.stderr.read()!r}")
        self.address = found[1]

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """Sends a request. A body that is not text is sent as JSON."""
        if body is not None and not isinstance(body, str | bytes):
            body = json.dumps(body)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            fields.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection(self.address, timeout=5)
        with contextlib.closing(connection):
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            return Response(response.status, response.msg, response.read().decode())

    def create(self, **fields: object) -> dict:
        response = self.request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS, **fields})
        assert response.status == 201, response.text
        return response.json

    def show(self, id: str) -> dict:
        response = self.request("GET", f"/v1/streams/{id}")
        assert response.status == 200, response.text
        return response.json

    def patch(self, id: str, **change: object) -> dict:
        response = self.request("PATCH", f"/v1/streams/{id}", change)
        assert response.status == 200, response.text
        return response.json

    def ids(self) -> list[str]:
        return [stream["id"] for stream in self.request("GET", "/v1/streams").json["streams"]]

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds: float) -> int:
        """Waits for the end of the process and returns its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the relay still runs after {seconds} s")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.stdout.close()
        self.process.stderr.close()


# RTP.


def rtp(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes = b"") -> bytes:
    fields = (0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return struct.pack("!BBHII", *fields) + payload


@dataclass
class ReceivedPacket:
    """A packet that the relay sent, and when it was received."""

    at: float
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    datagram: bytes

    @classmethod
    def parse(cls, datagram: bytes) -> ReceivedPacket:
        first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", datagram)
        assert first >> 6 == 2 and not first & 0x20
        begin = 12 + 4 * (first & 15)
        if first & 0x10:
            begin += 4 + 4 * struct.unpack_from("!H", datagram, begin + 2)[0]
        now = time.monotonic()
        return cls(now, second & 0x7F, sequence, timestamp, ssrc, datagram[begin:], datagram)


class Leg:
    """A stream with its sender and its receiver on one socket. Sequence numbers and timestamps wrap
    after a few packets."""

    FIRST_SEQUENCE = 0xFFF0
    FIRST_TIMESTAMP = -4800
    sources = itertools.count(0x51570000)

    def __init__(
        self, relay: Relay, payload: Callable[[int], bytes], ticks: int = 960, **fields: object
    ) -> None:
        self.relay, self.payload, self.ticks = relay, payload, ticks
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        host, port = self.socket.getsockname()
        # A long hold, so that a delayed test process does not look like packet loss.
        # The sender is the receiver too, which must be intended.
        own = f"{host}:{port}"
        stream = relay.create(**{"send_to": own, "accept_from": own, "hold_ms": 200, **fields})
        self.id, self.payload_type = stream["id"], stream["payload_type"]
        host, port = stream["listen"].rsplit(":", 1)
        self.listen = (host, int(port))
        self.ssrc = next(self.sources)
        self.received: list[ReceivedPacket] = []
        self.sent_at: dict[int, float] = {}

    def timestamp(self, n: int) -> int:
        return (self.FIRST_TIMESTAMP + n * self.ticks) & 0xFFFFFFFF

    def packet(self, n: int) -> bytes:
        fields = self.payload_type, self.FIRST_SEQUENCE + n, self.timestamp(n), self.ssrc
        return rtp(*fields, self.payload(n))

    def send(self, n: int) -> None:
        self.sent_at[n] = time.monotonic()
        self.send_raw(self.packet(n))

    def send_raw(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, self.listen)

    def receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.received.append(ReceivedPacket.parse(self.socket.recv(16384)))

    def show(self) -> dict:
        return self.relay.show(self.id)

    def counts(self) -> dict[str, int]:
        """The packet counts, with those of dropped packets by their reason."""
        packets = self.show()["packets"]
        dropped = packets["dropped"]
        accounted = packets["replaced"] + packets["relayed"] + packets["waiting"] + sum(dropped.values())
        assert packets["received"] == accounted, packets
        return packets | dropped

    def is_continuous(self) -> bool:
        """Whether sequence numbers and timestamps have no gap and the source is the sender's."""
        pairs = list(itertools.pairwise(self.received))
        return (
            len(self.received) > 1
            and all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairs)
            and all((b.timestamp - a.timestamp) & 0xFFFFFFFF == self.ticks for a, b in pairs)
            and {h.ssrc for h in self.received} == {self.ssrc}
        )

    def payloads_of(self, begin: int, end: int) -> dict[int, bytes]:
        """The received payloads of the sender's packets `begin` to `end`, by packet number."""
        of = {self.timestamp(n): n for n in range(begin, end)}
        return {of[h.timestamp]: h.payload for h in self.received if h.timestamp in of}


def listen(legs: Iterable[Leg], seconds: float) -> None:
    until = time.monotonic() + seconds
    by_socket = {leg.socket: leg for leg in legs}
    while (left := until - time.monotonic()) > 0:
        for ready in select.select(list(by_socket), [], [], left)[0]:
            by_socket[ready].receive()


def play(legs: list[Leg], numbers: range, events: dict[int, Callable[[], object]] | None = None) -> None:
    """Sends one packet per leg every 20 ms and receives. `events` run before the packet of their number."""
    begin = time.monotonic()
    for index, n in enumerate(numbers):
        if events and n in events:
            events[n]()
        for leg in legs:
            leg.send(n)
        listen(legs, begin + (index + 1) * PACKET_S - time.monotonic())


def noise(count: int, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(count) * 3000).astype(">i2")


def l16(samples: np.ndarray, size: int = 960) -> Callable[[int], bytes]:
    return lambda n: samples[n * size : (n + 1) * size].tobytes()


def mu_law(samples: np.ndarray) -> bytes:
    """G.711 mu-law."""
    linear = np.minimum(np.abs(samples.astype(int)), 32635) + 132
    exponent = np.floor(np.log2(linear)).astype(int) - 7
    code = exponent << 4 | (linear >> (exponent + 3)) & 15
    return (~(code | np.where(samples < 0, 0x80, 0)) & 0xFF).astype(np.uint8).tobytes()


def from_mu_law(coded: bytes) -> np.ndarray:
    code = ~np.frombuffer(coded, np.uint8).astype(int) & 0xFF
    linear = ((((code & 15) << 3) + 132) << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -linear, linear)


def from_l16(payload: bytes) -> np.ndarray:
    return np.frombuffer(payload, ">i2")


def dbfs(samples: np.ndarray) -> float:
    power = np.mean((samples / 32768.0) ** 2)
    return 10 * np.log10(max(power, 1e-12))


def median_drop_db(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Median attenuation of parts before and after, dB. The median ignores single late hops."""
    return float(np.median([dbfs(before) - dbfs(after) for before, after in parts]))


def drop_db(leg: Leg, begin: int, end: int, decode: Callable[[bytes], np.ndarray]) -> float:
    """Median attenuation of the packets `begin` to `end`, dB."""
    received = leg.payloads_of(begin, end)
    assert len(received) == end - begin
    return median_drop_db((decode(leg.payload(n)), decode(received[n])) for n in received)


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


# Opus, through ffmpeg and Ogg (RFC 3533, RFC 7845).


def ffmpeg(data: bytes, *args: str) -> bytes:
    command = ["ffmpeg", "-v", "error", *args, "pipe:1"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def to_opus(samples: np.ndarray) -> list[bytes]:
    """Opus packets of 20 ms, mono."""
    pcm = ["-f", "s16be", "-ar", "48000", "-ac", "1", "-i", "pipe:0"]
    return opus_packets(*pcm, bitrate="48k", data=samples.tobytes())


def from_opus(packets: list[bytes]) -> np.ndarray:
    pcm = ["-f", "s16be", "-ar", "48000", "-ac", "1"]
    return np.frombuffer(ffmpeg(opus_file(packets), "-f", "ogg", "-i", "pipe:0", *pcm), ">i2")


DROPPED = (
    "late duplicate replayed not_authentic malformed rtcp unexpected_payload_type probation empty undecodable silent "
    "overflow not_encoded from_target not_accepted"
).split()
ZERO_COUNTS = dict.fromkeys(
    "received sent replaced relayed waiting lost recovered concealed restarts delay_changes failed unreachable".split(), 0
) | {"dropped": dict.fromkeys(DROPPED, 0)}
