"""Black-box tests of `quietwire relay`: the interface over HTTP, RTP on real sockets, signals.

    QUIETWIRE=target/debug/quietwire python -m pytest tests/relay

Needs pytest, numpy and ffmpeg (with libopus).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import random
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ogg import ogg_packets, opus_file

BINARY = os.environ.get("QUIETWIRE") or str(Path(__file__).parent / "../../target/debug/quietwire")
PACKET_S = 0.020
ANYWHERE = "127.0.0.1:9"  # where nobody listens


# The process and its interface.


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> dict:
        return json.loads(self.text)

    @property
    def error(self) -> str:
        """The only thing that a refusal says."""
        assert self.headers.get_content_type() == "application/json", self.text
        assert list(self.json) == ["error"] and self.json["error"].strip()
        return self.json["error"]


class Relay:
    """A relay on a free port."""

    def __init__(self, *args: str, files: int | None = None) -> None:
        limit = files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        command = [BINARY, "relay", "--http", "127.0.0.1:0", *args]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=limit)
        said = ""
        if select.select([self.process.stdout], [], [], 10)[0]:
            said = self.process.stdout.readline()
        found = re.fullmatch(r"relay: control on http://([0-9.:]+), \d+ workers?\n", said)
        if not found:
            self.kill()
            pytest.fail(f"the relay did not start: {said!r}, {self.process.stderr.read()!r}")
        self.address = found[1]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """A request; a body that is no text is sent as JSON."""
        if body is not None and not isinstance(body, str | bytes):
            body = json.dumps(body)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            fields.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection(self.address, timeout=5)
        with contextlib.closing(connection):
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            return Answer(answer.status, answer.msg, answer.read().decode())

    def create(self, **wish: object) -> dict:
        answer = self.ask("POST", "/v1/streams", {"send_to": ANYWHERE, **wish})
        assert answer.status == 201, answer.text
        return answer.json

    def show(self, id: str) -> dict:
        answer = self.ask("GET", f"/v1/streams/{id}")
        assert answer.status == 200, answer.text
        return answer.json

    def patch(self, id: str, **change: object) -> dict:
        answer = self.ask("PATCH", f"/v1/streams/{id}", change)
        assert answer.status == 200, answer.text
        return answer.json

    def ids(self) -> list[str]:
        return [stream["id"] for stream in self.ask("GET", "/v1/streams").json["streams"]]

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds: float) -> int:
        """Its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the relay still ran after {seconds} s")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="module")
def long_lived() -> Iterator[Relay]:
    with Relay() as relay:
        yield relay


@pytest.fixture
def relay(long_lived: Relay) -> Iterator[Relay]:
    """One relay for all tests, without streams at first; it must survive each of them."""
    yield long_lived
    assert long_lived.is_alive()
    for id in long_lived.ids():
        assert long_lived.ask("DELETE", f"/v1/streams/{id}").status == 204


# RTP.


def rtp(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes = b"") -> bytes:
    numbers = (0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return struct.pack("!BBHII", *numbers) + payload


@dataclass
class Heard:
    """A packet that the relay sent."""

    at: float
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    datagram: bytes

    @classmethod
    def parse(cls, datagram: bytes) -> Heard:
        first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", datagram)
        assert first >> 6 == 2 and not first & 0x20
        begin = 12 + 4 * (first & 15)
        if first & 0x10:
            begin += 4 + 4 * struct.unpack_from("!H", datagram, begin + 2)[0]
        now = time.monotonic()
        return cls(now, second & 0x7F, sequence, timestamp, ssrc, datagram[begin:], datagram)


class Leg:
    """A stream with its sender and its receiver, on one socket. Numbers wrap after a few packets."""

    FIRST_SEQUENCE = 0xFFF0
    FIRST_TIMESTAMP = -4800
    sources = itertools.count(0x51570000)

    def __init__(
        self, relay: Relay, payload: Callable[[int], bytes], ticks: int = 960, **wish: object
    ) -> None:
        self.relay, self.payload, self.ticks = relay, payload, ticks
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        host, port = self.socket.getsockname()
        # A long hold, so that a test that is kept waiting is not taken for a lossy network.
        stream = relay.create(**{"send_to": f"{host}:{port}", "hold_ms": 200, **wish})
        self.id, self.payload_type = stream["id"], stream["payload_type"]
        host, port = stream["listen"].rsplit(":", 1)
        self.listen = (host, int(port))
        self.ssrc = next(self.sources)
        self.heard: list[Heard] = []

    def timestamp(self, n: int) -> int:
        return (self.FIRST_TIMESTAMP + n * self.ticks) & 0xFFFFFFFF

    def packet(self, n: int) -> bytes:
        numbers = self.payload_type, self.FIRST_SEQUENCE + n, self.timestamp(n), self.ssrc
        return rtp(*numbers, self.payload(n))

    def send(self, n: int) -> None:
        self.throw(self.packet(n))

    def throw(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, self.listen)

    def hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(Heard.parse(self.socket.recv(16384)))

    def show(self) -> dict:
        return self.relay.show(self.id)

    def is_continuous(self) -> bool:
        """Whether numbers and timestamps go on without a gap, all of the sender's source."""
        pairs = list(itertools.pairwise(self.heard))
        return (
            len(self.heard) > 1
            and all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairs)
            and all((b.timestamp - a.timestamp) & 0xFFFFFFFF == self.ticks for a, b in pairs)
            and {h.ssrc for h in self.heard} == {self.ssrc}
        )

    def sound(self, begin: int, end: int) -> dict[int, bytes]:
        """What was heard of packets `begin` to `end`, by the sender's counting."""
        of = {self.timestamp(n): n for n in range(begin, end)}
        return {of[h.timestamp]: h.payload for h in self.heard if h.timestamp in of}


def listen(legs: Iterable[Leg], seconds: float) -> None:
    until = time.monotonic() + seconds
    by_socket = {leg.socket: leg for leg in legs}
    while (left := until - time.monotonic()) > 0:
        for ready in select.select(list(by_socket), [], [], left)[0]:
            by_socket[ready].hear()


def play(legs: list[Leg], numbers: range, events: dict[int, Callable[[], object]] | None = None) -> None:
    """Sends packets in their time and hears; an event comes before the packets of its number."""
    begin = time.monotonic()
    for turn, n in enumerate(numbers):
        if events and n in events:
            events[n]()
        for leg in legs:
            leg.send(n)
        listen(legs, begin + (turn + 1) * PACKET_S - time.monotonic())


def noise(count: int, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(count) * 3000).astype(">i2")


def l16(samples: np.ndarray, size: int = 960) -> Callable[[int], bytes]:
    return lambda n: samples[n * size : (n + 1) * size].tobytes()


def mu_law(samples: np.ndarray) -> bytes:
    """G.711 mu-law, after the usual reference code."""
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


def drop_db(leg: Leg, begin: int, end: int, decode: Callable[[bytes], np.ndarray]) -> float:
    """How much quieter packets came out; the median, so that one late hop does not decide."""
    heard = leg.sound(begin, end)
    assert len(heard) == end - begin
    return float(np.median([dbfs(decode(leg.payload(n))) - dbfs(decode(heard[n])) for n in heard]))


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


# Opus, through ffmpeg and Ogg (RFC 3533, RFC 7845).


