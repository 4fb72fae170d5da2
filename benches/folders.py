"""Folders with Ray: hours of audio for each core-hour, measured, and what 1000 cores would do, simulated.

    pip install "quietwire[ray]"
    python benches/folders.py --json benches/results/folders.json

Measured on this machine, with recordings of 60 s and 48 kHz that it makes from samples/office-fan.wav:

- `clean_folder` with 1 and with 2 workers: audio over run time and over the time of the workers;
- the time of a file beside its audio: files of 0.1 s;
- how many blocks in a second Ray gives to workers: an actor that does nothing.

The simulation takes these and the assumptions below. Blocks of files (`MAX_BLOCKS` of the pipeline, one file each
in smaller folders) start in order on the first free worker, but no faster than Ray gives them out; the end of a
run, when some workers have no block any more, is part of it. `efficiency` is relative to the same audio on as many
cores without any loss.
"""

from __future__ import annotations

import argparse
import heapq
import logging
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))

from result_file import write_result

SAMPLE = ROOT / "samples" / "office-fan.wav"
FILE_S = 60.0
SHORT_S = 0.1
SHORT_FILES = 60
NOOP_BLOCKS = 300

# That of `quietwire.ray`.
MAX_BLOCKS = 10_000
# Assumptions of the simulation.
CORES_OF_A_NODE = 64
NODE_GBIT_S = 25.0
"""Network of a node, shared by its workers."""
STORE_GBIT_S = 400.0
"""All reads and writes of the object store together."""
START_S = 60.0
"""Start of all nodes, workers and models."""
MEDIAN_FILE_S = 300.0
FILE_SIGMA = 1.0
"""Lengths of files are log-normal: with this value a file of 100 is ten times as long as the median."""
BYTES_OF_A_SECOND = 2 * 48_000 * 2
"""48 kHz, 16 bits, one channel, read and written."""
SEED = 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=12, help="recordings of 60 s for each worker")
    parser.add_argument("--model", default="base")
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file to write")
    args = parser.parse_args()
    rows = measure(args.model, args.files)
    for row in rows:
        print(row)
    speed = rows[0]["hours_per_core_hour"]
    overhead_s, blocks_s = rows[-2]["s_per_file"], rows[-1]["blocks_per_s"]
    for cores, hours in [(64, 10_000), (1000, 10_000), (1000, 100_000), (1000, 1_000_000)]:
        row = simulate(cores, hours, speed, overhead_s, blocks_s)
        rows.append(row)
        print(row)
    if args.json is not None:
        command = "python benches/folders.py --json benches/results/folders.json"
        write_result(args.json, f"wheel of the dev profile, model {args.model}", command, rows)
    return 0


def measure(model: str, files: int) -> list[dict[str, Any]]:
    """Rows for 1 and 2 workers, the time of a file beside its audio, and the rate of Ray."""
    import ray
    from quietwire.ray import clean_folder

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        # The first run starts the workers' environment.
        write_files(Path(work, "first"), 1, SHORT_S)
        clean_folder(f"{work}/first", f"{work}/first-out", model=model, workers=1)
        for workers in (1, 2):
            write_files(Path(work, f"in{workers}"), files * workers, FILE_S)
            summary = clean_folder(f"{work}/in{workers}", f"{work}/out{workers}", model=model, workers=workers)
            rows.append(
                {
                    "name": f"{workers} worker{'s' * (workers > 1)}",
                    "audio_h": round(summary.audio_s / 3600, 3),
                    "run_s": round(summary.run_s, 1),
                    "hours_per_core_hour": round(summary.hours_per_core_hour, 1),
                    "hours_per_hour": round(summary.audio_s / summary.run_s, 1),
                }
            )
        write_files(Path(work, "short"), SHORT_FILES, SHORT_S)
        summary = clean_folder(f"{work}/short", f"{work}/short-out", model=model, workers=1)
        beside_s = (summary.worker_s - summary.audio_s / rows[0]["hours_per_core_hour"]) / SHORT_FILES
        rows.append({"name": "a file beside its audio", "s_per_file": round(beside_s, 4)})
    items = ray.data.from_items([{"name": str(at)} for at in range(NOOP_BLOCKS)], override_num_blocks=NOOP_BLOCKS)
    pipeline = items.map_batches(Nothing, batch_size=1, compute=ray.data.ActorPoolStrategy(size=1), num_cpus=1)
    times_s = [time.monotonic() for _ in pipeline.iter_rows()]
    rate = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    rows.append({"name": "blocks that Ray gives to workers", "blocks_per_s": round(rate, 1)})
    ray.shutdown()
    return rows


class Nothing:
    """An actor that returns its batch."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch


def write_files(folder: Path, count: int, seconds: float) -> None:
    folder.mkdir()
    with wave.open(str(SAMPLE), "rb") as file:
        form, sound = file.getparams(), file.readframes(file.getnframes())
    frame_bytes = form.sampwidth * form.nchannels
    wanted = round(seconds * form.framerate) * frame_bytes
    sound = (sound * (1 + wanted // len(sound)))[:wanted]
    for number in range(count):
        with wave.open(str(folder / f"{number:04}.wav"), "wb") as file:
            file.setparams(form)
            file.writeframes(sound)


def simulate(cores: int, hours: float, speed: float, overhead_s: float, blocks_s: float) -> dict[str, Any]:
    """A run of `hours` of audio on `cores` workers. Each cleans `speed` seconds of audio in a second."""
    generator = np.random.default_rng(SEED)
    mean_s = MEDIAN_FILE_S * np.exp(FILE_SIGMA**2 / 2)
    lengths_s = generator.lognormal(np.log(MEDIAN_FILE_S), FILE_SIGMA, max(1, round(3600 * hours / mean_s)))
    # All workers share the network as if they all used it all the time.
    nodes = -(-cores // CORES_OF_A_NODE)
    bytes_s = min(STORE_GBIT_S, nodes * NODE_GBIT_S) * 1e9 / 8 / cores
    work_s = lengths_s / speed + lengths_s * BYTES_OF_A_SECOND / bytes_s + overhead_s
    blocks = np.array_split(work_s, min(len(work_s), MAX_BLOCKS))
    free_s = [START_S] * min(cores, len(blocks))
    given_s = START_S
    for block in blocks:
        given_s = max(given_s + 1 / blocks_s, free_s[0])
        heapq.heapreplace(free_s, given_s + float(block.sum()))
    run_s = max(free_s)
    audio_s = float(lengths_s.sum())
    return {
        "name": f"simulated: {cores} cores",
        "audio_h": round(audio_s / 3600),
        "files": len(lengths_s),
        "run_s": round(run_s),
        "hours_per_core_hour": round(audio_s / run_s / cores, 1),
        "efficiency": round(audio_s / speed / cores / run_s, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
