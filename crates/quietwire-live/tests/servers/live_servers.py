"""Runs `quietwire live` on a headless sound server with null sinks, and checks what comes out.

    python live_servers.py SERVER QUIETWIRE     SERVER is pulseaudio or pipewire

The microphone is the monitor of a null sink into which a clip is played. `live` cleans it into a virtual
microphone, which is recorded. Everything runs in a private runtime folder: no device and no sound server
of the user is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[4]
RATE = 48_000
SOURCE = "quietwire_test_mic"
SPEAKER = "quietwire_test_speaker_speaker"
NULLS = """
context.objects = [
 { factory = adapter args = { factory.name = support.null-audio-sink node.name = mic_sink
   media.class = Audio/Sink object.linger = true audio.position = [ MONO ] audio.rate = 48000
   monitor.channel-volumes = true } }
 { factory = adapter args = { factory.name = support.null-audio-sink node.name = spk_sink
   media.class = Audio/Sink object.linger = true audio.position = [ MONO ] audio.rate = 48000
   monitor.channel-volumes = true } }
]
"""

# The smallest blocks that PipeWire 1.0 and later grant; 0.3 grants twice as much.
BLOCKS = """
pulse.properties = { pulse.min.req = 128/48000 pulse.min.frag = 128/48000 pulse.min.quantum = 128/48000 }
"""


def wait_for(condition, what: str, seconds: float = 15.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.CalledProcessError, OSError, json.JSONDecodeError):
            if value := condition():
                return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


class Server:
    """A sound server of one kind in a private runtime folder."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        home = folder / "home"
        home.mkdir()
        folder.chmod(0o700)
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PULSE", "PIPEWIRE", "DBUS"))},
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_STATE_HOME": str(home / ".state"),
            "LC_ALL": "C",
        }
        self.processes: list[subprocess.Popen] = []
        if kind == "pipewire":
            conf = home / ".config/pipewire/pipewire.conf.d"
            conf.mkdir(parents=True)
            (conf / "nulls.conf").write_text(NULLS)
            conf = home / ".config/pipewire/pipewire-pulse.conf.d"
            conf.mkdir(parents=True)
            (conf / "blocks.conf").write_text(BLOCKS)

    def spawn(self, *command: str) -> subprocess.Popen:
        log = (self.folder / f"{Path(command[0]).name}.log").open("ab")
        process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start(self) -> None:
        if self.kind == "pulseaudio":
            modules = [
                "module-native-protocol-unix",
                "module-null-sink sink_name=mic_sink rate=48000 channels=1",
                "module-null-sink sink_name=spk_sink rate=48000 channels=1",
            ]
            options = [part for module in modules for part in ("-L", module)]
            self.spawn(
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit"),
                *("--use-pid-file=no", "--log-target=stderr", *options),
            )
        else:
            bus = self.folder / "bus"
            self.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
            self.spawn("dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}")
            wait_for(bus.exists, "D-Bus")
            self.spawn("pipewire")
            wait_for((self.folder / "pipewire-0").exists, "PipeWire")
            self.spawn("wireplumber")
            self.spawn("pipewire-pulse")
        wait_for(lambda: "mic_sink" in self.pactl("list", "short", "sinks"), "null sinks")
        for default in (("set-default-sink", "spk_sink"), ("set-default-source", "mic_sink.monitor")):
            wait_for(lambda default=default: self.pactl(*default) == "", " ".join(default))

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def pactl(self, *arguments: str) -> str:
        return subprocess.run(
            ["pactl", *arguments], env=self.env, check=True, capture_output=True, text=True, timeout=10
        ).stdout

    def names(self, kind: str) -> list[str]:
        return [line.split("\t")[1] for line in self.pactl("list", "short", kind).splitlines()]


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return data.reshape(-1, file.getnchannels()) / 32768.0


def db(power: float) -> float:
    return 10 * np.log10(power + 1e-12)