def ffmpeg(data: bytes, *args: str) -> bytes:
    command = ["ffmpeg", "-v", "error", *args, "pipe:1"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def to_opus(samples: np.ndarray) -> list[bytes]:
    """Packets of 20 ms, mono."""
    pcm = ["-f", "s16be", "-ar", "48000", "-ac", "1", "-i", "pipe:0"]
    coder = ["-c:a", "libopus", "-b:a", "48k", "-application", "voip", "-f", "ogg"]
    return ogg_packets(ffmpeg(samples.tobytes(), *pcm, *coder))[2:]


def from_opus(packets: list[bytes]) -> np.ndarray:
    pcm = ["-f", "s16be", "-ar", "48000", "-ac", "1"]
    return np.frombuffer(ffmpeg(opus_file(packets), "-f", "ogg", "-i", "pipe:0", *pcm), ">i2")


@pytest.fixture(scope="module")
def opus_noise() -> list[bytes]:
    return to_opus(noise(96000))


# Streams as resources.

ZERO_COUNTS = dict.fromkeys(
    "received sent relayed lost recovered concealed late duplicate malformed foreign strange "
    "undecodable restarts failed".split(),
    0,
)


def test_a_new_stream_has_the_documented_defaults(relay: Relay) -> None:
    stream = relay.create()
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", stream.pop("listen"))
    assert 0 <= stream.pop("seconds") < 1
    assert stream == {
        "id": stream["id"],
        "send_to": ANYWHERE,
        "codec": "opus",
        "payload_type": 111,
        "channels": 1,
        "on": True,
        "attenuation_db": 40.0,
        "model": "base",
            "model_heard": "base",
        "delay_ms": 20.0,
        "state": "idle",
        "levels": None,
        "packets": ZERO_COUNTS,
        "jitter_ms": 0.0,
        "missed_deadlines": 0,
        "cpu_seconds": 0.0,
        "last_error": None,
    }


@pytest.mark.parametrize(
    ("wish", "payload_type"),
    [
        ({"codec": "opus"}, 111),
        ({"codec": "opus", "rate_hz": 48000, "channels": 2}, 111),
        ({"codec": "pcmu"}, 0),
        ({"codec": "pcma", "rate_hz": 8000}, 8),
        ({"codec": "l16", "rate_hz": 48000}, 96),
        ({"codec": "l16", "rate_hz": 44100}, 11),
        ({"codec": "l16", "rate_hz": 44100, "channels": 2}, 10),
    ],
)
def test_a_codec_brings_its_payload_type(relay: Relay, wish: dict, payload_type: int) -> None:
    stream = relay.create(**wish)
    assert (stream["codec"], stream["payload_type"]) == (wish["codec"], payload_type)
    assert stream["channels"] == wish.get("channels", 1)


@pytest.mark.parametrize(
    "field",
    [
        {"id": "Az09-_.~" * 8},
        {"listen": "127.0.0.1:0"},
        {"listen": "[::]:0", "send_to": "[::1]:9"},
        {"codec": "l16", "rate_hz": 8000},
        {"codec": "l16", "rate_hz": 192000},
        {"payload_type": 127},
        {"payload_type": 35},
        {"red_payload_type": 63},
        {"red_payload_type": 63, "red_out": True},
        {"relayed_payload_types": [101, 13]},
        {"audio_level_id": 1},
        {"audio_level_id": 255},
        {"channels": 2},
        {"on": False},
        {"attenuation_db": 0},
        {"attenuation_db": 12.5},
        {"model": "tiny"},
        {"bitrate_bps": 6000},
        {"bitrate_bps": 510000},
        {"complexity": 0},
        {"complexity": 10},
        {"expected_loss_percent": 0},
        {"expected_loss_percent": 100},
        {"dtx": True},
        {"hold_ms": 0},
        {"hold_ms": 500},
    ],
    ids=str,
)
def test_each_field_is_taken_and_shown(relay: Relay, field: dict) -> None:
    stream = relay.create(**field)
    for name, value in field.items():
        if name in stream and name != "listen":
            assert stream[name] == value
    assert stream == relay.show(stream["id"]) | {name: stream[name] for name in ("seconds", "cpu_seconds")}


def test_streams_are_listed_shown_and_ended(relay: Relay) -> None:
    made = [relay.create(id=id) for id in ("b", "a", "c")]
    listed = relay.ask("GET", "/v1/streams").json["streams"]
    assert [stream["id"] for stream in listed] == ["a", "b", "c"]
    assert {s["id"]: s["listen"] for s in listed} == {s["id"]: s["listen"] for s in made}
    assert relay.show("b")["listen"] == made[0]["listen"]
    answer = relay.ask("DELETE", "/v1/streams/b")
    assert (answer.status, answer.text) == (204, "")
    assert relay.ids() == ["a", "c"]
    for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        answer = relay.ask(method, "/v1/streams/b", body)
        assert answer.status == 404 and "b" in answer.error
    assert relay.create(id="b")["packets"] == ZERO_COUNTS


def test_health_counts_streams_and_models_are_listed(relay: Relay) -> None:
    relay.create()
    health = relay.ask("GET", "/health")
    assert health.status == 200
    assert health.json == {"status": "ok", "streams": 1, "version": health.json["version"]}
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", health.json["version"])
    assert relay.ask("GET", "/v1/models").json == {"models": ["base", "tiny"]}


def test_a_change_changes_what_it_names_and_nothing_else(relay: Relay) -> None:
    before = relay.create(id="s", attenuation_db=20)
    changes = {"on": False, "attenuation_db": 7.5, "model": "tiny", "send_to": "127.0.0.1:10"}
    for name, value in changes.items():
        now = relay.patch("s", **{name: value})
        differing = {key for key in before if before[key] != now[key]}
        assert now[name] == value and differing <= {name, "seconds", "cpu_seconds"}
        before = now
    same = relay.patch("s")
    assert {name: same[name] for name in changes} == changes


def test_a_refused_change_changes_nothing(relay: Relay) -> None:
    relay.create(id="s")
    for wrong in ({"model": "huge"}, {"attenuation_db": -1}, {"send_to": "127.0.0.1:0"}, {"codec": "l16"}):
        right = {"on": False, "attenuation_db": 3, "model": "tiny", "send_to": "127.0.0.1:10"}
        answer = relay.ask("PATCH", "/v1/streams/s", right | wrong)
        assert answer.status == 422 and answer.error
        now = relay.show("s")
        found = [now[name] for name in ("on", "attenuation_db", "model", "send_to")]
        assert found == [True, 40.0, "base", ANYWHERE]


def test_no_two_streams_share_an_id_or_a_port(relay: Relay) -> None:
    streams = [relay.create() for _ in range(20)]
    for name in ("id", "listen"):
        assert len({stream[name] for stream in streams}) == 20
    taken = streams[0]
    for wish in ({"id": taken["id"]}, {"listen": taken["listen"]}):
        answer = relay.ask("POST", "/v1/streams", {"send_to": ANYWHERE} | wish)
        assert answer.status == 409 and next(iter(wish.values())) in answer.error
    assert len(relay.ids()) == 20


def test_of_requests_for_one_id_at_once_one_succeeds(relay: Relay) -> None:
    statuses = []

    def create() -> None:
        wish = {"send_to": ANYWHERE, "id": "one"}
        statuses.append(relay.ask("POST", "/v1/streams", wish).status)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 7 and relay.ids() == ["one"]


def test_ports_are_free_after_delete(relay: Relay) -> None:
    stream = relay.create()
    host, port = stream["listen"].rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError):
            other.bind((host, int(port)))
        relay.ask("DELETE", f"/v1/streams/{stream['id']}")
        other.bind((host, int(port)))
    assert relay.create(listen=stream["listen"])["listen"] == stream["listen"]


def test_a_stream_that_could_not_be_made_leaves_nothing(relay: Relay) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        for wish, status in (({"listen": listen}, 409), ({"hold_ms": 900}, 422)):
            answer = relay.ask("POST", "/v1/streams", {"send_to": ANYWHERE, "id": "s"} | wish)
            assert answer.status == status and answer.error
    assert relay.ask("GET", "/health").json["streams"] == 0
    relay.create(id="s")


# Requests that are wrong. Method, path, body, headers, status, and what the answer must speak of.


def wrong_wish(status: int, about: str, **wish: object) -> tuple:
    return "POST", "/v1/streams", {"send_to": ANYWHERE, **wish}, {}, status, about


def wrong_body(status: int, about: str, body: str | bytes, **headers: str) -> tuple:
    return "POST", "/v1/streams", body, headers, status, about


