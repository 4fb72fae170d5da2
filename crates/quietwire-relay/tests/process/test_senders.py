"""Real senders: GStreamer, ffmpeg and libwebrtc through the relay. The timestamps of the packets sent are those
received, and every packet received is accounted for.

    QUIETWIRE=target/debug/quietwire python -m pytest crates/quietwire-relay/tests/process/test_senders.py

Needs gst-launch-1.0 (plugins base and good), ffmpeg (with libopus), and what tests/sfu/setup.sh installs.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import ROOT, ReceivedPacket, Relay, rtp

SECONDS = 4
SFU = Path(__file__).parents[1] / "sfu"
SAMPLE = ROOT / "samples/office-fan.wav"


@dataclass
class Leg:
    """A stream, and the packets that it sends."""

    id: str
    listen: tuple[str, int]
    end: socket.socket
    received: list[ReceivedPacket] = field(default_factory=list)


class Tap:
    """Records the packets of a sender on their way to two streams, one on and one off, and those that
    the streams send. `drop_every`: one in so many packets is lost."""

    def __init__(self, relay: Relay, drop_every: int = 0, **options: object) -> None:
        self.relay, self.drop_every = relay, drop_every
        self.socket = self.udp()
        self.sent: list[ReceivedPacket] = []
        self.legs = [self.leg(on=on, **options) for on in (True, False)]

    def leg(self, **options: object) -> Leg:
        end = self.udp()
        host, port = end.getsockname()
        stream = self.relay.create(send_to=f"{host}:{port}", **options)
        host, port = stream["listen"].rsplit(":", 1)
        return Leg(stream["id"], (host, int(port)), end)

    @staticmethod
    def udp() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        return made

    @property
    def port(self) -> int:
        return self.socket.getsockname()[1]

    def run(self, sender: subprocess.Popen | threading.Thread) -> list[tuple[Leg, dict]]:
        """Passes packets until the sender has ended. Returns the legs and the packet counts."""
        is_process = isinstance(sender, subprocess.Popen)
        until = time.monotonic() + 6 * SECONDS
        sockets = [self.socket, *(leg.end for leg in self.legs)]
        while time.monotonic() < until:
            is_over = sender.poll() is not None if is_process else not sender.is_alive()
            ready, _, _ = select.select(sockets, [], [], 0.5 if is_over else 0.05)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.forward(self.socket.recv(16384))
            for leg in self.legs:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        leg.received.append(ReceivedPacket.parse(leg.end.recv(16384)))
            if is_over and not ready:
                break
        assert not is_process or sender.wait(5) == 0, sender.args
        return [(leg, self.relay.show(leg.id)["packets"]) for leg in self.legs]

    def forward(self, datagram: bytes) -> None:
        if datagram[1] in range(192, 224):
            return  # RTCP
        self.sent.append(ReceivedPacket.parse(datagram))
        if not self.drop_every or len(self.sent) % self.drop_every:
            for leg in self.legs:
                self.socket.sendto(datagram, leg.listen)


def start(command: str) -> subprocess.Popen:
    return subprocess.Popen(command.split(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def gstreamer(pipeline: str) -> subprocess.Popen:
    return start(f"gst-launch-1.0 -q {pipeline}")


def source(rate: int = 48000) -> str:
    """Paced samples of a recording."""
    return (
        f"filesrc location={SAMPLE} ! wavparse ! audioconvert ! audioresample ! "
        f"audio/x-raw,rate={rate},channels=1 ! identity sync=true eos-after={SECONDS * 40}"
    )


@contextlib.contextmanager
def restreamer(port: int) -> Iterator[int]:
    """A depayloader and a payloader, which stamps packets by the arrival clock."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        entry = free.getsockname()[1]
    process = gstreamer(
        f"udpsrc port={entry} caps=application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS,payload=111 ! "
        f"rtpopusdepay ! rtpopuspay pt=111 ! udpsink host=127.0.0.1 port={port}"
    )
    time.sleep(1)
    try:
        yield entry
    finally:
        process.kill()
        process.wait()


def times(packets: list[ReceivedPacket]) -> list[int]:
    return [packet.timestamp for packet in packets]


def check(tap: Tap, process: subprocess.Popen, min_packets: int = 30) -> None:
    for leg, counts in tap.run(process):
        assert len(tap.sent) >= min_packets, "packets of the sender"
        assert counts["restarts"] == counts["lost"] == 0, counts
        assert counts["received"] == len(tap.sent), counts
        assert times(leg.received) == times(tap.sent), counts


@pytest.mark.parametrize("frame_ms", [10, 20, 60])
def test_gstreamer(relay: Relay, frame_ms: int) -> None:
    tap = Tap(relay)
    pay = f"opusenc frame-size={frame_ms} ! rtpopuspay pt=111 ! udpsink host=127.0.0.1 port={tap.port}"
    check(tap, gstreamer(f"{source()} ! {pay}"))


def test_gstreamer_restreams_with_the_arrival_clock(relay: Relay) -> None:
    tap = Tap(relay)
    with restreamer(tap.port) as entry:
        pay = f"opusenc ! rtpopuspay pt=111 ! udpsink host=127.0.0.1 port={entry}"
        check(tap, gstreamer(f"{source()} ! {pay}"))
    steps = {b - a for a, b in itertools.pairwise(times(tap.sent))}
    assert len(steps) > 2, "the timestamps are not exact"


