"""Encrypted streams (SRTP) against ffmpeg's SRTP, rejected packets and keys, and the secrecy of keys."""

from __future__ import annotations

import base64
import random
import socket
import subprocess
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from harness import PACKET_S, Leg, Relay, l16, noise, play, rtp

SAMPLE = Path(__file__).parents[4] / "samples/office-fan.wav"
SECONDS = 5
SUITES = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_256_CM_HMAC_SHA1_32": 46,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}


def key(suite: str, seed: int = 1) -> dict:
    return {"suite": suite, "key": base64.b64encode(random.Random(seed).randbytes(SUITES[suite])).decode()}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ffmpeg_receiver(port: int, srtp: dict, folder: Path) -> subprocess.Popen:
    """Starts ffmpeg to receive into `received.wav`, one second less than is sent."""
    sdp = folder / "received.sdp"
    sdp.write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=audio {port} RTP/SAVP 111\na=rtpmap:111 opus/48000/2\n"
        f"a=crypto:1 {srtp['suite']} inline:{srtp['key']}\n"
    )
    command = ["ffmpeg", "-v", "error", "-protocol_whitelist", "file,udp,rtp,srtp", "-i", str(sdp)]
    command += ["-t", str(SECONDS - 1), "-ac", "1", "-ar", "48000", "-y", str(folder / "received.wav")]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert file.getframerate() == 48000
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data[:: file.getnchannels()] / 32768


def floor_db(sound: np.ndarray) -> float:
    """Level that a tenth of the 20 ms blocks is below, dBFS."""
    pieces = sound[: len(sound) // 960 * 960].reshape(-1, 960)
    return float(np.quantile(10 * np.log10(np.mean(pieces**2, axis=1) + 1e-12), 0.1))


@pytest.mark.parametrize(
    ("into", "out_of"),
    [
        ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"),
        ("AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80"),
    ],
)
def test_ffmpeg_and_the_relay_decrypt_each_other(
    relay: Relay, tmp_path: Path, into: str, out_of: str
) -> None:
    srtp_in, srtp_out, port = key(into), key(out_of, 2), free_port()
    created = relay.create(send_to=f"127.0.0.1:{port}", srtp_in=srtp_in, srtp_out=srtp_out)
    assert (created["srtp_in"], created["srtp_out"]) == (into, out_of)
    receiver = ffmpeg_receiver(port, srtp_out, tmp_path)
    time.sleep(0.5)
    command = ["ffmpeg", "-v", "error", "-re", "-i", str(SAMPLE), "-t", str(SECONDS)]
    command += ["-c:a", "libopus", "-payload_type", "111", "-f", "rtp", "-srtp_out_suite", into]
    command += ["-srtp_out_params", srtp_in["key"], f"srtp://{created['listen']}?rtcpport=9"]
    subprocess.run(command, check=True, timeout=30)
    assert receiver.wait(10) == 0
    shown = relay.show(created["id"])
    sent = round(SECONDS / PACKET_S)
    assert shown["packets"]["received"] >= sent and shown["packets"]["dropped"]["not_authentic"] == 0, shown
    # The receiver may end before the last packets.
    assert (shown["last_error"] or "send_to: ").startswith("send_to: ")
    noisy, received = samples(SAMPLE)[: SECONDS * 48000], samples(tmp_path / "received.wav")
    assert len(received) > 0.9 * (SECONDS - 1) * 48000
    assert floor_db(received[24000:]) < floor_db(noisy) - 15
    assert np.std(received) > 0.3 * np.std(noisy), "the speech remains"


@pytest.mark.parametrize("suite", SUITES)
def test_two_streams_in_a_row_decrypt_each_other(relay: Relay, suite: str) -> None:
    srtp = key(suite)
    wide = {"codec": "l16", "rate_hz": 48000, "attenuation_db": 0}
    second = relay.create(**wide, srtp_in=srtp)
    leg = Leg(relay, l16(noise(960 * 60)), **wide, srtp_out=srtp)
    relay.patch(leg.id, send_to=second["listen"])
    relay.patch(second["id"], send_to="{}:{}".format(*leg.socket.getsockname()))
    play([leg], range(60))
    assert relay.show(second["id"])["packets"]["received"] >= 59
    assert leg.is_continuous() and leg.payloads_of(0, 55) == {n: leg.payload(n) for n in range(55)}


def test_packets_that_are_not_authentic_are_counted_and_reported(relay: Relay) -> None:
    wide = {"codec": "l16", "rate_hz": 48000}
    good, bad = key("AES_CM_128_HMAC_SHA1_80"), key("AES_CM_128_HMAC_SHA1_80", 7)
    receiver = relay.create(**wide, srtp_in=good)
    leg = Leg(relay, l16(noise(960 * 40)), **wide, srtp_out=bad)
    relay.patch(leg.id, send_to=receiver["listen"])
    play([leg], range(20))
    shown = relay.show(receiver["id"])
    assert shown["packets"]["received"] == shown["packets"]["dropped"]["not_authentic"] >= 19
    assert shown["last_error"].startswith("srtp_in: ")
    # Unencrypted packets of any length are rejected too.
    for length in range(40):
        host, port = receiver["listen"].rsplit(":", 1)
        leg.socket.sendto(rtp(96, length, 0, 5, bytes(length))[:length], (host, int(port)))
    relay.patch(leg.id, srtp_out=good)
    play([leg], range(20, 40))
    assert relay.show(receiver["id"])["packets"]["received"] >= 19


@pytest.mark.parametrize("field", ["srtp_in", "srtp_out"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"suite": "AES_CM_128_HMAC_SHA1_80", "key": "c2VjcmV0"}, ["6 bytes", "30"]),
        ({"suite": "AES_CM_128_HMAC_SHA1_80", "key": "!secret!"}, ["base64"]),
        ({"suite": "NULL", "key": "c2VjcmV0"}, ["NULL", "AES_CM_128_HMAC_SHA1_80"]),
        ({"suite": "AEAD_AES_128_GCM"}, ["key"]),
        ({"suite": "AEAD_AES_128_GCM", "key": ""}, ["0 bytes", "28"]),
    ],
)
def test_an_invalid_key_is_rejected_and_not_repeated(
    relay: Relay, field: str, wrong: dict, words: list[str]
) -> None:
    stream = relay.create()
    for method, path in (("POST", "/v1/streams"), ("PATCH", f"/v1/streams/{stream['id']}")):
        body = {field: wrong} if method == "PATCH" else {"send_to": "127.0.0.1:9", field: wrong}
        response = relay.request(method, path, body)
        assert response.status in (400, 422), response.text
        assert all(word in response.error for word in words), response.text
        assert "secret" not in response.text.lower() and "c2VjcmV0" not in response.text


def test_keys_are_never_shown(relay: Relay) -> None:
    srtp = key("AEAD_AES_256_GCM")
    stream = relay.create(srtp_in=srtp, srtp_out=srtp)
    relay.patch(stream["id"], srtp_in=key("AEAD_AES_128_GCM"))
    shown = relay.show(stream["id"])
    assert (shown["srtp_in"], shown["srtp_out"]) == ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM")
    for path in ("/v1/streams", f"/v1/streams/{stream['id']}", "/metrics"):
        assert srtp["key"] not in relay.request("GET", path).text
