"""Folders of recordings with Ray: results, resuming, killed workers and drivers, S3."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import quietwire
from conftest import RATE_HZ, SAMPLES, noisy, write_float_wav

pytest.importorskip("ray.data")

from quietwire.ray import clean_folder
from quietwire.ray.__main__ import storage_options


@pytest.fixture(scope="module", autouse=True)
def no_ray_afterwards() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


def make_inputs(folder: Path, seconds: int = 1) -> list[str]:
    """Four recordings in two folders. Returns their names."""
    names = ["a.wav", "b.wav", "deep/c.wav", "deep/er/d.wav"]
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_float_wav(path, noisy(seconds * RATE_HZ, seed=seed))
    return names


def check_outputs(inputs: Path, outputs: Path, names: list[str], work: Path) -> None:
    """Every output equals that of `clean_file`, and nothing that is not complete is left."""
    for name in names:
        quietwire.clean_file(inputs / name, work / "expected.wav", "tiny", overwrite=True)
        assert (outputs / name).read_bytes() == (work / "expected.wav").read_bytes(), name
    found = {str(path.relative_to(outputs)) for path in outputs.rglob("*") if path.is_file()}
    records = {f".quietwire/done/{name}.json" for name in names}
    assert found == {*names, *records, ".quietwire/failures.txt"}


def written(path: Path) -> tuple[int, int]:
    """Changes when a file is written again. Its time of modification is that of the input."""
    state = path.stat()
    return state.st_ino, state.st_ctime_ns


def start(inputs: Path, outputs: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "quietwire.ray", inputs, outputs, "--model", "tiny", "--workers", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end_s, "no progress for 120 s"
        time.sleep(0.01)


def test_a_folder_is_cleaned_once_and_failures_are_listed(tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    names = make_inputs(inputs)
    (inputs / "text.mp3").write_text("no audio")
    (inputs / "notes.txt").write_text("no audio either")
    (inputs / ".hidden.wav").write_text("hidden")
    seen: list[int] = []
    first = clean_folder(
        str(inputs), str(outputs), model="tiny", workers=2, progress=lambda summary, total: seen.append(total)
    )
    assert (first.cleaned, first.done_before, first.failed, first.other_files) == (4, 0, 1, 1)
    assert first.audio_s == 4
    assert first.hours_per_core_hour > 0
    assert seen == [5] * 5
    (failure,) = first.failures
    assert failure.name == "text.mp3"
    assert "InvalidAudioError" in failure.error
    assert "text.mp3" in (outputs / ".quietwire/failures.txt").read_text()
    check_outputs(inputs, outputs, names, tmp_path)

    (inputs / "text.mp3").unlink()
    times = {name: written(outputs / name) for name in names}
    write_float_wav(inputs / "a.wav", noisy(2 * RATE_HZ, seed=9))
    (outputs / "b.wav").unlink()
    # Relative paths are those of the caller.
    again = clean_folder(os.path.relpath(inputs), os.path.relpath(outputs), model="tiny")
    assert (again.cleaned, again.done_before, again.failed) == (2, 2, 0)
    check_outputs(inputs, outputs, names, tmp_path)
    changed = {name for name in names if written(outputs / name) != times[name]}
    assert changed == {"a.wav", "b.wav"}
    # Other options are other outputs.
    assert clean_folder(str(inputs), str(outputs), model="tiny", level="low").cleaned == 4


def test_other_formats_keep_their_extension_in_the_name(tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for name in ("x.flac", "y.wav"):
        (inputs / name).write_bytes((SAMPLES / ("street.flac" if "flac" in name else "quiet.wav")).read_bytes())
    (inputs / "x.flac.wav").write_bytes((SAMPLES / "quiet.wav").read_bytes())
    summary = clean_folder(str(inputs), str(outputs), model="tiny")
    assert (summary.cleaned, summary.failed) == (2, 1)
    assert "x.flac" in summary.failures[0].error
    assert {path.name for path in outputs.iterdir()} == {"x.flac.wav", "y.wav", ".quietwire"}


def test_wrong_options_touch_nothing(tmp_path: Path) -> None:
    make_inputs(tmp_path / "in")
    inputs, outputs = str(tmp_path / "in"), str(tmp_path / "out")
    for options in [{"format": "mp3"}, {"workers": 0}, {"level": "max"}, {"level": "low", "attenuation_db": 1}]:
        with pytest.raises(quietwire.InvalidOptionError):
            clean_folder(inputs, outputs, **options)
    with pytest.raises(quietwire.UnknownModelError):
        clean_folder(inputs, outputs, model="none")
    with pytest.raises(FileNotFoundError, match="nothing at"):
        clean_folder(str(tmp_path / "none"), outputs)
    assert not (tmp_path / "out").exists()


def test_a_file_that_ends_its_worker_fails_and_the_others_lose_nothing(tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    names = make_inputs(inputs, seconds=30)
    process = start(inputs, outputs)
    attempt = outputs / ".quietwire/attempts/b.wav.json"
    for number in (1, 2, 3):

        def is_running(number: int = number) -> bool:
            return attempt.exists() and json.loads(attempt.read_text()).get("attempts") == number

        wait_for(process, is_running)
        os.kill(json.loads(attempt.read_text())["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    assert "3 cleaned, 0 done before, 1 failed" in out
    assert "failed: b.wav: RuntimeError: the file ended its worker 3 times" in err
    assert not (outputs / "b.wav").exists()
    assert list((outputs / ".quietwire").glob("part/*")) == []
    times = {name: written(outputs / name) for name in names if name != "b.wav"}

    process = start(inputs, outputs)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "1 cleaned, 3 done before, 0 failed" in out
    assert all(written(outputs / name) == times[name] for name in times)
    check_outputs(inputs, outputs, names, tmp_path)


def test_a_run_goes_on_after_its_driver_was_killed(tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    names = make_inputs(inputs, seconds=30)
    process = start(inputs, outputs)
    done = outputs / ".quietwire/done"
    attempts = outputs / ".quietwire/attempts"
    # In the middle of a file.
    wait_for(process, lambda: any(done.rglob("*.json")) and any(attempts.rglob("*.json")))
    process.kill()
    process.communicate()
    before = {str(path.relative_to(done))[:-5] for path in done.rglob("*.json")}
    times = {name: written(outputs / name) for name in before}

    process = start(inputs, outputs)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert " 0 failed" in out
    assert all(written(outputs / name) == times[name] for name in before)
    check_outputs(inputs, outputs, names, tmp_path)


@pytest.fixture
def s3_options() -> Iterator[dict[str, str]]:
    """Endpoint and keys of a local S3 server with the empty bucket `recordings`."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"key": "test", "secret": "test", "endpoint_url": f"http://{host}:{port}"}
        s3fs.S3FileSystem(**options).mkdir("recordings")
        yield options
        # The objects of all servers of a process are in one place.
        request = urllib.request.Request(f"{options['endpoint_url']}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()
    finally:
        server.stop()


def test_s3(s3_options: dict[str, str], tmp_path: Path) -> None:
    """From a folder of a bucket into another one."""
    import s3fs

    store = s3fs.S3FileSystem(**s3_options)
    names = make_inputs(tmp_path / "in")
    store.put(f"{tmp_path}/in/", "recordings/in/", recursive=True)
    for expected in [(4, 0), (0, 4)]:
        summary = clean_folder(
            "s3://recordings/in", "s3://recordings/out", model="tiny", storage_options=s3_options
        )
        assert summary.failures == []
        assert (summary.cleaned, summary.done_before) == expected
    store.invalidate_cache()
    store.get("recordings/out/", f"{tmp_path}/out/", recursive=True)
    check_outputs(tmp_path / "in", tmp_path / "out", names, tmp_path)


def test_the_command_takes_the_endpoint_and_the_keys_of_s3(
    s3_options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a local folder into a bucket, and from there into a local folder."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    names = make_inputs(tmp_path / "in")
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"key": "test", "secret": "test"}))
    endpoint = f"endpoint_url={s3_options['endpoint_url']}"
    command = [sys.executable, "-m", "quietwire.ray", "--model", "tiny", "--workers", "1", "--quiet"]
    for source, destination, options in [
        (str(tmp_path / "in"), "s3://recordings/out", [f"@{keys}", endpoint]),
        ("s3://recordings/out", str(tmp_path / "out"), [json.dumps(s3_options)]),
    ]:
        given = [part for option in options for part in ("--storage-options", option)]
        run = [*command, source, destination, "--attenuation-db", "0" if "s3" in source else "40", *given]
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "4 cleaned, 0 done before, 0 failed" in done.stdout
    # The way back had a limit of 0 dB, which changes nothing.
    check_outputs(tmp_path / "in", tmp_path / "out", names, tmp_path)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("anon=true", {"anon": True}),
        ("secret=5=x", {"secret": "5=x"}),
        ("key=", {"key": ""}),
        ('{"client_kwargs": {"region_name": "eu"}}', {"client_kwargs": {"region_name": "eu"}}),
    ],
)
def test_storage_options(text: str, options: dict[str, object]) -> None:
    assert storage_options(text) == options


@pytest.mark.parametrize("text", ["key", "=x", "", "{", "@/none", "@", "[1]"])
def test_wrong_storage_options_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected"):
        storage_options(text)