def test_gstreamer_with_dtx(relay: Relay) -> None:
    tap = Tap(relay)
    silence = (
        "audiotestsrc wave=silence num-buffers=150 samplesperbuffer=960 is-live=true ! "
        "audio/x-raw,rate=48000,channels=1"
    )
    pay = f"opusenc dtx=true audio-type=voice ! rtpopuspay pt=111 dtx=true ! udpsink host=127.0.0.1 port={tap.port}"
    check(tap, gstreamer(f"{silence} ! {pay}"), min_packets=5)


def test_gstreamer_g711(relay: Relay) -> None:
    tap = Tap(relay, codec="pcmu")
    pay = f"mulawenc ! rtppcmupay min-ptime=20000000 max-ptime=20000000 ! udpsink host=127.0.0.1 port={tap.port}"
    check(tap, gstreamer(f"{source(8000)} ! {pay}"))


def ffmpeg(port: int, options: str = "") -> subprocess.Popen:
    encoder = f"-c:a libopus {options} -ar 48000 -ac 1"
    return start(f"ffmpeg -v error -re -t {SECONDS} -i {SAMPLE} {encoder} -f rtp rtp://127.0.0.1:{port}")


@pytest.mark.parametrize("frame_ms", [2.5, 20, 60])
def test_ffmpeg(relay: Relay, frame_ms: float) -> None:
    tap = Tap(relay, payload_type=97)
    check(tap, ffmpeg(tap.port, f"-frame_duration {frame_ms}"))


def test_ffmpeg_with_loss(relay: Relay) -> None:
    tap = Tap(relay, drop_every=25, payload_type=97)
    (on, on_counts), (off, off_counts) = tap.run(ffmpeg(tap.port))
    lost = len(tap.sent) // 25
    for counts in (on_counts, off_counts):
        assert (counts["lost"], counts["restarts"]) == (lost, 0), counts
    assert times(on.received) == times(tap.sent)
    kept = [packet for n, packet in enumerate(tap.sent, 1) if n % 25]
    assert times(off.received) == times(kept)


@pytest.fixture(scope="module")
def libwebrtc(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The packets of Chromium: redundant audio, DTX in pauses, 60 ms in the last third, which has speech of two rounds."""
    folder = tmp_path_factory.mktemp("libwebrtc")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    npm = os.environ.get("NPM_FOLDER") or str(cache / "quietwire-sfu")
    subprocess.run([SFU / "setup.sh", npm], check=True)
    microphone, out = folder / "microphone.wav", folder / "packets.json"
    silence = "volume=0:enable='between(t,3,6)'"
    audio = ["-i", str(ROOT / "samples/office-fan.clean.flac"), "-af", silence, "-ar", "48000"]
    subprocess.run(["ffmpeg", "-v", "error", *audio, str(microphone)], check=True)
    options = ["--npm", npm, "--microphone", str(microphone), "--seconds", "21"]
    subprocess.run(["node", SFU / "chromium_sender.mjs", str(out), *options], check=True, timeout=90)
    packets = json.loads(out.read_text())["packets"]
    for packet in packets:
        packet["payload"] = base64.b64decode(packet["payload"])
    # libwebrtc sends no empty packets.
    return [packet for packet in packets if packet["payload"]]


def replay(tap: Tap, packets: list[dict]) -> threading.Thread:
    def send() -> None:
        begin = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for n, packet in enumerate(packets):
                at = (packet["ms"] - packets[0]["ms"]) / 1000
                time.sleep(max(0, begin + at - time.monotonic()))
                fields = packet["payload_type"], n, packet["timestamp"], 0x51
                sender.sendto(rtp(*fields, packet["payload"]), ("127.0.0.1", tap.port))

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_libwebrtc_with_redundancy_dtx_and_longer_packets(relay: Relay, libwebrtc: list[dict]) -> None:
    ticks = [packet["timestamp"] for packet in libwebrtc]
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert steps.count(960) > 100 and steps.count(2880) > 10, "packets of 20 and 60 ms"
    assert max(steps) > 3 * 2880, "silence that is not sent"
    assert {packet["payload_type"] for packet in libwebrtc} == {63}, "redundant audio"
    tap = Tap(relay, red_payload_type=63)
    for leg, counts in tap.run(replay(tap, libwebrtc)):
        assert counts["restarts"] == counts["lost"] == counts["concealed"] == 0, counts
        assert counts["received"] == len(libwebrtc), counts
        assert times(leg.received) == times(tap.sent), counts


def test_libwebrtc_with_loss(relay: Relay, libwebrtc: list[dict]) -> None:
    tap = Tap(relay, red_payload_type=63, drop_every=20)
    (on, on_counts), (off, off_counts) = tap.run(replay(tap, libwebrtc))
    for counts in (on_counts, off_counts):
        assert (counts["lost"], counts["restarts"]) == (len(tap.sent) // 20, 0), counts
    assert on_counts["recovered"] > on_counts["lost"] / 2, on_counts
    assert set(times(tap.sent)) >= set(times(off.received)), off_counts
    kept = [packet for n, packet in enumerate(tap.sent, 1) if n % 20]
    assert times(off.received) == times(kept), off_counts
    assert set(times(on.received)) >= set(times(kept)), on_counts
