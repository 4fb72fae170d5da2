"""A pipeline of Ray Data: names of files in, cleaned files and one row of results for each out."""

from __future__ import annotations

import logging
import os
import posixpath
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
import ray.data

import quietwire
from quietwire._formats import AUDIO_EXTENSIONS

from ._storage import STATE, Folder

if TYPE_CHECKING:
    from quietwire._native import _ChannelMode, _Level

# A file that ends its worker this often, for example for lack of memory, is a failure.
MAX_ATTEMPTS = 3
MAX_BLOCKS = 10_000


@dataclass(frozen=True)
class Failure:
    """A file that could not be cleaned."""

    name: str
    """Relative to the input folder."""
    error: str
    """What was expected and what was found."""


@dataclass
class Summary:
    """The counts of one run. `cleaned + done_before + failed` is the number of audio files."""

    cleaned: int = 0
    done_before: int = 0
    """Files whose output of an earlier run belongs to the same input and options."""
    failures: list[Failure] = field(default_factory=list)
    other_files: int = 0
    """Files whose name has no audio extension. They are left out."""
    audio_s: float = 0.0
    """Length of the audio that this run cleaned, s."""
    worker_s: float = 0.0
    """Time of all workers for it, s, with reading and writing."""
    run_s: float = 0.0
    """Duration of the run, s, with the start of Ray."""

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def hours_per_core_hour(self) -> float:
        """Hours of audio that one worker cleans in an hour."""
        return self.audio_s / self.worker_s if self.worker_s else 0.0


