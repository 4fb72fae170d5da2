"""The control interface over HTTP, the command line and the signals of the relay.

    QUIETWIRE=target/debug/quietwire python -m pytest crates/quietwire-relay/tests/process

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
from harness import BINARY, PACKET_S, UNUSED_ADDRESS, ZERO_COUNTS, Leg, Relay, l16, lines, listen, noise, play

# Longer than anything takes on a busy machine. No test measures a time.
LONG_S = 30
# Fields that grow without packets.
TIMES = ("seconds", "cpu_seconds", "cpu_stage_seconds")

# Streams as resources.


def test_a_new_stream_has_the_documented_defaults(relay: Relay) -> None:
    stream = relay.create()
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", stream.pop("listen"))
    assert stream.pop("seconds") >= 0
    assert stream == {
        "id": stream["id"],
        "labels": {},
        "send_to": UNUSED_ADDRESS,
        "accept_from": None,
        "srtp_in": None,
        "srtp_out": None,
        "codec": "opus",
        "payload_type": 111,
        "channels": 1,
        "on": True,
        "attenuation_db": 40.0,
        "model": "base",
        "active_model": "base",
        "codec_active": True,
        "delay_ms": 20.0,
        "state": "idle",
        "idle_timeout_s": 0,
        "levels": None,
        "packets": ZERO_COUNTS,
        "jitter_ms": 0.0,
        "missed_deadlines": 0,
        "cpu_seconds": 0.0,
        "cpu_stage_seconds": {"socket": 0.0, "decode": 0.0, "denoise": 0.0, "encode": 0.0},
        "last_error": None,
        "last_error_age_s": None,
    }


@pytest.mark.parametrize(
    ("fields", "payload_type"),
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
def test_each_codec_has_its_default_payload_type(relay: Relay, fields: dict, payload_type: int) -> None:
    stream = relay.create(**fields)
    assert (stream["codec"], stream["payload_type"]) == (fields["codec"], payload_type)
    assert stream["channels"] == fields.get("channels", 1)


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
        {"attenuation_db": 200},
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
        {"labels": {"call/id": "42", "side": ""}},
        {"accept_from": "first"},
        {"accept_from": "192.0.2.0/24"},
        {"idle_timeout_s": 86400},
    ],
    ids=str,
)
def test_each_field_is_accepted_and_shown(relay: Relay, field: dict) -> None:
    stream = relay.create(**field)
    for name, value in field.items():
        if name in stream and name != "listen":
            assert stream[name] == value
    assert stream == relay.show(stream["id"]) | {name: stream[name] for name in TIMES}


def test_an_unlimited_attenuation_is_null(relay: Relay) -> None:
    assert relay.create(id="s", attenuation_db="unlimited")["attenuation_db"] is None
    assert relay.create(attenuation_db=None)["attenuation_db"] is None
    assert relay.patch("s", attenuation_db=30)["attenuation_db"] == 30
    # In a change null leaves the field as it is.
    assert relay.patch("s", attenuation_db=None)["attenuation_db"] == 30
    assert relay.patch("s", attenuation_db="unlimited")["attenuation_db"] is None


def test_streams_are_listed_shown_and_removed(relay: Relay) -> None:
    created = [relay.create(id=id) for id in ("b", "a", "c")]
    listed = relay.request("GET", "/v1/streams").json["streams"]
    assert [stream["id"] for stream in listed] == ["a", "b", "c"]
    assert {s["id"]: s["listen"] for s in listed} == {s["id"]: s["listen"] for s in created}
    assert relay.show("b")["listen"] == created[0]["listen"]
    response = relay.request("DELETE", "/v1/streams/b")
    assert (response.status, response.text) == (204, "")
    assert relay.ids() == ["a", "c"]
    for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
        response = relay.request(method, "/v1/streams/b", body)
        assert response.status == 404 and "b" in response.error
    assert relay.create(id="b")["packets"] == ZERO_COUNTS


def test_health_counts_streams_and_models_are_listed(relay: Relay) -> None:
    relay.create()
    health = relay.request("GET", "/health")
    assert health.status == 200
    start_id = health.json["start_id"]
    assert health.json == {
        "status": "ok",
        "streams": 1,
        "version": health.json["version"],
        "start_id": start_id,
    }
    assert re.fullmatch("[0-9a-f]{16}", start_id)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", health.json["version"])
    assert relay.request("GET", "/v1/models").json == {"models": ["base", "tiny"]}


def test_a_change_changes_only_its_fields(relay: Relay) -> None:
    before = relay.create(id="s", attenuation_db=20)
    changes = {"on": False, "attenuation_db": 7.5, "model": "tiny", "send_to": "127.0.0.1:10"}
    for name, value in changes.items():
        now = relay.patch("s", **{name: value})
        different = {key for key in before if before[key] != now[key]}
        assert now[name] == value and different <= {name, *TIMES}
        before = now
    same = relay.patch("s")
    assert {name: same[name] for name in changes} == changes


def test_a_rejected_change_changes_nothing(relay: Relay) -> None:
    relay.create(id="s")
    for wrong in ({"model": "huge"}, {"attenuation_db": -1}, {"send_to": "127.0.0.1:0"}, {"codec": "l16"}):
        right = {"on": False, "attenuation_db": 3, "model": "tiny", "send_to": "127.0.0.1:10"}
        response = relay.request("PATCH", "/v1/streams/s", right | wrong)
        assert response.status == 422 and response.error
        now = relay.show("s")
        found = [now[name] for name in ("on", "attenuation_db", "model", "send_to")]
        assert found == [True, 40.0, "base", UNUSED_ADDRESS]


def test_no_two_streams_share_an_id_or_a_port(relay: Relay) -> None:
    streams = [relay.create() for _ in range(20)]
    for name in ("id", "listen"):
        assert len({stream[name] for stream in streams}) == 20
    taken = streams[0]
    for fields in ({"id": taken["id"]}, {"listen": taken["listen"]}):
        response = relay.request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS} | fields)
        assert response.status == 409 and next(iter(fields.values())) in response.error
    assert len(relay.ids()) == 20


def test_of_requests_for_one_id_at_once_one_succeeds(relay: Relay) -> None:
    statuses = []

    def create() -> None:
        fields = {"send_to": UNUSED_ADDRESS, "id": "one"}
        statuses.append(relay.request("POST", "/v1/streams", fields).status)

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
        relay.request("DELETE", f"/v1/streams/{stream['id']}")
        other.bind((host, int(port)))
    assert relay.create(listen=stream["listen"])["listen"] == stream["listen"]


def test_a_stream_that_cannot_be_created_leaves_nothing(relay: Relay) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        for fields, status in (({"listen": listen}, 409), ({"hold_ms": 900}, 422)):
            response = relay.request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS, "id": "s"} | fields)
            assert response.status == status and response.error
    assert relay.request("GET", "/health").json["streams"] == 0
    relay.create(id="s")


# Wrong requests: method, path, body, headers, expected status, word expected in the error.


def wrong_fields(status: int, about: str, **fields: object) -> tuple:
    return "POST", "/v1/streams", {"send_to": UNUSED_ADDRESS, **fields}, {}, status, about


def wrong_body(status: int, about: str, body: str | bytes, **headers: str) -> tuple:
    return "POST", "/v1/streams", body, headers, status, about


WRONG_REQUESTS = [
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
    wrong_fields(422, "volume", volume=11),
    wrong_fields(422, "send_to", send_to=None),
    wrong_fields(422, "send_to", send_to=9),
    wrong_fields(422, "send_to", send_to="localhost:9"),
    wrong_fields(422, "send_to", send_to="127.0.0.1"),
    wrong_fields(422, "send_to", send_to="127.0.0.1:65536"),
    wrong_fields(422, "send_to", send_to="127.0.0.1:0"),
    wrong_fields(422, "send_to", send_to="0.0.0.0:9"),
    wrong_fields(422, "id", id=""),
    wrong_fields(422, "id", id="x" * 65),
    wrong_fields(422, "id", id=".."),
    wrong_fields(422, "id", id="a/b"),
    wrong_fields(422, "id", id='a"b'),
    wrong_fields(422, "id", id="é"),
    wrong_fields(422, "id", id=7),
    wrong_fields(422, "listen", listen="here"),
    wrong_fields(422, "listen", listen="192.0.2.1:0"),  # an address for documentation (RFC 5737)
    wrong_fields(422, "codec", codec="mp3"),
    wrong_fields(422, "codec", codec="Opus"),
    wrong_fields(422, "rate_hz", codec="opus", rate_hz=16000),
    wrong_fields(422, "rate_hz", codec="pcmu", rate_hz=48000),
    wrong_fields(422, "rate_hz", codec="l16"),
    wrong_fields(422, "L16", codec="l16", rate_hz=0),
    wrong_fields(422, "L16", codec="l16", rate_hz=7999),
    wrong_fields(422, "L16", codec="l16", rate_hz=4294967295),
    wrong_fields(422, "rate_hz", codec="l16", rate_hz=48000.5),
    wrong_fields(422, "rate_hz", codec="l16", rate_hz=-1),
    wrong_fields(422, "payload type", payload_type=128),
    wrong_fields(422, "payload type", payload_type=72),
    wrong_fields(422, "payload type", payload_type=95),
    wrong_fields(422, "payload_type", payload_type=256),
    wrong_fields(422, "payload_type", payload_type="111"),
    wrong_fields(422, "payload type", payload_type=63, red_payload_type=63),
    wrong_fields(422, "payload type", red_payload_type=64),
    wrong_fields(422, "payload type", relayed_payload_types=[111]),
    wrong_fields(422, "payload type", relayed_payload_types=[101, 101]),
    wrong_fields(422, "relayed_payload_types", relayed_payload_types=101),
    wrong_fields(422, "red_payload_type", red_out=True),
    wrong_fields(422, "red_out", red_payload_type=63, red_out="yes"),
    wrong_fields(422, "audio_level_id", audio_level_id=0),
    wrong_fields(422, "audio_level_id", audio_level_id=256),
    wrong_fields(422, "channels", channels=0),
    wrong_fields(422, "channels", channels=3),
    wrong_fields(422, "channels", channels=18446744073709551615),
    wrong_fields(422, "channels", channels=-1),
    wrong_fields(422, "channels", codec="pcma", channels=2),
    wrong_fields(422, "on", on=1),
    wrong_fields(422, "attenuation", attenuation_db=-0.1),
    wrong_fields(422, "attenuation", attenuation_db="40"),
    wrong_fields(422, "model", model="huge"),
    wrong_fields(422, "model", model=""),
    wrong_fields(422, "model", model="../base"),
    wrong_fields(422, "bitrate_bps", bitrate_bps=5999),
    wrong_fields(422, "bitrate_bps", bitrate_bps=510001),
    wrong_fields(422, "complexity", complexity=11),
    wrong_fields(422, "expected_loss_percent", expected_loss_percent=101),
    wrong_fields(422, "dtx", dtx=0),
    wrong_fields(422, "hold", hold_ms=501),
    wrong_fields(422, "hold_ms", hold_ms=1e9),
    wrong_fields(422, "hold_ms", hold_ms=-1),
    wrong_fields(422, "labels", labels={"": "x"}),
    wrong_fields(422, "labels", labels={"a b": "x"}),
    wrong_fields(422, "labels", labels={"a": "x,y"}),
    wrong_fields(422, "labels", labels={"a": "x" * 129}),
    wrong_fields(422, "labels", labels={f"a{n}": "x" for n in range(17)}),
    wrong_fields(422, "string", labels={"a": 1}),
    wrong_fields(422, "accept_from", accept_from="everyone"),
    wrong_fields(422, "accept_from", accept_from="192.0.2.0/33"),
    wrong_fields(422, "accept_from", accept_from=""),
    wrong_fields(422, "idle_timeout_s", idle_timeout_s=86401),
    wrong_fields(422, "idle_timeout_s", idle_timeout_s=-1),
    wrong_fields(422, "send_to", listen="[::]:0", send_to="[::ffff:0.0.0.0]:9"),
    ("PATCH", "/v1/streams/witness", {"labels": {"a b": ""}}, {}, 422, "labels"),
    ("PATCH", "/v1/streams/witness", {"accept_from": "no"}, {}, 422, "accept_from"),
    ("PATCH", "/v1/streams/witness", {"idle_timeout_s": 86401}, {}, 422, "idle_timeout_s"),
    ("PUT", "/v1/streams/a%2Fb", {"send_to": UNUSED_ADDRESS}, {}, 422, "id"),
    ("PUT", "/v1/streams/other", {"send_to": UNUSED_ADDRESS, "id": "another"}, {}, 422, "id"),
    ("PUT", "/v1/streams/witness", {"send_to": UNUSED_ADDRESS, "codec": "pcmu"}, {}, 409, "codec"),
    ("PUT", "/v1/streams/witness", {"send_to": UNUSED_ADDRESS, "model": "huge"}, {}, 422, "model"),
    ("PUT", "/v1/streams/witness", {}, {}, 422, "send_to"),
    ("POST", "/v1/bulk/create", {}, {}, 422, "streams"),
    ("POST", "/v1/bulk/create", {"streams": [{}] * 1001}, {}, 422, "1000"),
    ("POST", "/v1/bulk/create", {"streams": {}}, {}, 422, "streams"),
    ("POST", "/v1/bulk/delete", {}, {}, 422, "ids"),
    ("POST", "/v1/bulk/delete", {"labels": {}}, {}, 422, "labels"),
    ("POST", "/v1/bulk/delete", {"ids": [], "labels": {"a": "b"}}, {}, 422, "either"),
    ("GET", "/v1/streams?limit=0", None, {}, 400, "limit"),
    ("GET", "/v1/streams?limit=1001", None, {}, 400, "limit"),
    ("GET", "/v1/streams?labels=a", None, {}, 400, "labels"),
    ("GET", "/v1/streams?state=happy", None, {}, 400, "state"),
    ("GET", "/v1/streams?label=a:b", None, {}, 400, "label"),
    ("GET", "/v1/events?after=-1", None, {}, 400, "after"),
    ("PATCH", "/v1/streams/witness", "{", {}, 400, "body"),
    ("PATCH", "/v1/streams/witness", "{}", {"content_type": "text/plain"}, 415, "content-type"),
    ("PATCH", "/v1/streams/witness", " " * 65537, {}, 413, "length"),
    ("PATCH", "/v1/streams/witness", {"codec": "l16"}, {}, 422, "codec"),
    ("PATCH", "/v1/streams/witness", {"on": "no"}, {}, 422, "on"),
    ("PATCH", "/v1/streams/witness", {"attenuation_db": -1}, {}, 422, "attenuation"),
    ("PATCH", "/v1/streams/witness", {"model": "huge"}, {}, 422, "model"),
    ("PATCH", "/v1/streams/witness", {"send_to": "127.0.0.1:0"}, {}, 422, "send_to"),
    ("PATCH", "/v1/streams/missing", {"on": False}, {}, 404, "missing"),
    ("GET", "/v1/streams/missing", None, {}, 404, "missing"),
    ("DELETE", "/v1/streams/missing", None, {}, 404, "missing"),
    ("GET", "/v1/streams/" + "x" * 5000, None, {}, 404, "xxx"),
    ("GET", "/v1/streams/a%2Fb", None, {}, 404, "a/b"),
    ("GET", "/v1/streams/", None, {}, 404, "openapi"),
    ("GET", "/v1", None, {}, 404, "openapi"),
    ("GET", "/../etc/passwd", None, {}, 404, "openapi"),
    ("PUT", "/v1/streams", {"send_to": UNUSED_ADDRESS}, {}, 405, "method"),
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


def name_of(wrong: tuple) -> str:
    method, path, body, headers, *_ = wrong
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return f"{method} {path[:30]} {text[:60]} {headers or ''}"


@pytest.mark.parametrize("wrong", WRONG_REQUESTS, ids=map(name_of, WRONG_REQUESTS))
def test_a_wrong_request_is_rejected_with_a_reason(relay: Relay, wrong: tuple) -> None:
    method, path, body, headers, status, about = wrong
    witness = relay.create(id="witness")
    response = relay.request(method, path, body, **headers)
    assert (response.status, about.lower() in response.error.lower()) == (status, True), response.text
    if status == 405:
        assert response.headers["allow"] and method not in response.headers["allow"].split(",")
    now = relay.request("GET", "/v1/streams").json["streams"]
    times = {name: witness[name] for name in TIMES}
    assert [stream | times for stream in now] == [witness]


def test_an_id_that_is_not_utf8_is_rejected_with_a_reason(relay: Relay) -> None:
    response = relay.request("GET", "/v1/streams/%FF")
    assert response.status in (400, 404) and response.error


def test_a_generated_id_is_free(relay: Relay) -> None:
    number = int(relay.create()["id"].removeprefix("stream-"))
    relay.create(id=f"stream-{number + 1}")
    relay.create()


def test_a_client_that_disconnects_leaves_no_reserved_id() -> None:
    with Relay("--workers", "1") as relay:
        # A worker with many streams answers slowly.
        for n in range(40):
            relay.create(id=f"s{n}")
        host, port = relay.address.split(":")
        for n in range(20):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(f"DELETE /v1/streams/s{n} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(0.01)
        assert relay.request("GET", "/health").json["streams"] == len(relay.ids())
        for n in range(20):
            assert f"s{n}" in relay.ids() or relay.create(id=f"s{n}")


def test_a_stream_does_not_send_to_itself(relay: Relay) -> None:
    free = relay.create()
    relay.request("DELETE", f"/v1/streams/{free['id']}")
    own = {"listen": free["listen"], "send_to": free["listen"]}
    assert relay.request("POST", "/v1/streams", own).status == 422


def test_the_limit_of_streams_is_enforced() -> None:
    with Relay("--max-streams", "2", "--workers", "1") as relay:
        relay.create(id="a")
        relay.create(id="b")
        for _ in range(3):
            response = relay.request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS})
            assert response.status == 503 and "limit of 2 streams" in response.error
        relay.request("DELETE", "/v1/streams/a")
        relay.create(id="c")


def test_a_relay_without_free_files_reports_that_it_is_unavailable() -> None:
    with Relay("--workers", "1", files=24) as relay:
        for _ in range(24):
            response = relay.request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS})
            if response.status != 201:
                break
        assert response.status == 503 and response.error


# Access.


def test_a_token_is_required(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" s3cret-Token \n")
    with Relay("--token-file", str(file), "--workers", "1") as relay:
        protected = [
            ("GET", "/v1/streams"),
            ("POST", "/v1/streams"),
            ("GET", "/v1/streams/s"),
            ("PATCH", "/v1/streams/s"),
            ("DELETE", "/v1/streams/s"),
            ("GET", "/v1/models"),
            ("GET", "/v1/strips"),
            ("GET", "/v1/events"),
            ("PUT", "/v1/streams/s"),
            ("POST", "/v1/bulk/create"),
            ("POST", "/v1/bulk/delete"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
        ]
        wrong = ["", "Bearer", "Bearer s3cret", "Bearer s3cret-Token2", "Bearer S3CRET-TOKEN"]
        wrong += ["Basic s3cret-Token", "s3cret-Token", "Bearer s3cret-Token s3cret-Token"]
        for method, path in protected:
            for given in wrong:
                response = relay.request(method, path, authorization=given)
                assert response.status == 401 and response.error
                assert response.headers["www-authenticate"].startswith("Bearer")
        request = partial(relay.request, authorization="Bearer s3cret-Token")
        assert request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS, "id": "s"}).status == 201
        assert request("GET", "/v1/streams").json["streams"][0]["id"] == "s"
        assert request("GET", "/metrics").status == 200
        for path in ("/health", "/livez", "/readyz", "/"):
            assert relay.request("GET", path).status == 200
        # With a token every host name is accepted.
        assert request("GET", "/v1/models", host="relay.example").status == 200


def test_the_authorization_scheme_is_case_insensitive(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret")
    with Relay("--token-file", str(file), "--workers", "1") as relay:
        assert relay.request("GET", "/v1/models", authorization="bearer s3cret").status == 200


def test_without_a_token_only_local_host_names_are_accepted(relay: Relay) -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8790"):
        assert relay.request("GET", "/v1/streams", host=host).status == 200
    other_hosts = [
        "relay.example",
        "relay.example:8790",
        "localhost.relay.example",
        "127.0.0.1.relay.example",
    ]
    for host in [*other_hosts, "192.0.2.1", "[2001:db8::1]:80", "", ":80", "[", "evil@localhost"]:
        for path in ("/v1/streams", "/", "/health", "/metrics"):
            response = relay.request("GET", path, host=host)
            assert response.status == 403 and "Host" in response.error
    response = relay.request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS}, host="relay.example")
    assert response.status == 403 and relay.ids() == []


# The page, the description, the metrics.


def test_the_page_loads_nothing_from_other_origins(relay: Relay) -> None:
    page = relay.request("GET", "/")
    assert page.status == 200 and page.headers.get_content_type() == "text/html"
    policy = dict(part.split(maxsplit=1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page.text)


def description_operations(description: dict) -> list[tuple[tuple[str, str], dict]]:
    paths = description["paths"].items()
    return [((path, method), operation) for path, item in paths for method, operation in item.items()]


def test_the_openapi_description_matches_the_interface(relay: Relay) -> None:
    description = relay.request("GET", "/openapi.json").json
    assert description["openapi"].startswith("3.")
    operations = {(path, method) for path, item in description["paths"].items() for method in item}
    # The events have no end: a test of their own follows them.
    operations.remove(("/v1/events", "get"))
    assert len(operations) == 14
    # The stream is removed last.
    for path, method in sorted(operations, key=lambda pair: pair[1] == "delete"):
        relay.create(id="s") if "s" not in relay.ids() else None
        for body in ({}, {"send_to": UNUSED_ADDRESS}, None) if method in ("post", "put", "patch") else (None,):
            response = relay.request(method.upper(), path.replace("{id}", "s"), body)
            assert response.status not in (404, 405)
            assert str(response.status) in description["paths"][path][method]["responses"]
    schemas = description["components"]["schemas"]
    stream = relay.create()
    assert set(schemas["Stream"]["properties"]) == set(stream)
    assert set(schemas["PacketStats"]["properties"]) == set(stream["packets"])
    assert set(schemas["Dropped"]["properties"]) == set(stream["packets"]["dropped"])
    error = relay.request("POST", "/v1/streams", {"none of them": 0}).error
    fields = set(re.findall(r"`(\w+)`", error.split("expected one of")[1]))
    assert set(schemas["NewStream"]["properties"]) == fields
    assert schemas["NewStream"]["required"] == ["send_to"]
    error = relay.request("PATCH", f"/v1/streams/{stream['id']}", {"none of them": 0}).error
    fields = set(re.findall(r"`(\w+)`", error.split("expected one of")[1]))
    assert set(schemas["Change"]["properties"]) == fields
    for (path, method), operation in description_operations(description):
        is_public = path in ("/health", "/livez", "/readyz")
        assert ("401" in operation["responses"]) != is_public and "403" in operation["responses"]
        assert operation.get("security") == (None if is_public else [{"token": []}, {}])
        assert all(response["description"] for response in operation["responses"].values())
        assert ("408" in operation["responses"]) == ("requestBody" in operation), (path, method)
    assert description["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
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


def test_metrics_are_prometheus_text_and_equal_the_json(relay: Relay) -> None:
    legs = [Leg(relay, l16(noise(960 * 20, seed)), codec="l16", rate_hz=48000) for seed in (1, 2)]
    relay.patch(legs[1].id, on=False)
    play(legs, range(18), {5: lambda: legs[0].send_raw(b"no RTP"), 9: lambda: legs[1].send_raw(bytes(50))})
    listen(legs, 0.2)  # until the packet that waits is sent
    response = relay.request("GET", "/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples, types = prometheus(response.text)
    assert samples["quietwire_streams", ()] == 2 and types["quietwire_streams"] == "gauge"
    # The streams are read after the metrics. No packet arrives in between, but time passes.
    for leg in legs:
        stream = leg.show()
        packets = stream["packets"]
        names = "received sent replaced relayed lost recovered concealed unreachable".split()
        expected = {f"packets_{name}_total": packets[name] for name in names}
        expected |= {
            "active": stream["state"] != "idle",
            "codec_active": stream["codec_active"],
            "packets_waiting": packets["waiting"],
            "delay_changes_total": packets["delay_changes"],
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
        assert found == expected
        drops = {
            labels[1][1]: value
            for (name, labels), value in samples.items()
            if name == "quietwire_stream_packets_dropped_total" and labels[0] == ("stream", leg.id)
        }
        assert drops == packets["dropped"] | {"socket_buffer": 0} and sum(drops.values()) == 1
        for stage, seconds in stream["cpu_stage_seconds"].items():
            labels = (("stream", leg.id), ("stage", stage))
            assert abs(samples["quietwire_stream_cpu_seconds_total", labels] - seconds) < 0.05
        assert packets["received"] == 19
    missed = {labels: v for (name, labels), v in samples.items() if name.endswith("worker_missed_hops_total")}
    assert sum(missed.values()) >= sum(leg.show()["missed_deadlines"] for leg in legs)
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"):
        assert samples[f"process_{name}", ()] > 0
    assert abs(samples["process_start_time_seconds", ()] - time.time()) < 600
    assert samples["quietwire_build_info", (("version", relay.request("GET", "/health").json["version"]),)] == 1
    assert samples["quietwire_start_info", (("start_id", relay.request("GET", "/health").json["start_id"]),)] == 1
    hops = [v for (name, _), v in samples.items() if name == "quietwire_worker_hops_total"]
    assert sum(hops) > 0 and len(hops) == len(missed)


def test_an_idle_stream_has_no_processor_time() -> None:
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
def test_a_relay_that_cannot_start_reports_the_reason(tmp_path: Path, args: list[str], about: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        names = {"EMPTY": tmp_path / "empty", "NONE": tmp_path / "none"}
        names["TAKEN"] = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "empty").write_text(" \n")
        args = [str(names.get(arg, arg)) for arg in args]
        free = [] if "--http" in args else ["--http", "127.0.0.1:0"]
        command = [BINARY, "relay", *free, *args]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)
    assert ended.returncode not in (0, 101) and ended.stdout == ""
    assert len(lines(ended.stderr)) == 1 and ended.stderr.startswith("error: ")
    assert str(names.get(about, about)) in ended.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--workers", "0"],
        ["--max-streams", "many"],
        ["--drain-seconds", "inf"],
        ["--http", "8790"],
        ["--log-format", "xml"],
        ["--log-level", "loud"],
    ],
    ids=str,
)
def test_an_invalid_option_is_rejected(args: list[str]) -> None:
    ended = subprocess.run([BINARY, "relay", *args], capture_output=True, text=True, timeout=LONG_S)
    assert ended.returncode == 2 and args[0] in ended.stderr


# Signals.


def test_after_sigterm_active_streams_continue() -> None:
    with Relay("--workers", "1") as relay:
        leg = Leg(relay, l16(noise(960 * 80)), codec="l16", rate_hz=48000, attenuation_db=0)
        relay.create(id="idle")

        def check_draining() -> None:
            health = relay.request("GET", "/health")
            assert (health.status, health.json["status"], health.json["streams"]) == (503, "draining", 2)
            assert relay.request("GET", "/readyz").status == 503
            assert relay.request("GET", "/livez").status == 200
            response = relay.request("POST", "/v1/streams", {"send_to": UNUSED_ADDRESS})
            assert response.status == 503 and "drain" in response.error
            assert relay.ids() == ["idle", leg.id]
            assert relay.patch(leg.id, on=True)["state"] != "idle"

        events = {
            10: lambda: relay.process.send_signal(signal.SIGTERM),
            15: check_draining,
            55: check_draining,
        }
        play([leg], range(60), events)
        assert relay.is_alive()
        assert leg.is_continuous() and leg.payloads_of(0, 58) == {n: leg.payload(n) for n in range(58)}
        assert relay.wait(LONG_S) == 0
        log = relay.process.stderr.read()
        assert log.count("draining: no new streams") == 1 and "limit_s=30" in log


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_a_drain(name: str) -> None:
    with Relay("--workers", "1") as relay:
        leg = Leg(relay, l16(noise(960 * 30)), codec="l16", rate_hz=48000)
        end = partial(relay.process.send_signal, getattr(signal, name))
        play([leg], range(20), {10: end})
        assert relay.is_alive()
        end()
        assert relay.wait(LONG_S) == 0


def test_a_drain_ends_at_its_limit() -> None:
    # The exact limit is a unit test of the drain.
    with Relay("--workers", "1", "--drain-seconds", "0.5") as relay:
        leg = Leg(relay, l16(noise(960)), codec="l16", rate_hz=48000)
        play([leg], range(10))
        relay.process.send_signal(signal.SIGTERM)
        for n in range(10, int(LONG_S / PACKET_S)):
            leg.send(n)
            with contextlib.suppress(subprocess.TimeoutExpired):
                relay.process.wait(PACKET_S)
                break
        assert relay.wait(0) == 0


def test_a_relay_without_streams_ends_on_sigterm() -> None:
    with Relay() as relay:
        assert relay.request("GET", "/health").status == 200
        relay.process.send_signal(signal.SIGTERM)
        assert relay.wait(LONG_S) == 0


def test_sigterm_right_after_the_ready_line_ends_the_relay() -> None:
    for _ in range(5):
        with Relay("--workers", "1") as relay:
            relay.process.send_signal(signal.SIGTERM)
            assert relay.wait(LONG_S) == 0


def test_wrong_requests_do_not_cost_a_stream_a_packet(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 60)), codec="l16", rate_hz=48000, attenuation_db=0, id="witness")
    threads = [
        threading.Thread(target=lambda: [relay.request(*wrong[:3], **wrong[3]) for wrong in WRONG_REQUESTS])
        for _ in range(2)
    ]
    play([leg], range(50), {5: threads[0].start, 6: threads[1].start})
    for thread in threads:
        thread.join()
    assert leg.is_continuous() and leg.payloads_of(0, 48) == {n: leg.payload(n) for n in range(48)}