REFUSALS = [
    wrong_body(400, "body", ""),
    wrong_body(400, "body", "send_to=127.0.0.1:9"),
    wrong_body(400, "body", '{"send_to":'),
    wrong_body(400, "body", b"\xff\xfe{}"),
    wrong_body(400, "body", '{"send_to": "127.0.0.1:9", "attenuation_db": NaN}'),
    wrong_body(422, "body", "[" * 10000),
    wrong_body(415, "content-type", '{"send_to": "127.0.0.1:9"}', content_type="text/plain"),
    wrong_body(415, "content-type", "a=b", content_type="application/x-www-form-urlencoded"),
    wrong_body(413, "length", '{"send_to": "127.0.0.1:9", "id": "' + "x" * 65536 + '"}'),
    wrong_body(422, "send_to", "{}"),
    wrong_body(422, "body", "[]"),
    wrong_body(422, "body", "null"),
    wrong_body(422, "send_to", '{"send_to": "127.0.0.1:9", "send_to": "127.0.0.1:9"}'),
    wrong_wish(422, "volume", volume=11),
    wrong_wish(422, "send_to", send_to=None),
    wrong_wish(422, "send_to", send_to=9),
    wrong_wish(422, "send_to", send_to="localhost:9"),
    wrong_wish(422, "send_to", send_to="127.0.0.1"),
    wrong_wish(422, "send_to", send_to="127.0.0.1:65536"),
    wrong_wish(422, "send_to", send_to="127.0.0.1:0"),
    wrong_wish(422, "send_to", send_to="0.0.0.0:9"),
    wrong_wish(422, "id", id=""),
    wrong_wish(422, "id", id="x" * 65),
    wrong_wish(422, "id", id=".."),
    wrong_wish(422, "id", id="a/b"),
    wrong_wish(422, "id", id='a"b'),
    wrong_wish(422, "id", id="é"),
    wrong_wish(422, "id", id=7),
    wrong_wish(422, "listen", listen="here"),
    wrong_wish(422, "listen", listen="192.0.2.1:0"),  # an address for documentation: nobody's
    wrong_wish(422, "codec", codec="mp3"),
    wrong_wish(422, "codec", codec="Opus"),
    wrong_wish(422, "rate_hz", codec="opus", rate_hz=16000),
    wrong_wish(422, "rate_hz", codec="pcmu", rate_hz=48000),
    wrong_wish(422, "rate_hz", codec="l16"),
    wrong_wish(422, "L16", codec="l16", rate_hz=0),
    wrong_wish(422, "L16", codec="l16", rate_hz=7999),
    wrong_wish(422, "L16", codec="l16", rate_hz=4294967295),
    wrong_wish(422, "rate_hz", codec="l16", rate_hz=48000.5),
    wrong_wish(422, "rate_hz", codec="l16", rate_hz=-1),
    wrong_wish(422, "payload type", payload_type=128),
    wrong_wish(422, "payload type", payload_type=72),
    wrong_wish(422, "payload type", payload_type=95),
    wrong_wish(422, "payload_type", payload_type=256),
    wrong_wish(422, "payload_type", payload_type="111"),
    wrong_wish(422, "payload type", payload_type=63, red_payload_type=63),
    wrong_wish(422, "payload type", red_payload_type=64),
    wrong_wish(422, "payload type", relayed_payload_types=[111]),
    wrong_wish(422, "payload type", relayed_payload_types=[101, 101]),
    wrong_wish(422, "relayed_payload_types", relayed_payload_types=101),
    wrong_wish(422, "red_payload_type", red_out=True),
    wrong_wish(422, "red_out", red_payload_type=63, red_out="yes"),
    wrong_wish(422, "audio_level_id", audio_level_id=0),
    wrong_wish(422, "audio_level_id", audio_level_id=256),
    wrong_wish(422, "channels", channels=0),
    wrong_wish(422, "channels", channels=3),
    wrong_wish(422, "channels", channels=18446744073709551615),
    wrong_wish(422, "channels", channels=-1),
    wrong_wish(422, "channels", codec="pcma", channels=2),
    wrong_wish(422, "on", on=1),
    wrong_wish(422, "attenuation", attenuation_db=-0.1),
    wrong_wish(422, "attenuation", attenuation_db="40"),
    wrong_wish(422, "model", model="huge"),
    wrong_wish(422, "model", model=""),
    wrong_wish(422, "model", model="../base"),
    wrong_wish(422, "bitrate_bps", bitrate_bps=5999),
    wrong_wish(422, "bitrate_bps", bitrate_bps=510001),
    wrong_wish(422, "complexity", complexity=11),
    wrong_wish(422, "expected_loss_percent", expected_loss_percent=101),
    wrong_wish(422, "dtx", dtx=0),
    wrong_wish(422, "hold", hold_ms=501),
    wrong_wish(422, "hold_ms", hold_ms=1e9),
    wrong_wish(422, "hold_ms", hold_ms=-1),
    ("PATCH", "/v1/streams/witness", "{", {}, 400, "body"),
    ("PATCH", "/v1/streams/witness", "{}", {"content_type": "text/plain"}, 415, "content-type"),
    ("PATCH", "/v1/streams/witness", " " * 65537, {}, 413, "length"),
    ("PATCH", "/v1/streams/witness", {"codec": "l16"}, {}, 422, "codec"),
    ("PATCH", "/v1/streams/witness", {"on": "no"}, {}, 422, "on"),
    ("PATCH", "/v1/streams/witness", {"attenuation_db": -1}, {}, 422, "attenuation"),
    ("PATCH", "/v1/streams/witness", {"model": "huge"}, {}, 422, "model"),
    ("PATCH", "/v1/streams/witness", {"send_to": "127.0.0.1:0"}, {}, 422, "send_to"),
    ("PATCH", "/v1/streams/nobody", {"on": False}, {}, 404, "nobody"),
    ("GET", "/v1/streams/nobody", None, {}, 404, "nobody"),
    ("DELETE", "/v1/streams/nobody", None, {}, 404, "nobody"),
    ("GET", "/v1/streams/" + "x" * 5000, None, {}, 404, "xxx"),
    ("GET", "/v1/streams/a%2Fb", None, {}, 404, "a/b"),
    ("GET", "/v1/streams/", None, {}, 404, "openapi"),
    ("GET", "/v1", None, {}, 404, "openapi"),
    ("GET", "/../etc/passwd", None, {}, 404, "openapi"),
    ("PUT", "/v1/streams", {"send_to": ANYWHERE}, {}, 405, "method"),
    ("DELETE", "/v1/streams", None, {}, 405, "method"),
    ("POST", "/v1/streams/witness", {}, {}, 405, "method"),
    ("POST", "/health", None, {}, 405, "method"),
    ("DELETE", "/metrics", None, {}, 405, "method"),
    ("POST", "/", None, {}, 405, "method"),
    ("BREW", "/v1/models", None, {}, 405, "method"),
    ("GET", "/v1/strips?since=abc", None, {}, 400, "since"),
    ("GET", "/v1/strips?since=-1", None, {}, 400, "since"),
    ("GET", "/v1/strips?since=18446744073709551616", None, {}, 400, "since"),
]


def name_of(refusal: tuple) -> str:
    method, path, body, headers, *_ = refusal
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return f"{method} {path[:30]} {text[:60]} {headers or ''}"


@pytest.mark.parametrize("refusal", REFUSALS, ids=map(name_of, REFUSALS))
def test_a_wrong_request_is_refused_in_words(relay: Relay, refusal: tuple) -> None:
    method, path, body, headers, status, about = refusal
    witness = relay.create(id="witness")
    answer = relay.ask(method, path, body, **headers)
    assert (answer.status, about.lower() in answer.error.lower()) == (status, True), answer.text
    if status == 405:
        assert answer.headers["allow"] and method not in answer.headers["allow"].split(",")
    now = relay.ask("GET", "/v1/streams").json["streams"]
    times = {name: witness[name] for name in ("seconds", "cpu_seconds")}
    assert [stream | times for stream in now] == [witness]