class Cleaner:
    """The actor: cleans the files whose names are in a batch. One for each worker, with one model.

    For `ray.data.Dataset.map_batches(Cleaner, fn_constructor_kwargs={...}, batch_size=1)`. The column
    `name` has names relative to the input folder. The result has the columns `name`, `status`
    ("cleaned", "done_before" or "failed"), `error`, `audio_s` and `worker_s`.

    An output appears under its name when it is complete; then its record is written to
    `.quietwire/done/` in the output folder. A record holds the size and version of the input and the
    options, so a repeated name is cleaned only if one of them has changed.
    """

    def __init__(
        self,
        source: str,
        destination: str,
        *,
        run: str = "",
        options: dict[str, Any] | None = None,
        format: str = "wav",
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        self._source = Folder(source, storage_options)
        self._destination = Folder(destination, storage_options)
        self._run = run
        self._options = dict(options or {})
        self._format = format
        model = quietwire.Denoiser(48_000, model=self._options.pop("model", None)).model
        self._model = model
        # What decides the bits of an output.
        self._settings = {
            **self._options,
            "format": format,
            "model": f"{model.id} {model.version}",
            "quietwire": quietwire.__version__,
        }

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = [self._row(str(name)) for name in batch["name"]]
        return {key: [row[key] for row in rows] for key in ("name", "status", "error", "audio_s", "worker_s")}

    def _row(self, name: str) -> dict[str, Any]:
        started = time.monotonic()
        row = {"name": name, "status": "failed", "error": "", "audio_s": 0.0, "worker_s": 0.0}
        try:
            row.update(self._clean_once(name))
        except Exception as error:  # One bad file never stops the others.
            row["error"] = f"{type(error).__name__}: {error}"
        row["worker_s"] = time.monotonic() - started
        return row

    def _clean_once(self, name: str) -> dict[str, Any]:
        output = output_name(name, self._format)
        found = self._source.state_of(name)
        if found is None:
            raise FileNotFoundError(f"expected the file {name}, found none: it was removed after the listing")
        done_name = f"{STATE}/done/{name}.json"
        done = self._destination.read_json(done_name)
        if done is not None and done.get("input") == found and done.get("settings") == self._settings:
            at_output = self._destination.state_of(output)
            if at_output is not None and at_output["size"] == done.get("output_size"):
                # A worker that ended after the record was written, but before Ray had the result.
                if done.get("run") == self._run:
                    return {"status": "cleaned", "audio_s": done["audio_s"]}
                return {"status": "done_before"}
        attempt_name = f"{STATE}/attempts/{name}.json"
        before = self._destination.read_json(attempt_name) or {}
        attempts = before.get("attempts", 0) if before.get("run") == self._run else 0
        if attempts >= MAX_ATTEMPTS:
            raise RuntimeError(f"the file ended its worker {attempts} times: it is left out of this run")
        attempt = {"run": self._run, "attempts": attempts + 1, "pid": os.getpid()}
        self._destination.write_json(attempt_name, attempt)
        try:
            audio_s, size = self._clean(name, output)
            record = {
                "input": found,
                "settings": self._settings,
                "output": output,
                "output_size": size,
                "audio_s": audio_s,
                "run": self._run,
            }
            self._destination.write_json(done_name, record)
        finally:
            self._destination.remove(attempt_name)
        return {"status": "cleaned", "audio_s": audio_s}

    def _clean(self, name: str, output: str) -> tuple[float, int]:
        """Writes the output. Returns the length of the audio, s, and the size of the output, bytes."""
        with tempfile.TemporaryDirectory(prefix="quietwire-") as work:
            source = self._source.path(name)
            if not self._source.is_local:
                source = os.path.join(work, posixpath.basename(name))
                self._source.download(name, source)
            suffix = f".{self._format}"
            # A rename is only atomic within one file system.
            part = self._destination.temporary(suffix) if self._destination.is_local else work + "/part" + suffix
            try:
                report = quietwire.clean_file(source, part, self._model, **self._options)
                size = os.path.getsize(part)
                self._destination.publish(part, output)
            finally:
                if os.path.exists(part):
                    os.remove(part)
        return float(report["input"]["seconds"]), size


def output_name(name: str, format: str) -> str:
    """The output of an input: `talk.wav` for `talk.wav`, `talk.mp3.wav` for `talk.mp3`. It depends on
    nothing but the name, so every run finds the outputs of the runs before.
    """
    suffix = f".{format}"
    return name if name.lower().endswith(suffix) else name + suffix


def clean_folder(
    source: str,
    destination: str,
    *,
    model: str | None = None,
    level: _Level | None = None,
    attenuation_db: float | None = None,
    channel_mode: _ChannelMode = "independent",
    format: str = "wav",
    workers: int | None = None,
    storage_options: dict[str, Any] | None = None,
    progress: Callable[[Summary, int], object] | None = None,
) -> Summary:
    """Cleans every audio file of a folder, at any depth, into another folder.

    A run that was interrupted goes on where it ended when it is started again: files whose input,
    options and output are unchanged are not cleaned again. One run at a time for each output folder.

    Args:
        source, destination: local paths or addresses of fsspec. The output folder has the subfolders
            and names of the input folder; an input that is not of the output's format keeps its
            extension, `talk.mp3.wav`.
        model: the id of a model of the package, or the path of a folder that all workers have.
        level, attenuation_db, channel_mode: as `quietwire.clean_file`.
        format: "wav" or "flac".
        workers: number of workers, one core each. Default: all cores of the cluster.
        storage_options: arguments for the file systems of fsspec.
        progress: called after each file with the counts so far and the number of audio files.

    Returns:
        The counts and the failures, which are also in `.quietwire/failures.txt` of the output folder.

    Raises:
        InvalidOptionError, UnknownModelError: an option is wrong. No file was touched.
        FileNotFoundError: the input folder does not exist.

    Starts Ray on this machine if it was not started: `ray.init(address=...)` before uses a cluster.
    """
    started = time.monotonic()
    if format not in ("wav", "flac"):
        raise quietwire.InvalidOptionError(f"format: expected 'wav' or 'flac', found {format!r}")
    if workers is not None and workers < 1:
        raise quietwire.InvalidOptionError(f"workers: expected 1 or more, found {workers}")
    if model is not None and model not in quietwire.Model.embedded_ids():
        # Workers may run in another folder.
        model = os.path.abspath(model) if os.path.isdir(model) else model
    options: dict[str, Any] = {
        "model": model,
        "level": level,
        "attenuation_db": attenuation_db,
        "channel_mode": channel_mode,
    }
    quietwire.Denoiser(48_000, **options).close()
    inputs, outputs = Folder(source, storage_options), Folder(destination, storage_options)
    if not inputs.exists():
        raise FileNotFoundError(f"expected a folder of recordings, found nothing at {source}")
    names = inputs.names()
    audio = [name for name in names if posixpath.splitext(name)[1].lower() in AUDIO_EXTENSIONS]
    summary = Summary(other_files=len(names) - len(audio))
    by_output: dict[str, str] = {}
    for name in audio:
        first = by_output.setdefault(output_name(name, format), name)
        if first != name:
            summary.failures.append(Failure(name, f"its output would be that of {first}: rename one of them"))
    todo = list(by_output.values())
    # What an interrupted run has left.
    outputs.remove(f"{STATE}/part")
    if todo:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        cores = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
        count = workers or int(cores)
        settings = {
            "run": uuid.uuid4().hex,
            "options": options,
            "format": format,
            "storage_options": storage_options,
        }
        rows = ray.data.from_items(
            [{"name": name} for name in todo], override_num_blocks=min(len(todo), MAX_BLOCKS)
        ).map_batches(
            Cleaner,
            batch_size=1,
            fn_constructor_args=(inputs.address, outputs.address),
            fn_constructor_kwargs=settings,
            compute=ray.data.ActorPoolStrategy(size=min(count, len(todo))),
            num_cpus=1,
        )
        for row in rows.iter_rows():
            if row["status"] == "cleaned":
                summary.cleaned += 1
                summary.audio_s += row["audio_s"]
                summary.worker_s += row["worker_s"]
            elif row["status"] == "done_before":
                summary.done_before += 1
            else:
                summary.failures.append(Failure(row["name"], row["error"]))
            if progress is not None:
                summary.run_s = time.monotonic() - started
                progress(summary, len(audio))
    failures = "".join(f"{failure.name}: {failure.error}\n" for failure in summary.failures)
    outputs.write_text(f"{STATE}/failures.txt", failures)
    outputs.remove(f"{STATE}/part")
    outputs.remove(f"{STATE}/attempts")
    summary.run_s = time.monotonic() - started
    return summary
