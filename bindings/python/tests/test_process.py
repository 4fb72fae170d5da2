"""What the package does to its process: import, threads, memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import quietwire
from conftest import RATE_HZ, noisy


def test_the_import_loads_no_large_module() -> None:
    """The import takes the time of one shared library: neither numpy nor a part of it is loaded."""
    script = (
        "import sys; before = set(sys.modules); import quietwire; print(*sorted(set(sys.modules) - before))"
    )
    printed = subprocess.run(
        [sys.executable, "-I", "-c", script], check=True, capture_output=True, text=True
    ).stdout
    loaded = {name for name in printed.split() if not name.startswith("quietwire")}
    assert loaded <= {"__future__", "typing", "collections.abc", "collections", "re", "functools"} | set(
        # What `typing` loads differs between versions of Python.
        subprocess.run(
            [sys.executable, "-I", "-c", "import typing, sys; print(*sys.modules)"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    )


def test_streams_in_threads_equal_streams_alone() -> None:
    signals = [noisy(RATE_HZ, seed=seed) for seed in range(8)]
    alone = [quietwire.Denoiser(RATE_HZ).process(signal) for signal in signals]
    start = threading.Barrier(8)

    def run(signal: np.ndarray) -> np.ndarray:
        stream = quietwire.Denoiser(RATE_HZ)
        start.wait()
        return np.concatenate([stream.process(block) for block in np.split(signal, 100)])

    with ThreadPoolExecutor(8) as threads:
        for output, expected in zip(threads.map(run, signals), alone, strict=True):
            assert np.array_equal(output, expected)


def test_other_threads_run_while_a_block_is_processed() -> None:
    stream = quietwire.Denoiser(RATE_HZ)
    signal = noisy(20 * RATE_HZ)
    started, done = threading.Event(), threading.Event()

    def run() -> None:
        started.set()
        stream.process(signal)
        done.set()

    thread = threading.Thread(target=run)
    # With this interval no thread loses the interpreter lock unless it releases it.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread.start()
        started.wait()
        assert not done.is_set()
    finally:
        sys.setswitchinterval(interval_s)
        thread.join()


def test_a_signal_stops_a_long_array() -> None:
    # A parent may have left the signal ignored, as shells do for commands in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = threading.Event()

    def interrupt() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            started.set()
            quietwire.clean_array(np.zeros((300 * RATE_HZ, 2), np.int16), RATE_HZ)
            thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_threads_that_share_a_stream_lose_no_block() -> None:
    stream = quietwire.Denoiser(RATE_HZ, bypass=True)
    block = np.ones(480, np.float32)
    with ThreadPoolExecutor(4) as threads:
        outputs = list(threads.map(lambda _: stream.process(block), range(200)))
    assert sum(output.sum() for output in outputs) == 200 * 480 - stream.latency
    assert stream.stats()["interrupted_blocks"] == 0


def test_any_calls_of_any_threads_leave_streams_valid() -> None:
    """Threads call everything on the same streams and the same model, and switch as often as they can."""
    model = quietwire.Model.embedded("tiny")
    streams = [quietwire.Denoiser(RATE_HZ, model=model) for _ in range(2)]
    block = noisy(480)
    start = threading.Barrier(8)

    def run(seed: int) -> None:
        generator = np.random.default_rng(seed)

        def settings(stream: quietwire.Denoiser) -> None:
            stream.bypass = bool(generator.integers(2))
            stream.attenuation_db = float(generator.integers(40))
            stream.set_level("low")
            assert stream.latency == 960 and stream.model.id == "tiny"

        def replaced(stream: quietwire.Denoiser) -> None:
            streams[streams.index(stream)] = quietwire.Denoiser(RATE_HZ, model=model)
            stream.close()

        calls = [
            lambda stream: stream.process(block).shape == (480,) or pytest.fail("shape"),
            lambda stream: stream.flush().shape == (960,) or pytest.fail("shape"),
            lambda stream: stream.telemetry()["hop"].sum(),
            lambda stream: stream.stats()["hops"],
            lambda stream: stream.reset(),
            settings,
            replaced,
        ]
        start.wait()
        for _ in range(150):
            try:
                calls[generator.integers(len(calls))](streams[generator.integers(2)])
            except (quietwire.ClosedError, ValueError) as error:
                # Another thread closed or replaced it.
                assert isinstance(error, quietwire.ClosedError) or "not in list" in str(error)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(run, seed) for seed in range(8)]:
                done.result()
    finally:
        sys.setswitchinterval(interval_s)
    for stream in streams:
        stream.reset()
        stream.bypass = False
        stream.set_level("high")
        # A level fades from the one before.
        stream.process(noisy(9600))
        stream.reset()
        expected = quietwire.Denoiser(RATE_HZ, model=model).process(noisy(9600))
        assert np.array_equal(stream.process(noisy(9600)), expected)


def test_a_stream_can_be_closed_while_another_thread_uses_it() -> None:
    stream = quietwire.Denoiser(RATE_HZ)
    signal = noisy(2 * RATE_HZ)
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(stream.process, signal)
        stream.close()
        try:
            assert result.result().shape == signal.shape
        except quietwire.ClosedError:
            pass
    assert stream.closed


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc of Linux")
def test_memory_is_flat() -> None:
    """Chunks of 10 ms: one minute, or as many seconds as QUIETWIRE_MEMORY_TEST_S states."""
    seconds = int(os.environ.get("QUIETWIRE_MEMORY_TEST_S", "60"))

    def resident_bytes() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    stream = quietwire.Denoiser(RATE_HZ, model="tiny")
    block = noisy(480)
    before = 0
    for second in range(seconds):
        for _ in range(100):
            stream.process(block)
        stream.telemetry()
        with quietwire.Denoiser(RATE_HZ, model="tiny") as short:
            short.process(block)
        if second == 4:
            before = resident_bytes()
    assert resident_bytes() - before < 1_000_000