class Run:
    """`quietwire live` on a server."""

    def __init__(self, server: Server, program: str, *arguments: str) -> None:
        self.server, self.program = server, program
        self.process = subprocess.Popen(
            [program, "live", "--json", *arguments],
            env=server.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ctl(self, *request: str) -> str:
        return subprocess.run(
            [self.program, "live", "ctl", *request],
            env=self.server.env,
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        ).stdout

    def status(self) -> dict:
        return json.loads(self.ctl("status"))

    def wait_running(self) -> dict:
        def running() -> dict | None:
            if self.process.poll() is not None:
                raise AssertionError(f"live ended: {self.process.stderr.read()}")
            status = self.status()
            is_running = all(status[side]["state"] == "running" for side in ("input", "output"))
            return status if is_running and status["model"] else None

        return wait_for(running, "live runs", 30)

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(10)


@contextlib.contextmanager
def live(server: Server, program: str, *arguments: str) -> Iterator[Run]:
    run = Run(server, program, *arguments)
    try:
        run.wait_running()
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def play_and_record(
    server: Server, samples: np.ndarray, folder: Path, sink: str, sources: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Plays samples to a sink. Returns what two sources gave."""
    played = folder / "played.wav"
    write_wav(played, samples)
    recorders, paths = [], []
    for source in sources:
        path = folder / f"{source}.wav"
        paths.append(path)
        recorders.append(
            subprocess.Popen(
                ["parecord", f"--device={source}", "--format=s16le", "--rate=48000", "--channels=1"]
                + ["--latency-msec=10", "--file-format=wav", str(path)],
                env=server.env,
            )
        )
    time.sleep(1.0)
    subprocess.run(
        ["paplay", f"--device={sink}", "--latency-msec=50", str(played)], env=server.env, check=True, timeout=60
    )
    time.sleep(0.7)
    for recorder in recorders:
        recorder.send_signal(signal.SIGINT)
    for recorder in recorders:
        recorder.wait(5)
    raw, clean = (read_wav(path)[:, 0] for path in paths)
    return raw, clean


def check_quality(server: Server, program: str, folder: Path) -> None:
    """The noise floor falls, the speech keeps its level within 1 dB, and there are no xruns."""
    clip = read_wav(ROOT / "samples/office-fan.wav")[:, 0]
    record = folder / "both.wav"
    with live(server, program, "--virtual-mic", "Test Mic", "--record", str(record), "--buffer-ms", "20") as run:
        time.sleep(2)
        before = run.status()
        _, clean = play_and_record(server, clip, folder, "mic_sink", ("mic_sink.monitor", SOURCE))
        status = run.status()
        assert run.stop() == 0
    both = read_wav(record)
    levels = np.array([[db(np.mean(hop**2)) for hop in side.reshape(-1, 480)] for side in trim(both)])
    is_playing = levels[0] > -60
    assert is_playing.sum() > 200, "the clip did not arrive"
    floor_in, floor_out = np.percentile(levels[:, is_playing], 5, axis=1)
    # The power of the hops with speech, less that of the noise.
    powers = 10 ** (levels[:, levels[0] > floor_in + 6] / 10)
    speech_in, speech_out = db(powers[0].mean() - 10 ** (floor_in / 10)), db(powers[1].mean())
    xruns = status["playout"]["underruns"] - before["playout"]["underruns"] + status["input"]["xruns"]
    print(
        f"{server.kind}: noise floor {floor_in:.1f} -> {floor_out:.1f} dBFS, speech {speech_in:.1f} -> "
        f"{speech_out:.1f} dBFS, xruns {xruns}, {status['hop_cost_ms']:.2f} ms a hop, "
        f"{status['realtime']}, latency {status['latency']['total_ms']:.1f} ms"
    )
    assert floor_out < floor_in - 15
    assert abs(speech_out - speech_in) < 1.0
    assert len(clean) > RATE, "the virtual microphone gave nothing"
    assert db(np.mean(clean**2)) > -50
    check_timing(xruns == 0, xruns)


class TimingError(AssertionError):
    """Sound was late on an idle machine."""


def check_timing(is_met: bool, *details: object) -> None:
    """Not on a machine that is busy with other work. `main` repeats a check that fails here."""
    if is_idle() and not is_met:
        raise TimingError(*details)


def is_idle() -> bool:
    return os.getloadavg()[0] < 0.5 * (os.cpu_count() or 1)


def trim(both: np.ndarray) -> np.ndarray:
    """[2, hops * 480]"""
    return both[: len(both) // 480 * 480].T


def output_of(server: Server, *command: str) -> str:
    return subprocess.run(command, env=server.env, check=True, capture_output=True, text=True, timeout=10).stdout


@contextlib.contextmanager
def two_channel_recorder(server: Server, sinks: tuple[str, str], path: Path) -> Iterator[None]:
    """Records the monitors of two sinks of PipeWire as two channels of one node: aligned to the sample."""
    recorder = subprocess.Popen(
        [
            "pw-record",
            "--target",
            "0",
            "--channels",
            "2",
            "--rate",
            "48000",
            "--format",
            "s16",
            str(path),
        ],
        env=server.env,
    )

    def ports(kind: str, node: str) -> list[str]:
        lines = output_of(server, "pw-link", kind).splitlines()
        return sorted(line.strip() for line in lines if line.strip().startswith(f"{node}:"))

    try:
        inputs = wait_for(lambda: ports("-i", "pw-record"), "ports of the recorder")
        for sink, port in zip(sinks, inputs, strict=True):
            output_of(server, "pw-link", ports("-o", sink)[0], port)
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait(5)


def impulses(samples: np.ndarray) -> np.ndarray:
    """The frame of the largest sample of each impulse."""
    samples = np.abs(samples)
    frames, at, threshold = [], 0, 0.4 * samples.max()
    while (above := np.flatnonzero(samples[at:] > threshold)).size:
        first = at + above[0]
        frames.append(first + int(np.argmax(samples[first : first + 100])))
        at = first + RATE // 2
    return np.array(frames)


def record_impulses(server: Server, program: str, folder: Path, count: int) -> tuple[np.ndarray, np.ndarray, list, dict]:
    """Impulses before and after quietwire, the latencies that it states meanwhile, and its playout."""
    clip = np.zeros((count + 1) * RATE)
    for second in range(1, count + 1):
        clip[second * RATE : second * RATE + 24] = 0.9 * np.hanning(24)
    played, recorded = folder / "impulses.wav", folder / "meter.wav"
    write_wav(played, clip)
    arguments = ("--virtual-mic", "Test Mic", "--model", "tiny")
    with live(server, program, *arguments) as run:
        run.ctl("off")
        with two_channel_recorder(server, ("mic_sink", f"{SOURCE}_sink"), recorded):
            # The queue has settled after the start.
            time.sleep(12)
            player = subprocess.Popen(["paplay", "--device=mic_sink", str(played)], env=server.env)
            stated = []
            while player.poll() is None:
                stated.append(run.status()["latency"])
                time.sleep(0.1)
            time.sleep(0.5)
        playout = run.status()["playout"]
        assert run.stop() == 0
    raw, clean = (impulses(side) for side in read_wav(recorded).T)
    return raw, clean, stated, playout


def check_latency(server: Server, program: str, folder: Path) -> None:
    """Impulses arrive after the stated latency, which is below its limit. Needs a recorder on two sinks at once."""
    if server.kind != "pipewire":
        print(f"{server.kind}: no recorder for two sources at once: latency is measured on PipeWire")
        return
    count = 8
    for _ in range(3):
        raw, clean, stated, playout = record_impulses(server, program, folder, count)
        # Without all impulses that quietwire received there is nothing to compare with: the recorder lost some.
        if len(raw) == count:
            break
        print(f"{server.kind}: the recorder has {len(raw)} of {count} impulses before quietwire")
    # A busy machine loses some.
    pairs = [(at, later[0]) for at in raw if (later := clean[(clean > at) & (clean < at + RATE // 4)]).size]
    assert len(pairs) >= 2, (raw, clean)
    check_timing(len(pairs) == count, raw, clean)
    measured_ms = np.array([1e3 * (to - at) / RATE for at, to in pairs])
    stated_ms = np.array([parts["total_ms"] for parts in stated])
    parts = {key: round(float(np.median([p[key] for p in stated])), 1) for key in stated[0]}
    devices = parts["input_device_ms"] + parts["output_device_ms"]
    print(f"{server.kind}: latency measured {np.round(measured_ms, 1)} ms, stated {parts}; {playout}")
    measured, total = float(np.median(measured_ms)), float(np.median(stated_ms))
    print(f"{server.kind}: {measured:.1f} ms measured, {total:.1f} ms stated, of which devices {devices:.1f} ms")
    check_timing(abs(measured - total) < 2 and measured < 40, measured, total)


def check_control(server: Server, program: str) -> None:
    """Switches work, a second instance is refused, and nothing is left behind."""
    with live(server, program, "--virtual-mic", "Test Mic", "--model", "tiny") as run:
        assert SOURCE in server.names("sources")
        run.ctl("off")
        assert run.status()["bypass"]
        run.ctl("toggle")
        run.ctl("level", "low")
        status = run.status()
        assert not status["bypass"] and status["attenuation_db"] == 12.0
        second = subprocess.run([program, "live"], env=server.env, capture_output=True, text=True, timeout=20)
        assert second.returncode == 2 and "another quietwire live" in second.stderr, second
        assert run.stop(signal.SIGINT) == 0
    assert SOURCE not in server.names("sources")
    assert not any("quietwire" in name for name in server.names("sinks"))

    # A killed process leaves its microphone; the next one takes its place.
    run = Run(server, program, "--virtual-mic", "Test Mic", "--model", "tiny")
    run.wait_running()
    run.process.kill()
    run.process.wait()
    assert SOURCE in server.names("sources")
    with live(server, program, "--virtual-mic", "Test Mic", "--model", "tiny") as run:
        assert server.names("sources").count(SOURCE) == 1
        run.ctl("stop")
        assert run.process.wait(10) == 0
    assert SOURCE not in server.names("sources")


def check_devices(server: Server, program: str) -> None:
    """A monitor device beside the output, and a named input that goes and comes back."""
    load = ("load-module", "module-remap-source", "source_name=headset", "master=mic_sink.monitor")
    module = server.pactl(*load).strip()
    arguments = ("--input", "headset", "--virtual-mic", "Test Mic", "--monitor", "--model", "tiny")
    with live(server, program, *arguments) as run:
        assert run.status()["monitor"]["state"] == "running"
        # PipeWire moves the stream to another source; that is a loss too.
        server.pactl("unload-module", module)
        wait_for(lambda: run.status()["input"]["state"] == "waiting", "the loss is reported")
        assert "headset" in run.status()["message"]
        module = server.pactl(*load).strip()
        wait_for(lambda: run.status()["input"]["state"] == "running", "the input runs again")
        assert run.stop() == 0
    server.pactl("unload-module", module)


def check_speaker(server: Server, program: str, folder: Path) -> None:
    """What programs play to the virtual loudspeaker is cleaned, beside a microphone, and never goes in a loop."""
    clip = read_wav(ROOT / "samples/office-fan.wav")[:, 0]
    arguments = ("--virtual-mic", "Test Mic", "--virtual-speaker", "Test Speaker")
    with live(server, program, *arguments) as run:
        assert SPEAKER in server.names("sinks")
        wait_for(lambda: run.status()["speaker"]["model"], "the path of the loudspeaker runs")
        sources = (f"{SPEAKER}.monitor", "spk_sink.monitor")
        raw, clean = play_and_record(server, clip, folder, SPEAKER, sources)
        floors = [noise_floor(side) for side in (raw, clean)]
        print(f"{server.kind}: loudspeaker: noise floor {floors[0]:.1f} -> {floors[1]:.1f} dBFS")
        assert floors[1] < floors[0] - 15
        run.ctl("speaker", "off")
        status = run.status()
        assert status["speaker"]["bypass"] and not status["bypass"]
        server.pactl("set-default-sink", SPEAKER)
        message = wait_for(lambda: run.status()["speaker"]["message"], "the loop is reported")
        assert "would come back" in message, message
        assert run.status()["speaker"]["output"]["state"] == "waiting"
        server.pactl("set-default-sink", "spk_sink")
        wait_for(lambda: run.status()["speaker"]["output"]["state"] == "running", "the loudspeaker runs again")
        assert run.stop() == 0
    assert not any("quietwire" in name for name in server.names("sinks"))


def noise_floor(samples: np.ndarray) -> float:
    """The level that 5 % of the hops with sound are below, dBFS."""
    levels = np.array([db(np.mean(hop**2)) for hop in samples[: len(samples) // 480 * 480].reshape(-1, 480)])
    return float(np.percentile(levels[levels > -100], 5))


def check_compare(server: Server, program: str) -> None:
    """Enter swaps clean and raw and prints the numbers of both; the strength follows the noise."""
    command = [program, "live", "--plain", "--ab", "--level", "auto", "--virtual-mic", "Test Mic", "--model", "tiny"]
    process = subprocess.Popen(
        command,
        env=server.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    run = Run.__new__(Run)
    run.server, run.program, run.process = server, program, process
    try:
        status = run.wait_running()
        assert status["auto_attenuation"] and status["monitor"]["state"] == "running"
        process.stdin.write("\n")
        process.stdin.flush()
        wait_for(lambda: run.status()["bypass"], "raw plays")
        assert run.stop() == 0
        report = process.stderr.read()
        assert "now: raw" in report and "noise floor" in report, report
    finally:
        process.kill()


def check_overload(server: Server, program: str) -> None:
    """Twice as many busy processes as cores: hops go on meanwhile, and the model runs again afterwards."""
    count = 2 * (os.cpu_count() or 1)
    with live(server, program, "--virtual-mic", "Test Mic", "--model", "tiny") as run:
        before = run.status()["hops"]
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        try:
            time.sleep(6)
            during = run.status()
        finally:
            for process in busy:
                process.kill()
                process.wait()
        # 600 hops of 10 ms, less those that the server did not deliver.
        assert during["hops"] - before > 400, (before, during)
        wait_for(lambda: run.status()["model"] == "tiny", "the model runs again")
        underruns = run.status()["playout"]["underruns"]
        time.sleep(3)
        after = run.status()
        print(
            f"{server.kind}: overload: {during['deadline_misses']} missed hops, {during['step_downs']} steps down, "
            f"{during['playout']['underruns']} underruns, queue {during['playout']['queue_ms']:.1f} ms"
        )
        assert run.stop() == 0
    check_timing(after["playout"]["underruns"] == underruns, after)


def check_restart(server: Server, program: str) -> None:
    """The sound server ends and starts again: the microphone comes back."""
    with live(server, program, "--virtual-mic", "Test Mic", "--model", "tiny") as run:
        server.stop()
        wait_for(lambda: run.status()["input"]["state"] != "running", "the loss is reported")
        server.start()
        status = run.wait_running()
        print(f"{server.kind}: running again after {status['input']['opened']} opens")
        wait_for(lambda: SOURCE in server.names("sources"), "the microphone is created again")
        assert run.stop() == 0
    assert SOURCE not in server.names("sources")


def check_failures(server: Server, program: str) -> None:
    """Every failure names what was found and what to do, with exit code 1, and leaves nothing."""

    def fails(*arguments: str, env: dict | None = None) -> str:
        run = subprocess.run(
            [program, "live", "--seconds", "5", *arguments],
            env=env or server.env,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert run.returncode == 1, run
        assert run.stderr.startswith("error: "), run.stderr
        return run.stderr

    assert "no input device has `webcam`" in fails("--input", "webcam", "--virtual-mic", "Test Mic")
    assert SOURCE not in server.names("sources")
    assert "matches several" in fails("--input", "monitor")
    assert "cannot write the recording" in fails("--record", "/nonexistent/a.wav")
    empty = {**server.env, "XDG_RUNTIME_DIR": str(server.folder / "home")}
    assert "cannot be created" in fails("--virtual-mic", "Test Mic", env=empty)
    print(f"{server.kind}: failures are reported")


def run_check(kind: str, name: str, check: Callable[[], None]) -> None:
    """A virtual machine can stop for some milliseconds, which makes sound late in any program: one run of three has
    to be in time."""
    for repetitions_left in (2, 1, 0):
        try:
            check()
        except TimingError as error:
            if repetitions_left == 0:
                raise
            print(f"{kind}: {name} is repeated, sound was late: {error}", flush=True)
        else:
            print(f"{kind}: {name} passed", flush=True)
            return


def main() -> int:
    kind, program = sys.argv[1:3]
    selected = sys.argv[3:]
    work = Path(tempfile.mkdtemp(prefix="qw-"))
    runtime = work / "run"
    runtime.mkdir()
    server = Server(kind, runtime)
    try:
        server.start()
        print(f"{kind}: {' '.join(server.pactl('info').splitlines()[7:9])}")
        checks = {
            "control": lambda: check_control(server, program),
            "failures": lambda: check_failures(server, program),
            "devices": lambda: check_devices(server, program),
            "speaker": lambda: check_speaker(server, program, work),
            "compare": lambda: check_compare(server, program),
            "quality": lambda: check_quality(server, program, work),
            "latency": lambda: check_latency(server, program, work),
            "overload": lambda: check_overload(server, program),
            "restart": lambda: check_restart(server, program),
        }
        for name, check in checks.items():
            if not selected or name in selected:
                run_check(kind, name, check)
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
