"""The relay as a service: slow clients, tokens, loops, senders, configuration, logs.

    QUIETWIRE=target/debug/quietwire python -m pytest crates/quietwire-relay/tests/process/test_service.py
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import BINARY, PACKET_S, UNUSED_ADDRESS, Leg, Relay, l16, lines, listen, noise, play, rtp

LONG_S = 30
L16 = {"codec": "l16", "rate_hz": 48000}


def until(condition: Callable[[], object]) -> object:
    """Waits until the condition is true, and returns its value."""
    deadline = time.monotonic() + LONG_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def connect(relay: Relay) -> socket.socket:
    host, port = relay.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=LONG_S)


def read_log(relay: Relay, end: int = signal.SIGKILL) -> str:
    """Ends the relay and returns its log."""
    relay.process.send_signal(end)
    relay.process.wait(LONG_S)
    return relay.process.stderr.read()


# Slow clients.


def test_silent_clients_keep_nobody_out(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret")
    with Relay("--workers", "1", "--token-file", str(token), files=128) as relay:
        request = {"authorization": "Bearer s3cret"}
        leg = None
        relay_create = relay.create
        relay.create = lambda **fields: relay.request("POST", "/v1/streams", fields, **request).json
        leg = Leg(relay, l16(noise(960 * 40)), attenuation_db=0, id="call", **L16)
        relay.create = relay_create
        silent = []
        for _ in range(140):
            client = connect(relay)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            silent.append(client)
        # Calls go on, and the operator can do everything.
        play([leg], range(30))
        assert leg.is_continuous() and leg.payloads_of(0, 28) == {n: leg.payload(n) for n in range(28)}
        assert relay.request("GET", "/health").status == 200
        assert relay.request("GET", "/metrics", **request).status == 200
        for n in range(20):
            body = {"send_to": UNUSED_ADDRESS, "id": f"s{n}"}
            assert relay.request("POST", "/v1/streams", body, **request).status == 201
        assert relay.request("DELETE", "/v1/streams/call", **request).status == 204
        for client in silent:
            client.close()


POST = b"POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_connections_without_progress_are_closed(relay: Relay) -> None:
    parts = {
        "nothing": (b"", 9, 20),
        "half of the headers": (b"GET /health HTTP/1.1\r\n", 9, 20),
        "half of the body": (POST + b"Content-Length: 9\r\n\r\n{", 9, 20),
        "no second request": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 55, 75),
    }
    ended: dict[str, tuple[float, bytes]] = {}

    def client(name: str, part: bytes) -> None:
        started, answer = time.monotonic(), b""
        with connect(relay) as connection:
            connection.settimeout(100)
            connection.sendall(part)
            while received := connection.recv(4096):
                answer += received
                if b" 408 " in answer and b"not received within" in answer:
                    break
        ended[name] = time.monotonic() - started, answer

    threads = [threading.Thread(target=client, args=(name, part)) for name, (part, *_) in parts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, (_, shortest, longest) in parts.items():
        assert shortest < ended[name][0] < longest, name
    assert b" 408 " in ended["half of the body"][1] and b" 200 " in ended["no second request"][1]


def test_headers_that_are_too_long_are_rejected(relay: Relay) -> None:
    with connect(relay) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_reads_nothing_is_disconnected() -> None:
    with Relay("--workers", "1") as relay:
        for n in range(50):
            relay.create(id=f"s{n}")
        with connect(relay) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            started = time.monotonic()
            # More answers than the buffers take.
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while time.monotonic() - started < LONG_S:
                    with contextlib.suppress(socket.timeout, BlockingIOError):
                        client.settimeout(0.1)
                        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert relay.request("GET", "/health").status == 200


# Tokens.


@pytest.mark.parametrize(
    ("content", "about"),
    [
        (b"two words\n", "line 1"),
        (b"right\n\nschl\xc3\xbcssel\n", "line 3"),
        (b"\xff\xfe\n", "line 1"),
        (b"x" * 2000, "2000"),
        (b"tab\there", "line 1"),
    ],
    ids=["space", "not ASCII", "not UTF-8", "too long", "tab"],
)
def test_a_token_that_no_header_can_carry_is_refused_at_the_start(
    tmp_path: Path, content: bytes, about: str
) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(content)
    for command in ([], ["check-config"]):
        args = [BINARY, "relay", "--http", "127.0.0.1:0", "--token-file", str(file), *command]
        ended = subprocess.run(args, capture_output=True, text=True, timeout=LONG_S)
        assert ended.returncode == 1 and len(lines(ended.stderr)) == 1
        assert about in ended.stderr and "token" in ended.stderr and "words" not in ended.stderr


def test_tokens_are_read_again_on_sighup(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\nother\n")
    with Relay("--workers", "1", "--token-file", str(file)) as relay:

        def status(token: str) -> int:
            return relay.request("GET", "/v1/models", authorization=f"Bearer {token}").status

        assert [status(token) for token in ("old", "other", "new")] == [200, 200, 401]
        file.write_text("other\nnew\n")
        assert status("new") == 401
        relay.process.send_signal(signal.SIGHUP)
        until(lambda: status("new") == 200)
        assert [status(token) for token in ("old", "other", "new")] == [401, 200, 200]
        # A wrong file changes nothing.
        for wrong in ("", "two words\n"):
            file.write_text(wrong)
            relay.process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
            assert [status(token) for token in ("old", "other", "new")] == [401, 200, 200]
        log = read_log(relay)
        assert "tokens read again" in log and log.count("the present ones stay") == 2
        assert "401" in log or "without a valid token" in log
        assert "Bearer" not in log and "new" not in log.replace("no new", "")


def test_sighup_without_a_token_file_ends_nothing(relay: Relay) -> None:
    relay.process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert relay.request("GET", "/health").status == 200


# Loops.


def free_port(family: int = socket.AF_INET) -> int:
    with socket.socket(family, socket.SOCK_DGRAM) as other:
        other.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return other.getsockname()[1]


@pytest.mark.parametrize(
    ("listen_on", "send_to"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2"),
        ("[::]", "[::1]"),
        ("[::]", "[::ffff:127.0.0.1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
    ],
)
def test_a_stream_does_not_send_to_itself_by_another_name(relay: Relay, listen_on: str, send_to: str) -> None:
    port = free_port()
    fields = {"listen": f"{listen_on}:{port}", "send_to": f"{send_to}:{port}"}
    response = relay.request("POST", "/v1/streams", fields)
    assert response.status == 422 and "send_to" in response.error and not relay.ids()
    # Nor after a change.
    other = free_port()
    stream = relay.create(**fields | {"send_to": f"{send_to}:{other}"})
    response = relay.request("PATCH", f"/v1/streams/{stream['id']}", {"send_to": fields["send_to"]})
    assert response.status == 422 and "send_to" in response.error
    assert relay.show(stream["id"])["send_to"].endswith(f":{other}")


def test_streams_form_no_ring(relay: Relay) -> None:
    ports = [free_port() for _ in range(3)]
    address = [f"127.0.0.1:{port}" for port in ports]
    relay.create(id="a", listen=address[0], send_to=address[1])
    relay.create(id="b", listen=address[1], send_to=address[2])
    last = {"id": "c", "listen": address[2], "send_to": address[0]}
    response = relay.request("POST", "/v1/streams", last)
    assert response.status == 422 and "send_to" in response.error
    relay.create(**last | {"send_to": UNUSED_ADDRESS})
    assert relay.request("PATCH", "/v1/streams/c", {"send_to": address[0]}).status == 422
    put = last | {"send_to": address[0]}
    assert relay.request("PUT", "/v1/streams/c", put).status == 422
    # A chain is no ring, and a removed stream is no part of one.
    relay.request("DELETE", "/v1/streams/a")
    assert relay.request("PATCH", "/v1/streams/c", {"send_to": address[0]}).status == 200


# Senders.


def packets_from(relay: Relay, stream: dict, sender: socket.socket, count: int = 5) -> None:
    """Sends packets of a new source, and waits until they are counted."""
    before = relay.show(stream["id"])["packets"]["received"]
    host, port = stream["listen"].rsplit(":", 1)
    payload, ssrc = bytes(1920), next(Leg.sources)
    for n in range(count):
        sender.sendto(rtp(96, 100 + n, 960 * n, ssrc, payload), (host, int(port)))
    shown = None

    def all_counted() -> bool:
        nonlocal shown
        shown = relay.show(stream["id"])["packets"]
        return shown["received"] >= before + count

    until(all_counted)


@contextlib.contextmanager
def udp_socket() -> socket.socket:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(LONG_S)
        yield one


def name_of(one: socket.socket) -> str:
    host, port = one.getsockname()
    return f"{host}:{port}"


def test_packets_of_the_target_are_dropped_and_counted(relay: Relay) -> None:
    with udp_socket() as peer:
        stream = relay.create(send_to=name_of(peer), **L16)
        packets_from(relay, stream, peer)
        shown = relay.show(stream["id"])
        assert shown["packets"]["dropped"]["from_target"] == shown["packets"]["received"] == 5
        assert name_of(peer) in shown["last_error"] and "accept_from" in shown["last_error"]
        assert shown["last_error_age_s"] >= 0 and shown["state"] == "idle"
        # When it is intended, they are accepted.
        for accept_from in ("any", name_of(peer)):
            relay.patch(stream["id"], accept_from=accept_from)
            before = relay.show(stream["id"])["packets"]["received"]
            packets_from(relay, stream, peer)
            after = relay.show(stream["id"])["packets"]
            assert (after["received"], after["dropped"]["from_target"]) == (before + 5, 5)


def test_only_accepted_senders_are_received(relay: Relay) -> None:
    with udp_socket() as one, udp_socket() as other:
        for accept_from, expected in (
            (name_of(one), (5, 0)),
            ("127.0.0.1", (5, 5)),
            ("127.0.0.0/8", (5, 5)),
            ("192.0.2.0/24", (0, 0)),
            ("first", (5, 0)),
        ):
            stream = relay.create(accept_from=accept_from, **L16)
            assert stream["accept_from"] == accept_from
            for sender, accepted in zip((one, other), expected, strict=True):
                before = relay.show(stream["id"])["packets"]
                packets_from(relay, stream, sender)

                def dropped(before: dict = before, stream: dict = stream) -> int:
                    now = relay.show(stream["id"])["packets"]["dropped"]["not_accepted"]
                    return now - before["dropped"]["not_accepted"]

                until(lambda accepted=accepted, dropped=dropped: dropped() == 5 - accepted)
            shown = relay.show(stream["id"])
            if expected != (5, 5):
                assert "accept_from" in shown["last_error"]
        # The next first sender.
        relay.patch(stream["id"], accept_from="first")
        packets_from(relay, stream, other)
        assert relay.show(stream["id"])["packets"]["dropped"]["not_accepted"] == 5


def test_a_target_without_a_receiver_is_reported(relay: Relay) -> None:
    with udp_socket() as gone:
        target = name_of(gone)
    leg = Leg(relay, l16(noise(960 * 40)), send_to=target, accept_from="any", **L16)
    play([leg], range(20))
    shown = leg.show()
    assert shown["packets"]["unreachable"] > 10 and target in shown["last_error"]
    assert "unreachable" in shown["last_error"]
    # Reports do not take the place of packets to the next target.
    relay.patch(leg.id, send_to=name_of(leg.socket), attenuation_db=0)
    play([leg], range(20, 40))
    assert leg.is_continuous() and len(leg.received) >= 19
    assert leg.show()["packets"]["failed"] == 0


# Several streams at a time.


def test_put_is_idempotent(relay: Relay) -> None:
    fields = {"send_to": UNUSED_ADDRESS, "labels": {"call": "1"}, "idle_timeout_s": 60}
    first = relay.request("PUT", "/v1/streams/s", fields)
    assert first.status == 201
    for _ in range(3):
        again = relay.request("PUT", "/v1/streams/s", fields)
        assert again.status == 200 and again.json["listen"] == first.json["listen"]
    changed = relay.request("PUT", "/v1/streams/s", {"send_to": "127.0.0.1:10", "on": False})
    assert changed.status == 200
    expected = {"send_to": "127.0.0.1:10", "on": False, "labels": {}, "idle_timeout_s": 0}
    assert {name: changed.json[name] for name in expected} == expected
    # After a PATCH, PUT restores.
    relay.patch("s", model="tiny", attenuation_db=3)
    restored = relay.request("PUT", "/v1/streams/s", {"send_to": "127.0.0.1:10"}).json
    assert (restored["model"], restored["attenuation_db"], restored["on"]) == ("base", 40, True)
    response = relay.request("PUT", "/v1/streams/s", {"send_to": "127.0.0.1:10", "dtx": True, "channels": 2})
    assert response.status == 409 and "channels, dtx" in response.error
    assert relay.ids() == ["s"]


def test_streams_are_created_and_removed_in_bulk(relay: Relay) -> None:
    streams = [{"send_to": UNUSED_ADDRESS, "id": f"s{n}", "labels": {"call": str(n % 2)}} for n in range(6)]
    wrong = [{"send_to": "here"}, {"id": "s0", "send_to": UNUSED_ADDRESS}, 7, {"id": "x", "channels": 9}]
    response = relay.request("POST", "/v1/bulk/create", {"streams": streams + wrong})
    assert response.status == 200
    results = response.json["results"]
    assert [result["status"] for result in results] == [201] * 6 + [422, 409, 422, 422]
    assert all(result["error"] for result in results[6:]) and results[9]["id"] == "x"
    assert [result["stream"]["id"] for result in results[:6]] == relay.ids()
    deleted = relay.request("POST", "/v1/bulk/delete", {"ids": ["s0", "missing", "s0"]}).json["results"]
    assert [(r["id"], r["status"]) for r in deleted] == [("s0", 204), ("missing", 404), ("s0", 404)]
    deleted = relay.request("POST", "/v1/bulk/delete", {"labels": {"call": "1"}}).json["results"]
    assert [(r["id"], r["status"]) for r in deleted] == [("s1", 204), ("s3", 204), ("s5", 204)]
    assert relay.ids() == ["s2", "s4"]


def test_lists_are_filtered_and_paged(relay: Relay) -> None:
    for n in range(10):
        relay.create(id=f"s{n}", labels={"call": str(n // 4), "side": "ab"[n % 2]}, on=n != 9)

    def get(query: str) -> tuple[list[str], str | None]:
        page = relay.request("GET", f"/v1/streams?{query}").json
        return [stream["id"] for stream in page["streams"]], page["next"]

    assert get("") == ([f"s{n}" for n in range(10)], None)
    assert get("limit=4") == (["s0", "s1", "s2", "s3"], "s3")
    assert get("limit=4&after=s3") == (["s4", "s5", "s6", "s7"], "s7")
    assert get("limit=4&after=s7") == (["s8", "s9"], None)
    assert get("limit=2&after=s7") == (["s8", "s9"], None)
    assert get("after=s") == get("")
    assert get("labels=call:1") == (["s4", "s5", "s6", "s7"], None)
    assert get("labels=call:1,side:b&limit=1") == (["s5"], "s5")
    assert get("labels=call:1,side:b&limit=1&after=s5") == (["s7"], None)
    assert get("labels=call:9") == ([], None)
    assert get("state=idle&limit=3") == (["s0", "s1", "s2"], "s2")
    assert get("state=denoising") == ([], None)


def test_streams_without_packets_expire(relay: Relay) -> None:
    leg = Leg(relay, l16(noise(960 * 150)), attenuation_db=0, idle_timeout_s=1, id="call", **L16)
    relay.create(id="quiet", idle_timeout_s=1)
    relay.create(id="later", idle_timeout_s=1)
    relay.create(id="forever")
    relay.patch("later", idle_timeout_s=0)
    play([leg], range(120))
    assert relay.ids() == ["call", "forever", "later"]
    until(lambda: relay.ids() == ["forever", "later"])
    assert relay.create(id="quiet")["packets"]["received"] == 0


# Events.


class EventReader:
    """Follows the events of a relay."""

    def __init__(self, relay: Relay, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection(relay.address, timeout=LONG_S)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("GET", f"/v1/events{query}", headers=fields)
        self.response = self.connection.getresponse()

    def next(self) -> dict:
        fields = {}
        while line := self.response.readline().decode().rstrip("\n"):
            if not line.startswith(":"):
                name, value = line.split(": ", 1)
                fields[name] = value
        if not fields:
            return self.next()
        event = json.loads(fields["data"])
        assert fields["event"] == event["kind"] and int(fields["id"]) == event["number"]
        return event

    def close(self) -> None:
        self.connection.close()


def test_state_changes_are_sent_as_events() -> None:
    with Relay("--workers", "1") as relay:
        events = EventReader(relay)
        assert events.response.status == 200
        assert events.response.headers.get_content_type() == "text/event-stream"
        leg = Leg(relay, l16(noise(960 * 60)), id="call", **L16)
        play([leg], range(10))
        relay.patch("call", on=False)
        play([leg], range(10, 40))
        relay.create(id="quiet", idle_timeout_s=1)
        seen = [events.next() for _ in range(7)]
        kinds = [(e["kind"], e["stream"], e["state"], e["active_model"]) for e in seen]
        assert kinds[:5] == [
            ("created", "call", None, None),
            ("state", "call", "denoising", "base"),
            ("changed", "call", None, None),
            ("state", "call", "relaying", kinds[3][3]),
            ("created", "quiet", None, None),
        ]
        ends = [("state", "call", "idle"), ("expired", "quiet", None)]
        assert {kind[:3] for kind in kinds[5:]} == set(ends)
        assert [e["number"] for e in seen] == list(range(1, 8))
        relay.request("DELETE", "/v1/streams/call")
        assert events.next()["kind"] == "removed"
        events.close()
        # A client that comes back misses nothing.
        for again in (EventReader(relay, "?after=5"), EventReader(relay, last_event_id="5")):
            assert [again.next()["number"] for _ in range(3)] == [6, 7, 8]
            again.close()
        assert all(abs(e["unix_s"] - time.time()) < 600 for e in seen)


def test_the_number_of_event_clients_is_limited(relay: Relay) -> None:
    readers = [EventReader(relay) for _ in range(16)]
    assert all(reader.response.status == 200 for reader in readers)
    response = relay.request("GET", "/v1/events")
    assert response.status == 503 and response.error
    for reader in readers:
        reader.close()

    def is_free() -> bool:
        reader = EventReader(relay)
        reader.close()
        return reader.response.status == 200

    until(is_free)


# Configuration and logs.


def test_flags_environment_and_file_are_equal(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("s3cret")
    file = tmp_path / "relay.toml"
    options = {
        "http": "127.0.0.1:1234",
        "token_file": str(tmp_path / "tokens"),
        "models": "tiny,base",
        "workers": "2",
        "max_streams": "7",
        "drain_seconds": "1.5",
        "log_format": "json",
        "log_level": "warn",
    }
    numbers = ("workers", "max_streams", "drain_seconds")
    quoted = {name: value if name in numbers else json.dumps(value) for name, value in options.items()}
    quoted["models"] = '["tiny", "base"]'
    file.write_text("\n".join(f"{name} = {value}" for name, value in quoted.items()))

    def check(args: list[str], env: dict[str, str]) -> list[str]:
        command = [BINARY, "relay", "check-config", *args]
        environment = {**os.environ, **env}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONG_S)
        assert ended.returncode == 0, ended.stderr
        return [line for line in lines(ended.stdout) if not line.startswith("#")]

    flags = [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
    env = {f"QUIETWIRE_RELAY_{name.upper()}": value for name, value in options.items()}
    by_flags = check(flags, {})
    assert by_flags == check([], env) == check(["--config", str(file)], {})
    assert check([], {"QUIETWIRE_RELAY_CONFIG": str(file)}) == by_flags
    # The output is a file with the same options.
    printed = tmp_path / "printed.toml"
    printed.write_text("\n".join(by_flags))
    assert check(["--config", str(printed)], {}) == by_flags
    # Flags come before the environment, and that before the file.
    mixed = check(["--config", str(file), "--workers", "5"], {"QUIETWIRE_RELAY_WORKERS": "4"})
    assert "workers = 5" in mixed
    mixed = check(["--config", str(file)], {"QUIETWIRE_RELAY_MAX_STREAMS": "4"})
    assert "max_streams = 4" in mixed and "workers = 2" in mixed


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("https = 1", "https"),
        ('http = "here"', "http"),
        ("workers = 0", "workers"),
        ('models = ["huge"]', "huge"),
        ("drain_seconds = -1.0", "drain"),
        ("[", "relay.toml"),
        ('token_file = "missing"', "missing"),
    ],
)
def test_a_wrong_file_is_rejected(tmp_path: Path, text: str, about: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(text)
    for command in ([], ["check-config"]):
        args = [BINARY, "relay", "--config", str(file), *command]
        ended = subprocess.run(args, capture_output=True, text=True, timeout=LONG_S)
        assert ended.returncode in (1, 2) and about in ended.stderr and not ended.stdout


def test_the_log_is_json_if_requested() -> None:
    with Relay("--workers", "1", "--log-format", "json", env={"QUIETWIRE_RELAY_LOG_LEVEL": "info"}) as relay:
        relay.create(id="s")
        relay.patch("s", on=False)
        relay.request("DELETE", "/v1/streams/s")
        records = [json.loads(line) for line in lines(read_log(relay, signal.SIGTERM))]
        assert {"timestamp", "level", "message"} <= set(records[0])
        assert records[0]["message"] == "relay started" and records[0]["workers"] == 1
        of_stream = [record["message"] for record in records if record.get("stream") == "s"]
        assert of_stream == ["stream created", "stream changed", "stream removed"]
        assert records[-1]["message"] == "relay ended"


def test_the_log_level_limits_the_log() -> None:
    with Relay("--workers", "1", "--log-level", "warn") as relay:
        with udp_socket() as peer:
            stream = relay.create(send_to=name_of(peer), id="s", **L16)
            packets_from(relay, stream, peer)
            time.sleep(2 * PACKET_S)
        log = lines(read_log(relay))
        assert len(log) == 1 and "WARN" in log[0] and "from_target" in log[0] and "s" in log[0]


def test_livez_and_readyz_are_apart() -> None:
    with Relay("--workers", "1", "--max-streams", "1") as relay:
        assert relay.request("GET", "/readyz").json["status"] == "ok"
        relay.create(id="s")
        ready = relay.request("GET", "/readyz")
        assert ready.status == 503 and "limit" in ready.json["status"]
        assert relay.request("GET", "/livez").status == relay.request("GET", "/health").status == 200
        ids = {relay.request("GET", path).json["start_id"] for path in ("/livez", "/readyz", "/health")}
        assert len(ids) == 1
    with Relay("--workers", "1") as another:
        assert another.request("GET", "/health").json["start_id"] not in ids


def test_processor_time_is_not_waiting_time() -> None:
    with Relay("--workers", "1") as relay:
        legs = [Leg(relay, l16(noise(960 * 60, n)), **L16) for n in range(3)]
        play(legs, range(50))
        listen(legs, 0.1)
        metrics = relay.request("GET", "/metrics").text
        names = dict(line.rsplit(" ", 1) for line in lines(metrics) if not line.startswith("#"))
        of_streams = sum(leg.show()["cpu_seconds"] for leg in legs)
        process = float(names["process_cpu_seconds_total"])
        thread = float(names['quietwire_worker_thread_cpu_seconds_total{worker="0"}'])
        stages = [v for k, v in names.items() if k.startswith("quietwire_worker_cpu_seconds_total")]
        assert len(stages) == 4 and 0 < of_streams <= thread <= process
        assert sum(map(float, stages)) <= thread