def test_an_id_that_is_no_utf8_is_refused_in_words(relay: Relay) -> None:
    answer = relay.ask("GET", "/v1/streams/%FF")
    assert answer.status in (400, 404) and answer.error


def test_an_id_that_the_relay_chooses_is_free(relay: Relay) -> None:
    number = int(relay.create()["id"].removeprefix("stream-"))
    relay.create(id=f"stream-{number + 1}")
    relay.create()


def test_a_client_that_hangs_up_leaves_no_id_behind() -> None:
    with Relay("--workers", "1") as relay:
        # A worker with many streams takes its time to answer.
        for n in range(40):
            relay.create(id=f"s{n}")
        host, port = relay.address.split(":")
        for n in range(20):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(f"DELETE /v1/streams/s{n} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(0.01)
        assert relay.ask("GET", "/health").json["streams"] == len(relay.ids())
        for n in range(20):
            assert f"s{n}" in relay.ids() or relay.create(id=f"s{n}")


def test_a_stream_does_not_send_to_itself(relay: Relay) -> None:
    free = relay.create()
    relay.ask("DELETE", f"/v1/streams/{free['id']}")
    own = {"listen": free["listen"], "send_to": free["listen"]}
    assert relay.ask("POST", "/v1/streams", own).status == 422


def test_max_streams_is_kept() -> None:
    with Relay("--max-streams", "2", "--workers", "1") as relay:
        relay.create(id="a")
        relay.create(id="b")
        for _ in range(3):
            answer = relay.ask("POST", "/v1/streams", {"send_to": ANYWHERE})
            assert answer.status == 503 and "--max-streams" in answer.error
        relay.ask("DELETE", "/v1/streams/a")
        relay.create(id="c")


def test_a_relay_out_of_sockets_says_that_it_is_full() -> None:
    with Relay("--workers", "1", files=24) as relay:
        for _ in range(24):
            answer = relay.ask("POST", "/v1/streams", {"send_to": ANYWHERE})
            if answer.status != 201:
                break
        assert answer.status == 503 and answer.error


# Who may ask.


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" s3cret-Token \n")
    with Relay("--token-file", str(file), "--workers", "1") as relay:
        guarded = [
            ("GET", "/v1/streams"),
            ("POST", "/v1/streams"),
            ("GET", "/v1/streams/s"),
            ("PATCH", "/v1/streams/s"),
            ("DELETE", "/v1/streams/s"),
            ("GET", "/v1/models"),
            ("GET", "/v1/strips"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
        ]
        wrong = ["", "Bearer", "Bearer s3cret", "Bearer s3cret-Token2", "Bearer S3CRET-TOKEN"]
        wrong += ["Basic s3cret-Token", "s3cret-Token", "Bearer s3cret-Token s3cret-Token"]
        for method, path in guarded:
            for given in wrong:
                answer = relay.ask(method, path, authorization=given)
                assert answer.status == 401 and answer.error
                assert answer.headers["www-authenticate"].startswith("Bearer")
        ask = partial(relay.ask, authorization="Bearer s3cret-Token")
        assert ask("POST", "/v1/streams", {"send_to": ANYWHERE, "id": "s"}).status == 201
        assert ask("GET", "/v1/streams").json["streams"][0]["id"] == "s"
        assert ask("GET", "/metrics").status == 200
        for path in ("/health", "/"):
            assert relay.ask("GET", path).status == 200
        # With a token it does not matter by which name the relay is asked.
        assert ask("GET", "/v1/models", host="relay.example").status == 200


def test_the_name_of_the_scheme_has_no_case(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret")
    with Relay("--token-file", str(file), "--workers", "1") as relay:
        assert relay.ask("GET", "/v1/models", authorization="bearer s3cret").status == 200


def test_without_a_token_only_this_computers_names_are_answered(relay: Relay) -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8790"):
        assert relay.ask("GET", "/v1/streams", host=host).status == 200
    strange = ["relay.example", "relay.example:8790", "localhost.relay.example", "127.0.0.1.relay.example"]
    for host in [*strange, "192.0.2.1", "[2001:db8::1]:80", "", ":80", "[", "evil@localhost"]:
        for path in ("/v1/streams", "/", "/health", "/metrics"):
            answer = relay.ask("GET", path, host=host)
            assert answer.status == 403 and "Host" in answer.error
    answer = relay.ask("POST", "/v1/streams", {"send_to": ANYWHERE}, host="relay.example")
    assert answer.status == 403 and relay.ids() == []


# The page, the description, the metrics.


def test_the_page_runs_nothing_from_elsewhere(relay: Relay) -> None:
    page = relay.ask("GET", "/")
    assert page.status == 200 and page.headers.get_content_type() == "text/html"
    policy = dict(part.split(maxsplit=1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page.text)


def test_the_description_is_true(relay: Relay) -> None:
    description = relay.ask("GET", "/openapi.json").json
    assert description["openapi"].startswith("3.")
    operations = {(path, method) for path, item in description["paths"].items() for method in item}
    assert len(operations) == 9
    # The stream is ended last.
    for path, method in sorted(operations, key=lambda pair: pair[1] == "delete"):
        relay.create(id="s") if "s" not in relay.ids() else None
        for body in ({}, {"send_to": ANYWHERE}, None) if method in ("post", "patch") else (None,):
            answer = relay.ask(method.upper(), path.replace("{id}", "s"), body)
            assert answer.status not in (404, 405)
            assert str(answer.status) in description["paths"][path][method]["responses"]
    schemas = description["components"]["schemas"]
    stream = relay.create()
    assert set(schemas["Stream"]["properties"]) == set(stream)
    assert set(schemas["RtpCounts"]["properties"]) == set(stream["packets"])
    known = relay.ask("POST", "/v1/streams", {"none of them": 0}).error
    fields = set(re.findall(r"`(\w+)`", known.split("expected one of")[1]))
    assert set(schemas["NewStream"]["properties"]) == fields
    assert schemas["NewStream"]["required"] == ["send_to"]
    known = relay.ask("PATCH", f"/v1/streams/{stream['id']}", {"none of them": 0}).error
    fields = set(re.findall(r"`(\w+)`", known.split("expected one of")[1]))
    assert set(schemas["Change"]["properties"]) == fields
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(description)))
    assert wanted == set(schemas)


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def prometheus(text: str) -> tuple[Samples, dict[str, str]]:
    """Samples by name and labels, and the types of families (text format 0.0.4)."""
    samples, types, helps = {}, {}, set()
    assert text.endswith("\n")
    for line in lines(text):
        if found := re.fullmatch(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)", line):
            assert found[1] not in helps
            helps.add(found[1])
        elif found := re.fullmatch(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge)", line):
            assert found[1] not in types
            types[found[1]] = found[2]
        else:
            found = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^{}]*)\})? (\S+)", line)
            assert found, line
            name, labels, value = found.groups()
            labels = tuple(re.findall(r'([a-zA-Z_]\w*)="([^"\\]*)"(?:,|$)', labels or ""))
            assert name in types and name in helps and name == list(types)[-1]
            assert (name, labels) not in samples
            samples[name, labels] = float(value)
            assert types[name] != "counter" or (name.endswith("_total") and samples[name, labels] >= 0)
    assert set(types) == helps
    return samples, types


