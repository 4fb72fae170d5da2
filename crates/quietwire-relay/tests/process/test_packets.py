"""The packets that the relay sends for packets on real sockets.

    QUIETWIRE=target/debug/quietwire python -m pytest crates/quietwire-relay/tests/process

Needs pytest, numpy and ffmpeg (with libopus).
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from harness import (
    PACKET_S,
    ZERO_COUNTS,
    Leg,
    ReceivedPacket,
    Relay,
    dbfs,
    drop_db,
    from_l16,
    from_mu_law,
    from_opus,
    l16,
    listen,
    median_drop_db,
    mu_law,
    noise,
    play,
    rtp,
)

# Media.


@dataclass
class Call:
    """Streams that ran together: on for 80 packets, off for 60, on again for 70."""

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
        strips = [relay.request("GET", "/v1/strips").json]

        def record() -> None:
            for name, leg in legs.items():
                shown[name].append(leg.show())

        def switch(on: bool) -> None:
            record()
            for name in switched:
                relay.patch(legs[name].id, on=on)

        def request_strips() -> None:
            strips.append(
                relay.request(
                    "GET", f"/v1/strips?since={strips[-1]['streams'][legs['l16'].id]['newest']}"
                ).json
            )

        events = {Call.OFF: partial(switch, False), Call.ON: partial(switch, True)}
        events |= {25: request_strips, 40: request_strips}
        play(list(legs.values()), range(Call.END), events)
        record()
        yield Call(legs, shown, strips)


def test_packets_are_sent_without_gaps_one_delay_later(call: Call) -> None:
    for name, leg in call.legs.items():
        assert leg.is_continuous(), name
        stream = call.shown[name][-1]
        rate = {"pcmu": 8000, "stereo": 44100}.get(name, 48000)
        delay = round(stream["delay_ms"] * rate / 1000)
        # One packet is sent for each received; the last one sent is `delay` behind.
        last = leg.timestamp(Call.END - 1)
        assert (last - leg.received[-1].timestamp) & 0xFFFFFFFF == delay, name
        assert stream["delay_ms"] in ((20.0,) if rate == 48000 else (40.0,)), name
        # The packets of one delay still wait.
        sent = Call.END - round(stream["delay_ms"] / 20)
        assert len(leg.received) == sent, name
        packets = stream["packets"]
        assert packets["received"] == packets["sent"] + packets["waiting"] == Call.END, name
        zero = ("lost", "late", "duplicate", "malformed", "unexpected_payload_type", "probation", "restarts", "failed")
        counts = stream["packets"] | stream["packets"]["dropped"]
        assert not any(counts[count] for count in zero), name


@pytest.mark.parametrize(
    ("name", "decode"), [("l16", from_l16), ("stereo", from_l16), ("pcmu", from_mu_law), ("steady", from_l16)]
)
def test_noise_is_removed_after_a_second(call: Call, name: str, decode: Callable) -> None:
    assert drop_db(call.legs[name], 50, 76, decode) > 15


@pytest.mark.parametrize("name", ["l16", "stereo", "pcmu", "opus"])
def test_while_off_payloads_are_unchanged(call: Call, name: str) -> None:
    leg = call.legs[name]
    # It takes effect within 200 ms. Packets received before the switch on are sent unchanged.
    begin, end = Call.OFF + 10, Call.ON - 3
    packet = leg.payloads_of(begin, end)
    assert packet == {n: leg.payload(n) for n in range(begin, end)}
    off, end = call.shown[name][1:]
    assert off["state"] == "relaying" and off["on"] is False and off["levels"] is None
    # At least the packets while off, at most those of 200 ms more.
    assert Call.ON - begin <= end["packets"]["relayed"] <= Call.ON - Call.OFF + 10


@pytest.mark.parametrize(("name", "decode"), [("l16", from_l16), ("stereo", from_l16), ("pcmu", from_mu_law)])
def test_after_switching_on_noise_is_removed_again(call: Call, name: str, decode: Callable) -> None:
    assert drop_db(call.legs[name], Call.ON + 40, Call.END - 4, decode) > 15
    assert call.shown[name][2]["state"] in ("denoising", "stepped-down")


def test_one_decoder_decodes_opus_across_both_switches(call: Call) -> None:
    leg = call.legs["opus"]
    before = from_opus([leg.payload(n) for n in range(Call.END)])
    # The first packet is the silence of the delay.
    after = from_opus([packet.payload for packet in leg.received][1:])

    def drop(begin: int, end: int) -> float:
        parts = (slice(n * 960, (n + 1) * 960) for n in range(begin, end))
        return median_drop_db((before[part], after[part]) for part in parts)

    assert drop(50, 78) > 15
    assert abs(drop(Call.OFF + 12, Call.ON - 3)) < 0.5
    assert drop(Call.ON + 40, Call.END - 4) > 15


def test_no_attenuation_changes_no_sample(call: Call) -> None:
    leg = call.legs["no attenuation"]
    assert leg.payloads_of(0, 200) == {n: leg.payload(n) for n in range(200)}


def test_attenuation_is_limited(call: Call) -> None:
    assert drop_db(call.legs["six decibels"], 50, 200, from_l16) == pytest.approx(6, abs=1)


def test_levels_are_those_of_the_audio(call: Call) -> None:
    leg, levels = call.legs["l16"], call.shown["l16"][0]["levels"]
    assert set(levels) == set("input_dbfs output_dbfs snr_db gain_db speech_probability speech_share".split())
    assert levels["input_dbfs"] == pytest.approx(dbfs(from_l16(leg.payload(70))), abs=3)
    assert levels["output_dbfs"] < levels["input_dbfs"] - 15
    assert levels["gain_db"] == pytest.approx(levels["output_dbfs"] - levels["input_dbfs"], abs=0.1)
    assert levels["speech_probability"] < 0.5 and 0 <= levels["speech_share"] < 0.5


def test_strips_show_input_and_output(call: Call) -> None:
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
    # 255 is 0 dBFS and 0 is -120 dBFS: 15 dB are 32.
    assert np.median(before) > np.median(after) + 32


# Fields of a new stream that change the sent packets.


@dataclass
class Fields:
    MISSING = (12, 27, 42)
    legs: dict[str, Leg]
    shown: dict[str, dict]


@pytest.fixture(scope="module")
def fields(opus_noise: list[bytes]) -> Iterator[Fields]:
    with Relay("--workers", "1") as relay:
        silence = b"\xf8\xff\xfe"  # 20 ms of Opus
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
            "level unchanged": Leg(relay, wide, codec="l16", rate_hz=48000),
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
            leg.send = lambda n, leg=leg: None if n in Fields.MISSING else Leg.send(leg, n)
        legs["red in"].payload_type = 63
        for name in ("level", "level unchanged"):
            leg = legs[name]

            def send(n: int, leg: Leg = leg) -> None:
                packet = leg.packet(n)
                # One word: element 3 with a level of -20 dBFS.
                extension = bytes([0xBE, 0xDE, 0, 1, 0x30, 20, 0, 0])
                leg.send_raw(bytes([packet[0] | 0x10]) + packet[1:12] + extension + packet[12:])

            leg.send = send
        events = legs["events"]

        def with_event(n: int) -> None:
            # The event takes a sequence number before packet 10.
            if n == 10:
                numbers = 101, Leg.FIRST_SEQUENCE + n, events.timestamp(n), events.ssrc
                events.send_raw(rtp(*numbers, b"\x05\x0a\x00\xa0"))
            numbers = 0, Leg.FIRST_SEQUENCE + n + (n >= 10), events.timestamp(n), events.ssrc
            events.send_raw(rtp(*numbers, narrow[n]))

        events.send = with_event
        play(list(legs.values()), range(60))
        yield Fields(legs, {name: leg.show() for name, leg in legs.items()})


def test_the_payload_type_is_as_configured(fields: Fields) -> None:
    assert {packet.payload_type for packet in fields.legs["payload type"].received} == {35}
    assert {packet.payload_type for packet in fields.legs["plain"].received} == {0}


def test_events_pass_unchanged_and_in_order(fields: Fields) -> None:
    leg = fields.legs["events"]
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in itertools.pairwise(leg.received))
    (event,) = [packet for packet in leg.received if packet.payload_type == 101]
    assert (event.payload, event.timestamp) == (b"\x05\x0a\x00\xa0", leg.timestamp(10))
    assert 56 <= len(leg.received) <= 61 and fields.shown["events"]["packets"]["dropped"]["unexpected_payload_type"] == 0


def test_a_lost_packet_is_recovered_from_redundancy(fields: Fields) -> None:
    packets = fields.shown["red in"]["packets"]
    assert (packets["lost"], packets["recovered"], packets["concealed"]) == (3, 3, 0)
    assert fields.legs["red in"].is_continuous()


def test_sent_redundancy_repeats_the_packet_before(fields: Fields) -> None:
    leg = fields.legs["red out"]
    assert {packet.payload_type for packet in leg.received} == {63} and leg.is_continuous()
    for before, now in itertools.pairwise(packet.payload for packet in leg.received[1:]):
        first, second, third, length, primary = now[:5]
        assert (first, second << 6 | third >> 2, third & 3, length, primary) == (0x80, 160, 0, 160, 0)
        assert now[5:165] == before[-160:] and len(now) == 325


def test_the_audio_level_is_that_of_the_sent_audio(fields: Fields) -> None:
    leg, levels = fields.legs["level"], []
    for packet in leg.received[45:]:
        assert packet.datagram[12:17] == b"\xbe\xde\x00\x01\x30"
        levels.append(packet.datagram[17] & 0x7F)
        assert levels[-1] == pytest.approx(min(127, -dbfs(from_l16(packet.payload))), abs=1.5)
    # The median ignores hops without time for the model.
    assert np.median(levels) > 30
    assert {packet.datagram[17] for packet in fields.legs["level unchanged"].received[2:]} == {20}


def test_a_missing_packet_is_waited_for_and_concealed(fields: Fields) -> None:
    for hold_ms in (0, 40, 200):
        leg, name = fields.legs[f"hold {hold_ms}"], f"hold {hold_ms}"
        assert leg.is_continuous(), name
        packets = fields.shown[name]["packets"]
        assert (packets["lost"], packets["concealed"]) == (3, 3) and 56 <= len(leg.received) <= 60, name
        # One packet is sent for each sequence number. The hold starts with the packet after the
        # missing one. A machine can be late, but not early; exact times are unit tests of quietwire-rtp.
        waited_ms = min(1000 * (leg.received[n].at - leg.sent_at[n + 1]) for n in Fields.MISSING)
        assert waited_ms >= hold_ms, name


def test_a_packet_lost_while_off_leaves_a_gap(fields: Fields) -> None:
    leg = fields.legs["lost while off"]
    numbers = [(h.sequence - leg.FIRST_SEQUENCE) & 0xFFFF for h in leg.received]
    assert numbers == [n for n in range(numbers[-1] + 1) if n not in Fields.MISSING]
    assert numbers[-1] >= 55 and fields.shown["lost while off"]["packets"]["lost"] == 3


def test_with_dtx_silence_is_not_sent(fields: Fields) -> None:
    sent = {name: fields.shown[name]["packets"]["sent"] for name in ("dtx", "no dtx")}
    assert sent["no dtx"] in (59, 60) and sent["dtx"] < 40
    pairs = list(itertools.pairwise(fields.legs["dtx"].received))
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairs)
    assert any((b.timestamp - a.timestamp) & 0xFFFFFFFF > 960 for a, b in pairs)


def test_opus_has_the_configured_channels_and_bitrate(fields: Fields) -> None:
    # The third bit of an Opus packet is the stereo flag (RFC 6716 section 3.1).
    assert {packet.payload[0] & 4 for packet in fields.legs["stereo"].received[5:]} == {4}
    few, many = (
        np.mean([len(packet.payload) for packet in fields.legs[name].received[10:]]) * 8 / PACKET_S
        for name in ("few bits", "many bits")
    )
    assert 10_000 < few < 22_000 and 80_000 < many < 160_000


# Wrong packets.


def test_wrong_datagrams_are_counted_and_change_nothing(relay: Relay) -> None:
    payload = l16(noise(960 * 60))
    leg = Leg(relay, payload, codec="l16", rate_hz=48000, attenuation_db=0)
    numbers = leg.FIRST_SEQUENCE + 30, leg.timestamp(30), leg.ssrc
    malformed = [
        b"",
        b"\x80",
        bytes(1000),  # version 0
        b"\xff" * 1000,  # version 3
        rtp(96, *numbers)[:11],
        b"\x8f" + rtp(96, *numbers)[1:],  # 15 contributing sources that are missing
        b"\x90" + rtp(96, *numbers)[1:],  # an extension that is missing
        b"\xa0" + rtp(96, *numbers, b"\xff")[1:],  # more padding than bytes
        rtp(96, *numbers, bytes(9000)),  # longer than any audio packet
        rtp(96, *numbers, bytes(60000)),
    ]
    unexpected_type = [rtp(payload_type, *numbers, payload(0)) for payload_type in (0, 95, 97, 111, 127)]
    rtcp = [
        struct.pack("!BBHI", 0x80, kind, 1, leg.ssrc) + bytes(20) for kind in (200, 201, 203, 206)
    ]
    other_source = [rtp(96, n * 1000, 0, 0xBAD0 + n, payload(0)) for n in range(5)]
    other_source += [
        rtp(96, leg.FIRST_SEQUENCE + far, 0, leg.ssrc, payload(0)) for far in (5000, 20000, -20000)
    ]
    wrong = {"malformed": malformed, "unexpected_payload_type": unexpected_type, "rtcp": rtcp, "probation": other_source}
    wrong["duplicate or late"] = [leg.packet(n) for n in (5, 6, 7)]
    order = [datagram for datagrams in wrong.values() for datagram in datagrams]
    play([leg], range(50), {10 + n: partial(leg.send_raw, datagram) for n, datagram in enumerate(order)})
    packets = leg.counts()
    expected = {name: len(datagrams) for name, datagrams in wrong.items()}
    found = {name: packets[name] for name in ("malformed", "unexpected_payload_type", "rtcp", "probation")}
    assert found | {"duplicate or late": packets["duplicate"] + packets["late"]} == expected
    others = ("lost", "recovered", "concealed", "undecodable", "restarts", "failed")
    assert not any(packets[name] for name in others)
    assert packets["received"] == 50 + len(order)
    assert leg.is_continuous() and leg.show()["last_error"]
    assert leg.payloads_of(0, 48) == {n: payload(n) for n in range(48)}


def test_reordered_duplicate_and_empty_packets_are_handled(relay: Relay) -> None:
    payload = l16(noise(960 * 40))
    leg = Leg(relay, payload, codec="l16", rate_hz=48000, attenuation_db=0)

    def send(n: int) -> None:
        if n == 10:
            return
        leg.send_raw(leg.packet(n))
        if n == 11:
            leg.send_raw(leg.packet(10))
        if n == 15:
            # Its slot is in use while it waits for the packet before it.
            leg.send_raw(leg.packet(17))
            leg.send_raw(leg.packet(17))

    leg.send = send
    play([leg], range(30))
    packets = leg.counts()
    assert packets["duplicate"] + packets["late"] == 2 and packets["duplicate"] >= 1
    assert (packets["received"], packets["lost"]) == (32, 0)
    assert leg.is_continuous()
    assert leg.payloads_of(0, 28) == {n: payload(n) for n in range(28)}
    leg.send_raw(rtp(96, leg.FIRST_SEQUENCE + 30, leg.timestamp(30), leg.ssrc))  # without a sample
    play([leg], range(31, 38))
    packets = leg.counts()
    assert (packets["empty"], packets["undecodable"], packets["restarts"]) == (1, 0, 0)


def test_a_source_that_restarts_is_followed(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 60)), codec="l16", rate_hz=48000)
    play([leg], range(15))
    first = leg.ssrc
    numbers = {n: (96, 777 + n, 5_000_000 + 960 * n, 0xCAFE) for n in range(60)}
    leg.send = lambda n: leg.send_raw(rtp(*numbers[n], leg.payload(n)))
    play([leg], range(15, 40))
    packets = leg.counts()
    assert (packets["restarts"], packets["probation"], packets["received"]) == (1, 1, 40)
    # The receiver gets one source with consecutive sequence numbers and rising timestamps.
    pairs = list(itertools.pairwise(leg.received))
    assert {packet.ssrc for packet in leg.received} == {first}
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in pairs)
    assert all(0 < (b.timestamp - a.timestamp) & 0xFFFFFFFF < 9600 for a, b in pairs)


def test_a_flood_on_one_stream_does_not_cost_another_a_packet() -> None:
    rng = random.Random(3)
    with Relay("--workers", "1") as relay:
        victim = Leg(relay, l16(noise(960)), codec="l16", rate_hz=48000)
        leg = Leg(relay, l16(noise(960 * 80)), codec="l16", rate_hz=48000, attenuation_db=0)
        junk = [rng.randbytes(rng.choice((0, 3, 12, 200, 1500, 9500))) for _ in range(50)]
        junk += [rtp(0, n, n, 1, bytes(160)) for n in range(50)]

        def flood() -> None:
            for n in range(20_000):
                victim.send_raw(junk[n % len(junk)])
                if n % 200 == 199:
                    time.sleep(0.005)  # otherwise the kernel drops most of them

        thread = threading.Thread(target=flood)
        play([leg], range(60), {10: thread.start})
        thread.join()
        assert leg.is_continuous() and leg.payloads_of(0, 58) == {n: leg.payload(n) for n in range(58)}
        packets = leg.show()["packets"]
        passed = dict.fromkeys(("received", "sent", "replaced", "relayed", "waiting"), 0)
        assert packets | passed == ZERO_COUNTS
        packets = victim.counts()
        rejected = sum(packets[name] for name in ("malformed", "unexpected_payload_type", "rtcp", "probation"))
        assert 2_000 < rejected <= 20_000 and packets["sent"] <= 12


def test_packets_of_changing_length_are_all_sent(relay: Relay) -> None:
    # 20 ms at 11025 Hz are 220.5 samples.
    leg = Leg(relay, l16(noise(960)), codec="l16", rate_hz=48000)
    begin = 0
    for n in range(40):
        size = 960 - n % 2
        leg.send_raw(rtp(96, n, begin, leg.ssrc, noise(size, n).tobytes()))
        begin += size
        listen([leg], 0.01)
    assert leg.show()["packets"]["received"] == 40 and len(leg.received) >= 38


def test_while_off_a_network_stall_does_not_cost_a_packet(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 30)), codec="l16", rate_hz=48000, on=False, hold_ms=40)
    play([leg], range(10))
    listen([leg], 5 * PACKET_S)
    for n in range(10, 15):
        leg.send(n)
    play([leg], range(15, 30))
    assert leg.show()["packets"]["received"] == 30
    assert leg.payloads_of(0, 28) == {n: leg.payload(n) for n in range(28)} and leg.is_continuous()


def test_missed_deadlines_never_decrease() -> None:
    with Relay("--workers", "1") as relay:
        payload = noise(1440, 1).tobytes()
        legs = [Leg(relay, lambda _: payload[:1920], codec="l16", rate_hz=48000) for _ in range(24)]
        missed: list[int] = []
        for burst in range(20):
            for n, leg in itertools.product(range(64), legs):
                leg.send(64 * burst + n)
            listen(legs, 0.05)
            missed = [leg.show()["missed_deadlines"] for leg in legs]
            if all(missed):
                break
        assert all(missed), "more packets than the budget allows"
        listen(legs, 0.5)
        n = 64 * (burst + 1)
        for k, leg in itertools.product(range(5), legs):
            numbers = leg.FIRST_SEQUENCE + n + k, leg.timestamp(n) + 48000 + 1440 * k, leg.ssrc
            leg.send_raw(rtp(96, *numbers, payload))
            listen(legs, 0.005)
        listen(legs, 0.3)
        assert all(leg.show()["missed_deadlines"] >= count for leg, count in zip(legs, missed, strict=True))


def test_a_stream_changes_its_target_between_two_packets(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 40)), codec="l16", rate_hz=48000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.setblocking(False)
        target = f"127.0.0.1:{other.getsockname()[1]}"
        play([leg], range(30), {15: lambda: relay.patch(leg.id, send_to=target)})
        at_new_target = []
        with contextlib.suppress(BlockingIOError):
            while True:
                at_new_target.append(ReceivedPacket.parse(other.recv(4096)))
    assert abs(len(leg.received) - 15) <= 1 and abs(len(at_new_target) - 15) <= 1
    leg.received += at_new_target
    assert leg.is_continuous()


def test_a_stream_without_packets_becomes_idle(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 20)), codec="l16", rate_hz=48000)
    assert leg.show()["state"] == "idle"
    play([leg], range(10))
    # Delayed audio is sent, and at most 200 ms are concealed. The exact time is a unit test.
    until = time.monotonic() + 30
    while leg.show()["state"] != "idle" and time.monotonic() < until:
        listen([leg], 0.2)
    stream = leg.show()
    assert stream["state"] == "idle" and stream["levels"] is None
    assert 10 <= len(leg.received) <= 21 and leg.is_continuous()
