"""The relay's interface over HTTP, its command line and its signals.

    QUIETWIRE=target/debug/quietwire python -m pytest tests/relay

Needs pytest, numpy and ffmpeg (with libopus).
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from harness import ANYWHERE, BINARY, PACKET_S, ZERO_COUNTS, Leg, Relay, l16, lines, noise, play

# Streams as resources.


def test_a_new_stream_has_the_documented_defaults(relay: Relay) -> None:
    stream = relay.create()
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", stream.pop("listen"))
    assert 0 <= stream.pop("seconds") < 1
    assert stream == {
        "id": stream["id"],
        "send_to": ANYWHERE,
        "srtp_in": None,
        "srtp_out": None,
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
    wrong_body(422, "object", "[]"),
    wrong_body(422, "object", '["id", "127.0.0.1:0", "127.0.0.1:9"]'),
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