def test_metrics_are_prometheus_text_and_say_what_the_json_says(relay: Relay) -> None:
    legs = [Leg(relay, l16(noise(960 * 20, seed)), codec="l16", rate_hz=48000) for seed in (1, 2)]
    relay.patch(legs[1].id, on=False)
    play(legs, range(18), {5: lambda: legs[0].throw(b"no RTP"), 9: lambda: legs[1].throw(bytes(50))})
    answer = relay.ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples, types = prometheus(answer.text)
    assert samples["quietwire_streams", ()] == 2 and types["quietwire_streams"] == "gauge"
    # The streams are asked after the metrics: nothing comes in between, but time passes.
    for leg in legs:
        stream = leg.show()
        packets = stream["packets"]
        names = "received sent relayed lost recovered concealed late".split()
        expected = {f"packets_{name}_total": packets[name] for name in names}
        refused = sum(packets[name] for name in ("malformed", "foreign", "strange", "undecodable"))
        expected |= {
            "packets_refused_total": refused,
            "restarts_total": packets["restarts"],
            "failures_total": packets["failed"],
            "missed_deadlines_total": stream["missed_deadlines"],
            "on": stream["on"],
            "stepped_down": stream["state"] == "stepped-down",
            "jitter_seconds": pytest.approx(stream["jitter_ms"] / 1000),
            "delay_seconds": pytest.approx(stream["delay_ms"] / 1000),
        }
        for name, value in (stream["levels"] or {}).items():
            expected[name] = pytest.approx(value, abs=1e-4)
        found = {
            name.removeprefix("quietwire_stream_"): value
            for (name, labels), value in samples.items()
            if labels == (("stream", leg.id),)
        }
        assert abs(found.pop("cpu_seconds_total") - stream["cpu_seconds"]) < 0.1
        assert found == expected
        assert refused == 1 and packets["received"] == 18
    missed = {labels: v for (name, labels), v in samples.items() if name.endswith("worker_missed_hops_total")}
    assert sum(missed.values()) >= sum(leg.show()["missed_deadlines"] for leg in legs)
    hops = [v for (name, _), v in samples.items() if name == "quietwire_worker_hops_total"]
    assert sum(hops) > 0 and len(hops) == len(missed)


def test_an_idle_stream_is_charged_no_processor_time() -> None:
    with Relay("--workers", "1") as relay:
        leg = Leg(relay, l16(noise(960 * 25)), codec="l16", rate_hz=48000)
        idle = relay.create()
        play([leg], range(25))
        assert relay.show(idle["id"])["cpu_seconds"] < 0.2 * leg.show()["cpu_seconds"]


# The command line.


@pytest.mark.parametrize(
    ("args", "about"),
    [
        (["--models", "huge"], "huge"),
        (["--models", "base,huge"], "huge"),
        (["--models", "base,base"], "twice"),
        (["--token-file", "EMPTY"], "token"),
        (["--token-file", "NONE"], "NONE"),
        (["--http", "TAKEN"], "TAKEN"),
    ],
    ids=str,
)
def test_a_relay_that_cannot_run_says_why(tmp_path: Path, args: list[str], about: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        names = {"EMPTY": tmp_path / "empty", "NONE": tmp_path / "none"}
        names["TAKEN"] = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "empty").write_text(" \n")
        args = [str(names.get(arg, arg)) for arg in args]
        free = [] if "--http" in args else ["--http", "127.0.0.1:0"]
        command = [BINARY, "relay", *free, *args]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=5)
    assert ended.returncode not in (0, 101) and ended.stdout == ""
    assert len(lines(ended.stderr)) == 1 and ended.stderr.startswith("error: ")
    assert str(names.get(about, about)) in ended.stderr


@pytest.mark.parametrize(
    "args",
    [["--workers", "0"], ["--max-streams", "many"], ["--drain-seconds", "inf"], ["--http", "8790"]],
    ids=str,
)
def test_an_impossible_option_is_refused(args: list[str]) -> None:
    ended = subprocess.run([BINARY, "relay", *args], capture_output=True, text=True, timeout=5)
    assert ended.returncode == 2 and args[0] in ended.stderr


# Media.


@dataclass
class Call:
    """Streams that were played at once: on for 80 packets, off for 60, on again for 70."""

    OFF, ON, END = 80, 140, 210
    legs: dict[str, Leg]
    shown: dict[str, list[dict]]  # before a switch, and at the end
    strips: list[dict]


@pytest.fixture(scope="module")
def call(opus_noise: list[bytes]) -> Iterator[Call]:
    opus = opus_noise * 3
    mono, stereo, narrow = noise(960 * 211), noise(2 * 882 * 211, 3), noise(160 * 211, 5)
    with Relay("--workers", "1") as relay:
        payload = l16(mono)
        wide = {"codec": "l16", "rate_hz": 48000}
        legs = {
            "l16": Leg(relay, payload, **wide),
            "stereo": Leg(relay, l16(stereo, 2 * 882), 882, codec="l16", rate_hz=44100, channels=2),
            "pcmu": Leg(relay, lambda n: mu_law(narrow[160 * n : 160 * n + 160]), 160, codec="pcmu"),
            "opus": Leg(relay, opus.__getitem__),
            "steady": Leg(relay, payload, **wide, model="tiny"),
            "no attenuation": Leg(relay, payload, **wide, attenuation_db=0),
            "six decibels": Leg(relay, payload, **wide, attenuation_db=6),
        }
        switched = ["l16", "stereo", "pcmu", "opus"]
        shown = {name: [] for name in legs}
        strips = [relay.ask("GET", "/v1/strips").json]

        def note() -> None:
            for name, leg in legs.items():
                shown[name].append(leg.show())

        def switch(on: bool) -> None:
            note()
            for name in switched:
                relay.patch(legs[name].id, on=on)

        def look() -> None:
            strips.append(
                relay.ask("GET", f"/v1/strips?since={strips[-1]['streams'][legs['l16'].id]['newest']}").json
            )

        events = {Call.OFF: partial(switch, False), Call.ON: partial(switch, True)}
        events |= {25: look, 40: look}
        play(list(legs.values()), range(Call.END), events)
        note()
        yield Call(legs, shown, strips)


def test_packets_go_out_continuous_and_late_by_the_delay(call: Call) -> None:
    for name, leg in call.legs.items():
        assert leg.is_continuous(), name
        stream = call.shown[name][-1]
        rate = {"pcmu": 8000, "stereo": 44100}.get(name, 48000)
        delay = round(stream["delay_ms"] * rate / 1000)
        # One goes out for each that comes in: the last to go out is `delay` behind.
        last = leg.timestamp(Call.END - 1)
        assert (last - leg.heard[-1].timestamp) & 0xFFFFFFFF == delay, name
        assert stream["delay_ms"] in ((20.0,) if rate == 48000 else (40.0,)), name
        # A stream that begins without work sends no silence before the first packet.
        sent = Call.END - (name == "no attenuation")
        assert (stream["packets"]["received"], stream["packets"]["sent"]) == (Call.END, sent), name
        assert len(leg.heard) == sent, name
        nothing = ("lost", "late", "duplicate", "malformed", "foreign", "strange", "restarts", "failed")
        assert not any(stream["packets"][count] for count in nothing), name


@pytest.mark.parametrize(
    ("name", "decode"), [("l16", from_l16), ("stereo", from_l16), ("pcmu", from_mu_law), ("steady", from_l16)]
)
def test_noise_is_gone_after_a_second(call: Call, name: str, decode: Callable) -> None:
    assert drop_db(call.legs[name], 50, 76, decode) > 15


@pytest.mark.parametrize("name", ["l16", "stereo", "pcmu", "opus"])
def test_off_means_the_very_bytes_that_came(call: Call, name: str) -> None:
    leg = call.legs[name]
    # It takes effect within 200 ms; packets that come before the switch on are still relayed.
    begin, end = Call.OFF + 10, Call.ON - 3
    heard = leg.sound(begin, end)
    assert heard == {n: leg.payload(n) for n in range(begin, end)}
    off, end = call.shown[name][1:]
    assert off["state"] == "relaying" and off["on"] is False and off["levels"] is None
    # Before, at most what is on its way; after, what 200 ms hold.
    assert Call.ON - begin <= end["packets"]["relayed"] <= Call.ON - Call.OFF + 10


