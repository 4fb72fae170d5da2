"""Links the files of an unpacked public data set into a folder that `prepare` reads.

    speech/SET-TALKER/FILE    noise/SET-KIND/KIND-FILE    public.tsv

`public.tsv` has a row for each file: source, talker, split, length, license. Unknown values
(bandwidth, signal-to-noise ratio) stay empty; `prepare` measures the bandwidth. Splits:

- `vctk`, `dns`: a tenth of the talkers is dev, by a hash of the name; of noise, a tenth of the
  recordings, all pieces of one recording together.
- `librispeech`: dev-* and test-* are dev; of train-* a tenth of the talkers, by the same hash.
- `esc50`: fold 5 is dev. `musan`: a tenth of the files.
- `an4`: the test talkers are dev2, the others train.

No talker is in two splits: a talker who is dev in one set is dev in all. LibriSpeech and the English
part of the DNS Challenge both use the reader numbers of LibriVox, and VCTK is part of the DNS
Challenge, so these sets share talkers.

The DNS Challenge names talkers in file and folder names only; `DNS_TALKERS` has the patterns. If no
pattern matches, the folder of the file counts as one talker, and files directly in a corpus count as
one more. This may join several talkers, but never divides one.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from .index import split_of

DEPTH = 2  # levels of folders under SOURCE that are searched; archives add a folder of their own

# Pattern in CORPUS/FOLDERS/FILE, name of the talker.
DNS_TALKERS = [
    (r"_reader_0*(\d+)_[^/]*$", "librivox:{}"),  # book_00000_chp_0009_reader_06709_0_seg_1.wav
    (r"^vctk[^/]*/(?:.*/)?([ps]\d+)_[^/]*$", "vctk:{}"),
    (r"/(?:fe)?male/([^/]+)/", "m-ailabs:{}"),
    (r"/mix/([^/]+)/", "m-ailabs:mix-{}"),  # the readers of this book are not identified
    (r"/crema_d/(\d+)_[^/]*$", "crema-d:{}"),
    (r"/vocalset_((?:fe)?male\d+)_[^/]*$", "vocalset:{}"),
    (r"/German_Wikipedia_([^/]+?)_audio[^/]*$", "wikipedia:{}"),
    (r"/SLR\d+_[^/]*?([a-z]{3}_\d{5})_\d+[^/]*$", "slr:{}"),  # SLR71_es_cl_female_clf_00610_00103.wav
    (r"/SLR39_native-[^/]*-([^/_-]+)_s\d+[^/]*$", "slr39:{}"),
    (r"/SLR39_(\d+)_\d+[^/]*$", "slr39:{}"),
]
# From the README of the challenge.
DNS_LICENSES = {
    "read_speech": "public domain (LibriVox)",
    "vctk_wav48_silence_trimmed": "ODC-By-1.0",
    "emotional_speech": "DbCL-1.0",
    "VocalSet_48kHz_mono": "CC-BY-4.0",
    "audioset": "CC-BY-4.0",
    "freesound": "CC0-1.0",
}
AN4_LICENSE = "BSD-style (CMU AN4: any use)"
DNS_OTHER_LICENSE = "see the README of DNS-Challenge"


class WrongSource(Exception):
    """The folder does not contain the given set."""


@dataclass(frozen=True)
class Recording:
    """One file of a set and its place in the data folder."""

    file: Path
    kind: str  # "speech" or "noise"
    folder: str
    name: str
    source: str
    talker: str  # of noise: the kind of noise
    split: str  # "train", "dev" or "dev2"
    license: str
    text: str = ""  # transcript

    @property
    def path(self) -> str:
        return f"{self.kind}/{self.folder}/{self.name}"


@dataclass
class Plan:
    """Content of a set. `refused` has (path, reason); `left_out` counts files by reason."""

    recordings: list[Recording] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def _bases(source: Path) -> Iterator[Path]:
    """`source`, and the folders in it down to `DEPTH`."""
    yield source
    for depth in range(1, DEPTH + 1):
        yield from sorted(path for path in source.glob("/".join("*" * depth)) if path.is_dir())


def _find(source: Path, name: str) -> list[Path]:
    """Folders or files `name` in `source`; `source` itself if that is its name."""
    if source.name == name:
        return [source]
    return [base / name for base in _bases(source) if (base / name).exists()]


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in sorted(folder.glob(pattern)) if not path.name.startswith("."))


def _speech(file: Path, talker: str, name: str, source: str, license: str, split: str = "") -> Recording:
    folder = re.sub(r"[:/]", "-", talker)
    split = split or split_of(f"speech/{talker}")
    return Recording(file, "speech", folder, name, source, talker, split, license)


def _noise(file: Path, noise_set: str, kind: str, source: str, split: str, license: str) -> Recording:
    # The benchmark takes the class of a noise from its file name, up to the first hyphen.
    name = f"{kind.replace('-', '_')}-{file.name}"
    return Recording(file, "noise", f"{noise_set}-{kind}", name, source, kind, split, license)


def _vctk(source: Path, args: argparse.Namespace) -> Plan:
    plan = Plan()
    for root in _find(source, "wav48_silence_trimmed")[:1]:
        for file in _files(root, "*/*.flac"):
            if file.stem.endswith("_mic1"):
                talker = f"vctk:{file.parent.name}"
                plan.recordings.append(_speech(file, talker, file.name, "vctk", "CC-BY-4.0"))
            else:
                plan.left_out["not of the first microphone"] += 1
    return plan


def _librispeech(source: Path, args: argparse.Namespace) -> Plan:
    plan = Plan()
    for root in _find(source, "LibriSpeech"):
        for file in _files(root, "*/*/*/*.flac"):
            subset, reader = file.relative_to(root).parts[:2]
            part = subset.split("-")[0]
            if part not in ("train", "dev", "test"):
                plan.left_out[f"in {subset}"] += 1
                continue
            split = "" if part == "train" else "dev"
            talker = f"librivox:{reader}"
            plan.recordings.append(_speech(file, talker, file.name, "librispeech", "CC-BY-4.0", split))
    return plan


def _an4(source: Path, args: argparse.Namespace) -> Plan:
    plan = Plan()
    for root in _find(source, "etc/an4_test.transcription")[:1]:
        base = root.parent.parent
        for part, split in (("an4_test", "dev2"), ("an4_train", "train")):
            texts = _an4_texts(base / f"etc/{part}.transcription")
            for line in (base / f"etc/{part}.fileids").read_text(encoding="utf-8").split():
                file = (base / "wav" / line).with_suffix(".wav")
                talker, text = file.parent.name, texts.get(file.stem, "")
                found = _speech(file, f"an4:{talker}", file.name, "an4", AN4_LICENSE, split)
                plan.recordings.append(replace(found, text=text.lower()))
    return plan


def _an4_texts(path: Path) -> dict[str, str]:
    """Transcripts by utterance. A line is `<s> WORDS </s> (UTTERANCE)`; some have no marks."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if parts := re.fullmatch(r"(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\(([\w-]+)\)\s*", line):
            found[parts[2]] = parts[1]
    return found


def dns_talker(path: str) -> str:
    """Talker of a file of the DNS Challenge from CORPUS/FOLDERS/FILE."""
    for pattern, name in DNS_TALKERS:
        if found := re.search(pattern, path):
            return name.format(found[1])
    return f"dns:{path.rpartition('/')[0]}"


def _dns_noise(file: Path) -> Recording:
    if found := re.fullmatch(r"(.+)_Freesound_validated_(\d+)(?:_\d+)?", file.stem):
        kind, origin, recording = found[1], "freesound", found[2]
    else:
        # A file of AudioSet has the name of its video.
        origin = "audioset" if re.fullmatch(r"[\w-]{11}", file.stem) else "other"
        kind, recording = origin, file.stem
    license = DNS_LICENSES.get(origin, DNS_OTHER_LICENSE)
    return _noise(file, "dns", kind, f"dns-{origin}", split_of(f"noise/dns/{recording}"), license)


def _dns(source: Path, args: argparse.Namespace) -> Plan:
    plan = Plan()
    for clean in _find(source, "clean_fullband"):
        for file in _files(clean, "*/**/*.wav"):
            path = file.relative_to(clean)
            corpus = path.parts[0]
            if file.stem.endswith("_mic2"):
                plan.left_out["not of the first microphone"] += 1
                continue
            license = DNS_LICENSES.get(corpus, DNS_OTHER_LICENSE)
            talker, name = dns_talker(path.as_posix()), "_".join(path.parts)
            plan.recordings.append(_speech(file, talker, name, f"dns-{corpus}", license))
    for noise in _find(source, "noise_fullband"):
        plan.recordings += [_dns_noise(file) for file in _files(noise, "**/*.wav")]
    return plan


def _esc50(source: Path, args: argparse.Namespace) -> Plan:
    plan = Plan()
    for table in _find(source, "meta/esc50.csv")[:1]:
        with table.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        missing = {"filename", "fold", "category", "esc10"} - set(rows[0] if rows else ())
        if missing:
            raise WrongSource(f"{table}: no rows, or none with {', '.join(sorted(missing))}")
        for row in rows:
            esc10 = row["esc10"] == "True"
            file = table.parent.parent / "audio" / row["filename"]
            if args.esc10 and not esc10:
                plan.left_out["not in ESC-10"] += 1
            elif not file.is_file():
                plan.refused.append((str(file), "listed in meta/esc50.csv, but missing"))
            else:
                split = "dev" if row["fold"] == "5" else "train"
                license = "CC-BY-3.0" if esc10 else "CC-BY-NC-3.0"
                plan.recordings.append(_noise(file, "esc50", row["category"], "esc50", split, license))
    return plan


def _musan(source: Path, args: argparse.Namespace) -> Plan:
    plan = Plan()
    without_license: set[Path] = set()
    roots = [base for base in _bases(source) if any(base.glob("noise/*/noise-*.wav"))]
    for root in roots[:1]:
        for file in _files(root, "*/*/**/*.wav"):
            part, *inside = file.relative_to(root).parts
            if part not in ("noise", "music") or (part == "music" and not args.music):
                plan.left_out[f"{part}/"] += 1
                continue
            kind, origin = ("music", "musan-music") if part == "music" else (inside[0], "musan")
            if not (file.parent / "LICENSE").is_file():
                without_license.add(file.parent)
            split = split_of(f"noise/musan/{file.stem}")
            plan.recordings.append(_noise(file, "musan", kind, origin, split, "CC-BY-4.0"))
    plan.notes += [
        f"{folder}: no LICENSE with the credits of its files" for folder in sorted(without_license)
    ]
    return plan


@dataclass(frozen=True)
class PublicSet:
    """A public set: how to list it, the expected content of its folder, its terms."""

    title: str
    plan: Callable[[Path, argparse.Namespace], Plan]
    expected: str
    license: str
    cite: str


SETS = {
    "an4": PublicSet(
        "CMU AN4",
        _an4,
        "etc/an4_test.transcription, etc/an4_train.transcription and wav/",
        "BSD-style, free for any purpose; see LICENSE in the set",
        "CMU AN4 (Census) database, Carnegie Mellon University, 1991 to 2005",
    ),
    "vctk": PublicSet(
        "VCTK 0.92",
        _vctk,
        "wav48_silence_trimmed/TALKER/*_mic1.flac",
        "CC BY 4.0",
        "Yamagishi, Veaux, MacDonald: CSTR VCTK Corpus (version 0.92), University of Edinburgh, 2019, "
        "doi:10.7488/ds/2645",
    ),
    "librispeech": PublicSet(
        "LibriSpeech",
        _librispeech,
        "LibriSpeech/SUBSET/READER/CHAPTER/*.flac (SUBSET: train-*, dev-* or test-*)",
        "CC BY 4.0",
        "Panayotov, Chen, Povey, Khudanpur: LibriSpeech: an ASR corpus based on public domain audio "
        "books, ICASSP 2015",
    ),
    "dns": PublicSet(
        "the full band data of DNS Challenge 4 or 5",
        _dns,
        "datasets_fullband/clean_fullband/CORPUS/**/*.wav or datasets_fullband/noise_fullband/**/*.wav",
        "each part under its own: see 'Dataset licenses' in the README of "
        "https://github.com/microsoft/DNS-Challenge",
        "Dubey and others: ICASSP 2022 Deep Noise Suppression Challenge, 2022 (DNS 4); Dubey and others: "
        "ICASSP 2023 Deep Noise Suppression Challenge, 2023 (DNS 5)",
    ),
    "esc50": PublicSet(
        "ESC-50",
        _esc50,
        "meta/esc50.csv and audio/*.wav",
        "CC BY-NC 3.0, not for commercial use; the clips of ESC-10 (--esc10 takes only these) CC BY 3.0. "
        "Credits for each clip: LICENSE in the set",
        "Piczak: ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015, "
        "doi:10.1145/2733373.2806390",
    ),
    "musan": PublicSet(
        "MUSAN",
        _musan,
        "musan/noise/*/noise-*.wav",
        "CC BY 4.0 as a whole; each file's own license and credits: LICENSE beside it",
        "Snyder, Chen, Povey: MUSAN: A Music, Speech, and Noise Corpus, arXiv:1510.08484, 2015",
    ),
}


def list_set(name: str, source: Path, args: argparse.Namespace) -> Plan:
    """The recordings of set `name` under `source`. Raises WrongSource if there are none."""
    chosen, source = SETS[name], source.resolve()
    plan = chosen.plan(source, args)
    if not plan.recordings and not plan.refused:
        there = sorted(path.name for path in source.iterdir())[:8] if source.is_dir() else []
        raise WrongSource(
            f"{source}: not {chosen.title}. Expected {chosen.expected}, in this folder or up to {DEPTH} "
            f"levels below; found {', '.join(there) if there else 'no such folder, or an empty one'}"
        )
    return plan
