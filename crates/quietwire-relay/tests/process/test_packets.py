"""What the relay makes of packets on real sockets.

    QUIETWIRE=target/debug/quietwire python -m pytest tests/relay

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
    Heard,
    Leg,
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
        parts = (slice(n * 960, (n + 1) * 960) for n in range(begin, end))
        return median_drop_db((before[part], after[part]) for part in parts)

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
    MISSING = (12, 27, 42)
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
            leg.send = lambda n, leg=leg: None if n in Fields.MISSING else Leg.send(leg, n)
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
    assert 56 <= len(leg.heard) <= 61 and fields.shown["events"]["packets"]["foreign"] == 0


def test_a_lost_packet_is_found_in_redundancy(fields: Fields) -> None:
    packets = fields.shown["red in"]["packets"]
    assert (packets["lost"], packets["recovered"], packets["concealed"]) == (3, 3, 0)
    assert fields.legs["red in"].is_continuous()


def test_redundancy_brings_the_packet_before_again(fields: Fields) -> None:
    leg = fields.legs["red out"]
    assert {heard.payload_type for heard in leg.heard} == {63} and leg.is_continuous()
    for before, now in itertools.pairwise(heard.payload for heard in leg.heard[1:]):
        first, second, third, length, primary = now[:5]
        assert (first, second << 6 | third >> 2, third & 3, length, primary) == (0x80, 160, 0, 160, 0)
        assert now[5:165] == before[-160:] and len(now) == 325


def test_the_audio_level_is_that_of_what_goes_out(fields: Fields) -> None:
    leg, levels = fields.legs["level"], []
    for heard in leg.heard[45:]:
        assert heard.datagram[12:17] == b"\xbe\xde\x00\x01\x30"
        levels.append(heard.datagram[17] & 0x7F)
        assert levels[-1] == pytest.approx(min(127, -dbfs(from_l16(heard.payload))), abs=1.5)
    # Cleaned, but for hops that found no time.
    assert np.median(levels) > 30
    assert {heard.datagram[17] for heard in fields.legs["level as it came"].heard[2:]} == {20}


def test_a_missing_packet_is_waited_for_and_made_up(fields: Fields) -> None:
    waited_ms = {}
    for hold_ms in (0, 40, 200):
        leg, name = fields.legs[f"hold {hold_ms}"], f"hold {hold_ms}"
        assert leg.is_continuous(), name
        packets = fields.shown[name]["packets"]
        assert (packets["lost"], packets["concealed"]) == (3, 3) and 56 <= len(leg.heard) <= 60, name
        # One goes out for each place, and the hold begins with the packet after the missing one.
        # Of three the shortest: a machine may be late, but not early.
        waited_ms[hold_ms] = min(1000 * (leg.heard[n].at - leg.sent_at[n + 1]) for n in Fields.MISSING)
        assert waited_ms[hold_ms] >= hold_ms, name
    assert waited_ms[0] + 20 < waited_ms[40] and waited_ms[40] + 80 < waited_ms[200]
    # What a packet takes that waits for nothing, the others take too.
    assert waited_ms[0] < 40 and all(waited_ms[ms] < ms + 50 + waited_ms[0] for ms in (40, 200))


def test_what_is_lost_while_off_leaves_its_number_out(fields: Fields) -> None:
    leg = fields.legs["lost while off"]
    numbers = [(h.sequence - leg.FIRST_SEQUENCE) & 0xFFFF for h in leg.heard]
    assert numbers == [n for n in range(numbers[-1] + 1) if n not in Fields.MISSING]
    assert numbers[-1] >= 55 and fields.shown["lost while off"]["packets"]["lost"] == 3


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
        legs = [Leg(relay, lambda _: payload[:1920], codec="l16", rate_hz=48000) for _ in range(24)]
        missed: list[int] = []
        for burst in range(20):
            for n, leg in itertools.product(range(64), legs):
                leg.send(64 * burst + n)
            listen(legs, 0.05)
            missed = [leg.show()["missed_deadlines"] for leg in legs]
            if all(missed):
                break
        assert all(missed), "so much at once cannot be in time"
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