@pytest.mark.parametrize(("name", "decode"), [("l16", from_l16), ("stereo", from_l16), ("pcmu", from_mu_law)])
def test_on_again_the_noise_is_gone_again(call: Call, name: str, decode: Callable) -> None:
    assert drop_db(call.legs[name], Call.ON + 40, Call.END - 4, decode) > 15
    assert call.shown[name][2]["state"] in ("denoising", "stepped-down")


def test_opus_is_cleaned_relayed_and_cleaned_for_one_decoder(call: Call) -> None:
    leg = call.legs["opus"]
    before = from_opus([leg.payload(n) for n in range(Call.END)])
    # The relay sends silence first, for its delay.
    after = from_opus([heard.payload for heard in leg.heard][1:])

    def drop(begin: int, end: int) -> float:
        part = slice(begin * 960, end * 960)
        return dbfs(before[part]) - dbfs(after[part])

    assert drop(50, 78) > 15
    assert abs(drop(Call.OFF + 12, Call.ON - 3)) < 0.5
    assert drop(Call.ON + 40, Call.END - 4) > 15


def test_no_attenuation_changes_no_sample(call: Call) -> None:
    leg = call.legs["no attenuation"]
    assert leg.sound(0, 200) == {n: leg.payload(n) for n in range(200)}


def test_attenuation_is_limited(call: Call) -> None:
    assert drop_db(call.legs["six decibels"], 50, 200, from_l16) == pytest.approx(6, abs=1)


def test_levels_are_those_of_the_sound(call: Call) -> None:
    leg, levels = call.legs["l16"], call.shown["l16"][0]["levels"]
    assert set(levels) == set("input_dbfs output_dbfs snr_db gain_db speech_probability speech_share".split())
    assert levels["input_dbfs"] == pytest.approx(dbfs(from_l16(leg.payload(70))), abs=3)
    assert levels["output_dbfs"] < levels["input_dbfs"] - 15
    assert levels["gain_db"] == pytest.approx(levels["output_dbfs"] - levels["input_dbfs"], abs=0.1)
    assert levels["speech_probability"] < 0.5 and 0 <= levels["speech_share"] < 0.5


def test_strips_show_the_sound_before_and_after(call: Call) -> None:
    first, *later = call.strips
    bands = len(first["bands_hz"])
    assert first["bands_hz"] == sorted(first["bands_hz"]) and first["column_ms"] == 50
    newest = None
    for strips in later:
        assert set(strips["streams"]) == {leg.id for leg in call.legs.values()}
        strip = strips["streams"][call.legs["l16"].id]
        before, after = (
            np.frombuffer(base64.b64decode(strip[side]), np.uint8).reshape(-1, bands)
            for side in ("input", "output")
        )
        assert before.shape == after.shape and len(before) >= 5
        assert newest is None or len(before) == strip["newest"] - newest
        newest = strip["newest"]
    # 255 for 0 dBFS, 0 for -120: 15 dB are 32.
    assert np.median(before) > np.median(after) + 32


# Fields of a new stream that show in what it sends.


@dataclass
class Fields:
    MISSING = 20
    legs: dict[str, Leg]
    shown: dict[str, dict]


@pytest.fixture(scope="module")
def fields(opus_noise: list[bytes]) -> Iterator[Fields]:
    with Relay("--workers", "1") as relay:
        silence = b"\xf8\xff\xfe"  # of Opus, 20 ms
        narrow = [mu_law(noise(160, n)) for n in range(61)]
        wide = l16(noise(960 * 61))
        pcmu = {"codec": "pcmu", "ticks": 160}

        def red(n: int) -> bytes:
            earlier = narrow[n - 1] if n else b""
            return (
                bytes([0x80, 160 >> 6, 160 << 2 & 0xFF | len(earlier) >> 8, len(earlier), 0])
                + earlier
                + narrow[n]
            )

        legs = {
            "plain": Leg(relay, narrow.__getitem__, **pcmu),
            "hold 40": Leg(relay, narrow.__getitem__, **pcmu, hold_ms=40),
            "payload type": Leg(relay, narrow.__getitem__, **pcmu, payload_type=35),
            "events": Leg(relay, narrow.__getitem__, **pcmu, relayed_payload_types=[101]),
            "red in": Leg(relay, red, **pcmu, red_payload_type=63),
            "red out": Leg(relay, narrow.__getitem__, **pcmu, red_payload_type=63, red_out=True),
            "level": Leg(relay, wide, codec="l16", rate_hz=48000, audio_level_id=3),
            "level as it came": Leg(relay, wide, codec="l16", rate_hz=48000),
            "hold 0": Leg(relay, narrow.__getitem__, **pcmu, hold_ms=0),
            "hold 200": Leg(relay, narrow.__getitem__, **pcmu, hold_ms=200),
            "lost while off": Leg(relay, narrow.__getitem__, **pcmu, on=False),
            "dtx": Leg(relay, lambda _: silence, dtx=True),
            "no dtx": Leg(relay, lambda _: silence),
            "stereo": Leg(relay, opus_noise.__getitem__, channels=2),
            "few bits": Leg(relay, opus_noise.__getitem__, attenuation_db=1, bitrate_bps=16000),
            "many bits": Leg(relay, opus_noise.__getitem__, attenuation_db=1, bitrate_bps=128000),
        }
        lossy = ("red in", "hold 0", "hold 40", "hold 200", "lost while off")
        for name in lossy:
            leg = legs[name]
            leg.send = lambda n, leg=leg: None if n == Fields.MISSING else Leg.send(leg, n)
        legs["red in"].payload_type = 63
        for name in ("level", "level as it came"):
            leg = legs[name]

            def send(n: int, leg: Leg = leg) -> None:
                packet = leg.packet(n)
                # One word with element 3: -20 dBFS.
                extension = bytes([0xBE, 0xDE, 0, 1, 0x30, 20, 0, 0])
                leg.throw(bytes([packet[0] | 0x10]) + packet[1:12] + extension + packet[12:])

            leg.send = send
        events = legs["events"]

        def with_event(n: int) -> None:
            # From the tenth on, all numbers are one more: the event has one too.
            if n == 10:
                numbers = 101, Leg.FIRST_SEQUENCE + n, events.timestamp(n), events.ssrc
                events.throw(rtp(*numbers, b"\x05\x0a\x00\xa0"))
            numbers = 0, Leg.FIRST_SEQUENCE + n + (n >= 10), events.timestamp(n), events.ssrc
            events.throw(rtp(*numbers, narrow[n]))

        events.send = with_event
        play(list(legs.values()), range(60))
        yield Fields(legs, {name: leg.show() for name, leg in legs.items()})


def test_the_payload_type_is_as_asked(fields: Fields) -> None:
    assert {heard.payload_type for heard in fields.legs["payload type"].heard} == {35}
    assert {heard.payload_type for heard in fields.legs["plain"].heard} == {0}


def test_events_pass_unchanged_in_their_place(fields: Fields) -> None:
    leg = fields.legs["events"]
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in itertools.pairwise(leg.heard))
    (event,) = [heard for heard in leg.heard if heard.payload_type == 101]
    assert (event.payload, event.timestamp) == (b"\x05\x0a\x00\xa0", leg.timestamp(10))
    assert len(leg.heard) == 61 and fields.shown["events"]["packets"]["foreign"] == 0


def test_a_lost_packet_is_found_in_redundancy(fields: Fields) -> None:
    packets = fields.shown["red in"]["packets"]
    assert (packets["lost"], packets["recovered"], packets["concealed"]) == (1, 1, 0)
    assert fields.legs["red in"].is_continuous()


def test_redundancy_brings_the_packet_before_again(fields: Fields) -> None:
    leg = fields.legs["red out"]
    assert {heard.payload_type for heard in leg.heard} == {63} and leg.is_continuous()
    for before, now in itertools.pairwise(heard.payload for heard in leg.heard[1:]):
        first, second, third, length, primary = now[:5]
        assert (first, second << 6 | third >> 2, third & 3, length, primary) == (0x80, 160, 0, 160, 0)
        assert now[5:165] == before[-160:] and len(now) == 325


def test_the_audio_level_is_that_of_what_goes_out(fields: Fields) -> None:
    leg = fields.legs["level"]
    for heard in leg.heard[45:]:
        assert heard.datagram[12:17] == b"\xbe\xde\x00\x01\x30"
        found = heard.datagram[17] & 0x7F
        assert found == pytest.approx(min(127, -dbfs(from_l16(heard.payload))), abs=1.5) and found > 30
    assert {heard.datagram[17] for heard in fields.legs["level as it came"].heard[2:]} == {20}


def test_a_missing_packet_is_waited_for_and_made_up(fields: Fields) -> None:
    for hold_ms in (0, 40, 200):
        leg, name = fields.legs[f"hold {hold_ms}"], f"hold {hold_ms}"
        assert leg.is_continuous(), name
        pause_ms = 1000 * max(b.at - a.at for a, b in itertools.pairwise(leg.heard))
        if hold_ms == 0:  # nothing is waited for, not even what the sender is late itself
            assert pause_ms < 60
            continue
        packets = fields.shown[name]["packets"]
        assert (packets["lost"], packets["concealed"], len(leg.heard)) == (1, 1, 60), name
        # Two packets' time to the one after the missing one, and from there the hold.
        assert 40 + hold_ms - 10 < pause_ms < 40 + hold_ms + 50, name


def test_what_is_lost_while_off_leaves_its_number_out(fields: Fields) -> None:
    leg = fields.legs["lost while off"]
    numbers = [(h.sequence - leg.FIRST_SEQUENCE) & 0xFFFF for h in leg.heard]
    assert numbers == [n for n in range(numbers[-1] + 1) if n != Fields.MISSING]
    assert numbers[-1] >= 57 and fields.shown["lost while off"]["packets"]["lost"] == 1


def test_silence_need_not_be_sent(fields: Fields) -> None:
    sent = {name: fields.shown[name]["packets"]["sent"] for name in ("dtx", "no dtx")}
    assert sent["no dtx"] == 60 and sent["dtx"] < 40
    pairs = list(itertools.pairwise(fields.legs["dtx"].heard))
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairs)
    assert any((b.timestamp - a.timestamp) & 0xFFFFFFFF > 960 for a, b in pairs)


def test_opus_has_the_channels_and_the_bits_that_were_asked_for(fields: Fields) -> None:
    # The third bit of an Opus packet tells stereo (RFC 6716 section 3.1).
    assert {heard.payload[0] & 4 for heard in fields.legs["stereo"].heard[5:]} == {4}
    few, many = (
        np.mean([len(heard.payload) for heard in fields.legs[name].heard[10:]]) * 8 / PACKET_S
        for name in ("few bits", "many bits")
    )
    assert 10_000 < few < 22_000 and 80_000 < many < 160_000


# Packets that are wrong.


def test_what_is_no_packet_of_the_stream_is_counted_and_disturbs_nothing(relay: Relay) -> None:
    payload = l16(noise(960 * 60))
    leg = Leg(relay, payload, codec="l16", rate_hz=48000, attenuation_db=0)
    numbers = leg.FIRST_SEQUENCE + 30, leg.timestamp(30), leg.ssrc
    malformed = [
        b"",
        b"\x80",
        bytes(1000),  # version 0
        b"\xff" * 1000,  # version 3
        rtp(96, *numbers)[:11],
        b"\x8f" + rtp(96, *numbers)[1:],  # 15 sources that are not there
        b"\x90" + rtp(96, *numbers)[1:],  # an extension that is not there
        b"\xa0" + rtp(96, *numbers, b"\xff")[1:],  # more padding than bytes
        rtp(96, *numbers, bytes(9000)),  # longer than any packet of sound
        rtp(96, *numbers, bytes(60000)),
    ]
    foreign = [rtp(payload_type, *numbers, payload(0)) for payload_type in (0, 95, 97, 111, 127)]
    foreign += [struct.pack("!BBHI", 0x80, kind, 1, leg.ssrc) + bytes(20) for kind in (200, 201, 203, 206)]
    strange = [rtp(96, n * 1000, 0, 0xBAD0 + n, payload(0)) for n in range(5)]
    strange += [rtp(96, leg.FIRST_SEQUENCE + far, 0, leg.ssrc, payload(0)) for far in (5000, 20000, -20000)]
    wrong = {"malformed": malformed, "foreign": foreign, "strange": strange}
    wrong["duplicate or late"] = [leg.packet(n) for n in (5, 6, 7)]
    order = [datagram for datagrams in wrong.values() for datagram in datagrams]
    play([leg], range(50), {10 + n: partial(leg.throw, datagram) for n, datagram in enumerate(order)})
    packets = leg.show()["packets"]
    expected = {name: len(datagrams) for name, datagrams in wrong.items()}
    found = {name: packets[name] for name in ("malformed", "foreign", "strange")}
    assert found | {"duplicate or late": packets["duplicate"] + packets["late"]} == expected
    others = ("lost", "recovered", "concealed", "undecodable", "restarts", "failed")
    assert not any(packets[name] for name in others) and packets["received"] == 50
    assert leg.is_continuous() and leg.show()["last_error"]
    assert leg.sound(0, 48) == {n: payload(n) for n in range(48)}


def test_packets_out_of_order_twice_and_undecodable_are_mended(relay: Relay) -> None:
    payload = l16(noise(960 * 40))
    leg = Leg(relay, payload, codec="l16", rate_hz=48000, attenuation_db=0)

    def send(n: int) -> None:
        if n == 10:
            return
        leg.throw(leg.packet(n))
        if n == 11:
            leg.throw(leg.packet(10))
        if n == 15:
            # Its place is taken while it waits for the one before it.
            leg.throw(leg.packet(17))
            leg.throw(leg.packet(17))

    leg.send = send
    play([leg], range(30))
    packets = leg.show()["packets"]
    assert packets["duplicate"] + packets["late"] == 2 and packets["duplicate"] >= 1
    assert (packets["received"], packets["lost"]) == (30, 0)
    assert leg.is_continuous()
    assert leg.sound(0, 28) == {n: payload(n) for n in range(28)}
    leg.throw(rtp(96, leg.FIRST_SEQUENCE + 30, leg.timestamp(30), leg.ssrc))  # no sample
    play([leg], range(31, 38))
    packets = leg.show()["packets"]
    assert (packets["undecodable"], packets["restarts"]) == (1, 0)


def test_a_source_that_begins_anew_is_followed(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 60)), codec="l16", rate_hz=48000)
    play([leg], range(15))
    first = leg.ssrc
    numbers = {n: (96, 777 + n, 5_000_000 + 960 * n, 0xCAFE) for n in range(60)}
    leg.send = lambda n: leg.throw(rtp(*numbers[n], leg.payload(n)))
    play([leg], range(15, 40))
    packets = leg.show()["packets"]
    assert (packets["restarts"], packets["strange"], packets["received"]) == (1, 1, 39)
    # For the receiver it is one source, whose numbers go on and whose clock never runs backwards.
    pairs = list(itertools.pairwise(leg.heard))
    assert {heard.ssrc for heard in leg.heard} == {first}
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairs)
    assert all(0 < (b.timestamp - a.timestamp) & 0xFFFFFFFF < 9600 for a, b in pairs)


def test_a_flood_of_junk_on_one_stream_costs_another_no_packet() -> None:
    chance = random.Random(3)
    with Relay("--workers", "1") as relay:
        victim = Leg(relay, l16(noise(960)), codec="l16", rate_hz=48000)
        leg = Leg(relay, l16(noise(960 * 80)), codec="l16", rate_hz=48000, attenuation_db=0)
        junk = [chance.randbytes(chance.choice((0, 3, 12, 200, 1500, 9500))) for _ in range(50)]
        junk += [rtp(0, n, n, 1, bytes(160)) for n in range(50)]

        def flood() -> None:
            for n in range(20_000):
                victim.throw(junk[n % len(junk)])
                if n % 200 == 199:
                    time.sleep(0.005)  # else most are lost before the relay sees them

        thread = threading.Thread(target=flood)
        play([leg], range(60), {10: thread.start})
        thread.join()
        assert leg.is_continuous() and leg.sound(0, 58) == {n: leg.payload(n) for n in range(58)}
        packets = leg.show()["packets"]
        assert packets | {"received": 0, "sent": 0, "relayed": 0} == ZERO_COUNTS
        packets = victim.show()["packets"]
        refused = sum(packets[name] for name in ("malformed", "foreign", "strange"))
        assert 2_000 < refused <= 20_000 and packets["sent"] <= 12


def test_wrong_requests_cost_a_stream_no_packet(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 60)), codec="l16", rate_hz=48000, attenuation_db=0, id="witness")
    threads = [
        threading.Thread(target=lambda: [relay.ask(*refusal[:3], **refusal[3]) for refusal in REFUSALS])
        for _ in range(2)
    ]
    play([leg], range(50), {5: threads[0].start, 6: threads[1].start})
    for thread in threads:
        thread.join()
    assert leg.is_continuous() and leg.sound(0, 48) == {n: leg.payload(n) for n in range(48)}


def test_packets_of_changing_length_all_go_out(relay: Relay) -> None:
    # 20 ms at 11025 Hz are 220 samples and a half.
    leg = Leg(relay, l16(noise(960)), codec="l16", rate_hz=48000)
    begin = 0
    for n in range(40):
        size = 960 - n % 2
        leg.throw(rtp(96, n, begin, leg.ssrc, noise(size, n).tobytes()))
        begin += size
        listen([leg], 0.01)
    assert leg.show()["packets"]["received"] == 40 and len(leg.heard) >= 38


def test_the_hold_begins_with_the_first_packet_after_the_missing_one(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 20)), codec="l16", rate_hz=48000, hold_ms=40)
    play([leg], range(6))
    count, begin = len(leg.heard), time.monotonic()
    for n in (11, 10, 9, 8, 7):  # and never 6
        leg.send(n)
        listen([leg], 0.03)
    listen([leg], 0.05)
    assert leg.heard[count].at - begin < 0.04 + 0.03


def test_while_off_a_stall_of_the_network_costs_no_packet(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 30)), codec="l16", rate_hz=48000, on=False, hold_ms=40)
    play([leg], range(10))
    listen([leg], 5 * PACKET_S)
    for n in range(10, 15):
        leg.send(n)
    play([leg], range(15, 30))
    assert leg.show()["packets"]["received"] == 30
    assert leg.sound(0, 28) == {n: leg.payload(n) for n in range(28)} and leg.is_continuous()


def test_missed_deadlines_are_never_forgotten() -> None:
    with Relay("--workers", "1") as relay:
        payload = noise(1440, 1).tobytes()
        legs = [Leg(relay, lambda _: payload[:1920], codec="l16", rate_hz=48000) for _ in range(6)]
        missed: list[int] = []
        for burst in range(20):
            for n, leg in itertools.product(range(64), legs):
                leg.send(64 * burst + n)
            listen(legs, 0.05)
            missed = [leg.show()["missed_deadlines"] for leg in legs]
            if all(missed):
                break
        if not all(missed):
            pytest.skip("this computer was too fast to miss a deadline")
        listen(legs, 0.5)
        n = 64 * (burst + 1)
        for k, leg in itertools.product(range(5), legs):
            numbers = leg.FIRST_SEQUENCE + n + k, leg.timestamp(n) + 48000 + 1440 * k, leg.ssrc
            leg.throw(rtp(96, *numbers, payload))
            listen(legs, 0.005)
        listen(legs, 0.3)
        assert all(leg.show()["missed_deadlines"] >= count for leg, count in zip(legs, missed, strict=True))


def test_a_stream_is_sent_elsewhere_from_one_packet_to_the_next(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 40)), codec="l16", rate_hz=48000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.setblocking(False)
        target = f"127.0.0.1:{other.getsockname()[1]}"
        play([leg], range(30), {15: lambda: relay.patch(leg.id, send_to=target)})
        elsewhere = []
        with contextlib.suppress(BlockingIOError):
            while True:
                elsewhere.append(Heard.parse(other.recv(4096)))
    assert abs(len(leg.heard) - 15) <= 1 and abs(len(elsewhere) - 15) <= 1
    leg.heard += elsewhere
    assert leg.is_continuous()


def test_a_stream_is_idle_a_second_after_its_last_packet(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 20)), codec="l16", rate_hz=48000)
    assert leg.show()["state"] == "idle"
    play([leg], range(10))
    assert leg.show()["state"] == "denoising"
    # What is on its way goes out, and 200 ms at most are made up.
    listen([leg], 0.5)
    assert leg.show()["state"] == "denoising" and 10 <= len(leg.heard) <= 21 and leg.is_continuous()
    listen([leg], 0.7)
    stream = leg.show()
    assert stream["state"] == "idle" and stream["levels"] is None and len(leg.heard) <= 21


# Signals.


def test_sigterm_lets_streams_that_speak_go_on() -> None:
    with Relay("--workers", "1") as relay:
        leg = Leg(relay, l16(noise(960 * 80)), codec="l16", rate_hz=48000, attenuation_db=0)
        relay.create(id="silent")

        def look() -> None:
            health = relay.ask("GET", "/health")
            assert (health.status, health.json["status"], health.json["streams"]) == (503, "draining", 2)
            answer = relay.ask("POST", "/v1/streams", {"send_to": ANYWHERE})
            assert answer.status == 503 and "drain" in answer.error
            assert relay.ids() == ["silent", leg.id]
            assert relay.patch(leg.id, on=True)["state"] != "idle"

        events = {10: lambda: relay.process.send_signal(signal.SIGTERM), 15: look, 55: look}
        play([leg], range(60), events)
        assert relay.is_alive()
        assert leg.is_continuous() and leg.sound(0, 58) == {n: leg.payload(n) for n in range(58)}
        assert relay.wait(2.5) == 0
        assert lines(relay.process.stderr.read()) == [
            "relay: draining; no new streams, the rest for 30 s at most"
        ]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_a_drain(name: str) -> None:
    with Relay("--workers", "1") as relay:
        leg = Leg(relay, l16(noise(960 * 30)), codec="l16", rate_hz=48000)
        end = partial(relay.process.send_signal, getattr(signal, name))
        play([leg], range(20), {10: end})
        assert relay.is_alive()
        end()
        assert relay.wait(0.5) == 0


@pytest.mark.parametrize(("seconds", "least", "most"), [("0", 0.0, 0.4), ("0.5", 0.4, 1.5)])
def test_a_drain_ends_in_time(seconds: str, least: float, most: float) -> None:
    with Relay("--workers", "1", "--drain-seconds", seconds) as relay:
        leg = Leg(relay, l16(noise(960 * 100)), codec="l16", rate_hz=48000)
        play([leg], range(10))
        relay.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        for n in range(10, 100):
            leg.send(n)
            with contextlib.suppress(subprocess.TimeoutExpired):
                relay.process.wait(PACKET_S)
                break
        assert least <= time.monotonic() - begin < most
        assert relay.wait(0) == 0


def test_a_relay_without_streams_ends_at_once() -> None:
    with Relay() as relay:
        assert relay.ask("GET", "/health").status == 200
        relay.process.send_signal(signal.SIGTERM)
        assert relay.wait(0.5) == 0


def test_a_relay_that_says_it_is_there_ends_in_order() -> None:
    for _ in range(5):
        with Relay("--workers", "1") as relay:
            relay.process.send_signal(signal.SIGTERM)
            assert relay.wait(0.5) == 0
