"""Public sets, in the layouts of their archives, imported into one folder and prepared."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from quietwire_train.cli import main
from quietwire_train.index import LABELS, split_of
from quietwire_train.public_sets import dns_talker
from quietwire_train.store import Clip, Store, prepare

RATE_HZ = 16000
ESC50_COLUMNS = "filename,fold,target,category,esc10,src_file,take"


def write(path: Path, seconds: float = 0.1) -> Path:
    """Noise that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(str(path).encode()[-16:], "big")
    signal = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    soundfile.write(path, signal, RATE_HZ)
    return path


def vctk(base: Path) -> Path:
    for talker in ("p225", "p226", "s5"):
        for take in ("001_mic1", "001_mic2", "002_mic1"):
            write(base / f"VCTK/wav48_silence_trimmed/{talker}/{talker}_{take}.flac")
    (base / "VCTK/wav48_silence_trimmed/log.txt").write_text("")
    return base / "VCTK"


def librispeech(base: Path) -> Path:
    for subset, reader in [("train-clean-100", 103), ("train-clean-100", 26), ("dev-clean", 84)]:
        for take in range(2):
            write(base / f"LibriSpeech/{subset}/{reader}/1240/{reader}-1240-{take:04d}.flac")
    return base


def dns(base: Path) -> Path:
    clean, noise = base / "datasets_fullband/clean_fullband", base / "datasets_fullband/noise_fullband"
    write(clean / "read_speech/book_00000_chp_0009_reader_00084_0_seg_1_seg1.wav")
    write(clean / "read_speech/book_00000_chp_0009_reader_06709_0_seg_1_seg1.wav")
    write(clean / "vctk_wav48_silence_trimmed/p225/p225_003_mic1.wav")
    write(clean / "vctk_wav48_silence_trimmed/p225/p225_003_mic2.wav")
    write(clean / "french_speech/M-AILABS/fr_FR/female/ezwa/book/wavs/x_f000182.wav")
    for name in ("door_Freesound_validated_11_0", "door_Freesound_validated_11_1", "f872gDrfumM"):
        write(noise / f"{name}.wav")
    return base


def esc50(base: Path) -> Path:
    lines = [ESC50_COLUMNS]
    rows = [
        (1, 17, "dog", True),
        (5, 18, "dog", True),
        (5, 19, "laughing", False),
        (2, 20, "laughing", False),
    ]
    for fold, clip, category, esc10 in rows:
        name = f"{fold}-{clip}-A-0.wav"
        write(base / f"ESC-50-master/audio/{name}")
        lines.append(f"{name},{fold},0,{category},{esc10},{clip},A")
    (base / "ESC-50-master/meta").mkdir()
    (base / "ESC-50-master/meta/esc50.csv").write_text("\n".join(lines) + "\n")
    return base


def musan(base: Path) -> Path:
    for name in ("noise/free-sound/noise-free-sound-0000", "noise/sound-bible/noise-sound-bible-0000"):
        write(base / f"musan/{name}.wav")
    write(base / "musan/music/fma/music-fma-0000.wav")
    write(base / "musan/speech/librivox/speech-librivox-0000.wav")
    (base / "musan/noise/free-sound/LICENSE").write_text("")
    return base / "musan"


def an4(base: Path) -> Path:
    root = base / "an4"
    tests = {"an406-fcaw-b": "RUBOUT G M E F THREE NINE", "cen1-fjlp-b": "P A T T E R S O N"}
    for part, folder, texts in [
        ("an4_test", "an4test_clstk", tests),
        ("an4_train", "an4_clstk", {"an251-fash-b": "<s> YES </s>"}),
    ]:
        names = [f"{folder}/{name.split('-')[1]}/{name}" for name in texts]
        for name in names:
            write(root / f"wav/{name}.wav")
        (root / "etc").mkdir(exist_ok=True)
        (root / f"etc/{part}.fileids").write_text("\n".join(names) + "\n")
        lines = [f"{text} ({name})" for name, text in texts.items()]
        (root / f"etc/{part}.transcription").write_text("\n".join(lines) + "\n")
    return root


def import_set(name: str, source: Path, data: Path, *options: str) -> int:
    return main(["import", name, str(source), str(data), *options])


def clips(data: Path, out: Path) -> dict[str, Clip]:
    summary = prepare(data, out)
    assert summary.skipped == []
    return {clip.path: clip for clip in Store(out).all_clips}


def labels(data: Path) -> list[dict[str, str]]:
    with (data / LABELS).open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def test_vctk_gives_the_first_microphone_of_each_talker(tmp_path: Path, capsys) -> None:
    assert import_set("vctk", vctk(tmp_path), tmp_path / "data") == 0
    output = capsys.readouterr().out
    assert "6 files imported" in output and "3 talkers" in output
    assert "left out: 3 files not of the first microphone" in output
    assert "license: CC BY 4.0" in output and "cite: Yamagishi" in output
    stored = clips(tmp_path / "data", tmp_path / "store")
    assert len(stored) == 6 and "speech/vctk-p225/p225_001_mic1.flac" in stored
    for clip in stored.values():
        assert clip.talker == f"vctk:{Path(clip.path).name.split('_')[0]}"
        assert (clip.source, clip.license) == ("vctk", "CC-BY-4.0")
        assert clip.split == split_of(f"speech/{clip.talker}")
    assert (tmp_path / "data/speech/vctk-p225/p225_001_mic1.flac").is_symlink()


def test_dev_and_test_of_librispeech_are_dev(tmp_path: Path) -> None:
    assert import_set("librispeech", librispeech(tmp_path / "set"), tmp_path / "data") == 0
    stored = clips(tmp_path / "data", tmp_path / "store").values()
    assert {clip.talker for clip in stored} == {"librivox:103", "librivox:26", "librivox:84"}
    assert {clip.split for clip in stored if clip.talker == "librivox:84"} == {"dev"}
    for clip in stored:
        if clip.talker != "librivox:84":
            assert clip.split == split_of(f"speech/{clip.talker}")


def test_the_bandwidth_is_measured(tmp_path: Path) -> None:
    write(tmp_path / "set/LibriSpeech/train-clean-100/7/1/7-1-0000.flac", 1.0)
    import_set("librispeech", tmp_path / "set", tmp_path / "data")
    row = labels(tmp_path / "data")[0]
    assert (row["source_rate_hz"], row["eff_bandwidth_hz"], row["snr_est_db"]) == ("", "", "")
    assert row["seconds"] == "1.00"
    (clip,) = clips(tmp_path / "data", tmp_path / "store").values()
    assert 7000.0 <= clip.bandwidth_hz <= 8000.0 and clip.snr_est_db is None


def test_a_talker_of_two_sets_is_on_one_side(tmp_path: Path, capsys) -> None:
    data = tmp_path / "data"
    reader = "librivox:84"
    assert split_of(f"speech/{reader}") == "train"
    assert import_set("dns", dns(tmp_path / "dns"), data) == 0
    assert {row["split"] for row in labels(data) if row["talker"] == reader} == {"train"}
    assert import_set("librispeech", librispeech(tmp_path / "libri"), data) == 0
    assert "moved to dev with their talkers: 1 existing files" in capsys.readouterr().out
    assert import_set("vctk", vctk(tmp_path), data) == 0
    stored = clips(data, tmp_path / "store").values()
    sides = {clip.talker: set() for clip in stored}
    for clip in stored:
        if clip.kind == "speech":
            sides[clip.talker].add(clip.split)
            assert len(sides[clip.talker]) == 1
    assert sides[reader] == {"dev"}
    assert len([clip for clip in stored if clip.talker == "vctk:p225"]) == 3


def test_dns_keeps_the_pieces_of_a_noise_together(tmp_path: Path, capsys) -> None:
    assert import_set("dns", dns(tmp_path / "set"), tmp_path / "data") == 0
    assert "left out: 1 files not of the first microphone" in capsys.readouterr().out
    stored = clips(tmp_path / "data", tmp_path / "store")
    noise = {Path(path).name: clip for path, clip in stored.items() if clip.kind == "noise"}
    door = [clip for clip in noise.values() if clip.talker == "door"]
    assert len(door) == 2 and len({clip.split for clip in door}) == 1
    assert {clip.license for clip in door} == {"CC0-1.0"}
    assert noise["audioset-f872gDrfumM.wav"].source == "dns-audioset"


@pytest.mark.parametrize(
    ("path", "talker"),
    [
        ("read_speech/book_00000_chp_0009_reader_06709_0_seg_1.wav", "librivox:6709"),
        ("vctk_wav48_silence_trimmed/p225/p225_001_mic1.wav", "vctk:p225"),
        ("vctk_wav48_silence_trimmed/p225_001_mic1.wav", "vctk:p225"),
        ("french_speech/M-AILABS/fr_FR/female/ezwa/book/wavs/x_f000182.wav", "m-ailabs:ezwa"),
        ("italian_speech/M-AILABS/it_IT/mix/novelle_02/wavs/x_f000039.wav", "m-ailabs:mix-novelle_02"),
        ("emotional_speech/crema_d/1025_IWL_SAD_XX.wav", "crema-d:1025"),
        ("VocalSet_48kHz_mono/vocalset_female7_scales_f7_i_48kHz.wav", "vocalset:female7"),
        (
            "german_speech/German_Wikipedia_16k/German_Wikipedia_Mikrofon_audio_48kHz.wav",
            "wikipedia:Mikrofon",
        ),
        ("spanish_speech/SLR71_48kHz/SLR71_es_cl_female_clf_00610_00103371024_48kHz.wav", "slr:clf_00610"),
        ("spanish_speech/SLR39_100_11_48kHz.wav", "slr39:100"),
        ("spanish_speech/SLR39_native-f-Mexico-190-45-62-NA-mgh8170_s120_48kHz.wav", "slr39:mgh8170"),
        ("other/folder/x.wav", "dns:other/folder"),
        ("other/x.wav", "dns:other"),
    ],
)
def test_dns_names_its_talkers_in_its_paths(path: str, talker: str) -> None:
    assert dns_talker(path) == talker


def test_fold_five_of_esc50_is_dev(tmp_path: Path, capsys) -> None:
    source = esc50(tmp_path / "set")
    assert import_set("esc50", source, tmp_path / "some", "--esc10") == 0
    assert "left out: 2 files not in ESC-10" in capsys.readouterr().out
    assert {row["license"] for row in labels(tmp_path / "some")} == {"CC-BY-3.0"}
    # The rest comes to the part that is there.
    assert import_set("esc50", source, tmp_path / "some") == 0
    output = capsys.readouterr().out
    assert "2 files imported" in output and "4 files, 2 kinds of noise" in output
    stored = clips(tmp_path / "some", tmp_path / "store")
    assert {path: clip.split for path, clip in stored.items()} == {
        "noise/esc50-dog/dog-1-17-A-0.wav": "train",
        "noise/esc50-dog/dog-5-18-A-0.wav": "dev",
        "noise/esc50-laughing/laughing-5-19-A-0.wav": "dev",
        "noise/esc50-laughing/laughing-2-20-A-0.wav": "train",
    }
    assert stored["noise/esc50-laughing/laughing-2-20-A-0.wav"].license == "CC-BY-NC-3.0"


def test_the_test_talkers_of_an4_are_dev2_and_have_texts(tmp_path: Path) -> None:
    assert import_set("an4", an4(tmp_path), tmp_path / "data") == 0
    stored = clips(tmp_path / "data", tmp_path / "store").values()
    assert {clip.talker: (clip.split, clip.text) for clip in stored} == {
        "an4:fcaw": ("dev2", "rubout g m e f three nine"),
        "an4:fjlp": ("dev2", "p a t t e r s o n"),
        "an4:fash": ("train", "yes"),
    }


def test_a_table_without_texts_is_still_read(tmp_path: Path) -> None:
    import_set("an4", an4(tmp_path), tmp_path / "data")
    table = tmp_path / "data" / LABELS
    rows = [line.rsplit("\t", 1)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(rows) + "\n")
    assert import_set("vctk", vctk(tmp_path), tmp_path / "data") == 0
    assert len(labels(tmp_path / "data")) == 9


def test_a_clip_that_esc50_lists_but_lacks_is_refused(tmp_path: Path, capsys) -> None:
    source = esc50(tmp_path / "set")
    (source / "ESC-50-master/audio/1-17-A-0.wav").unlink()
    assert import_set("esc50", source, tmp_path / "data") == 1
    output = capsys.readouterr().out
    assert "1-17-A-0.wav: listed in meta/esc50.csv, but missing" in output and "refused: 1 files" in output


def test_musan_without_its_speech(tmp_path: Path, capsys) -> None:
    source = musan(tmp_path)
    assert import_set("musan", source, tmp_path / "data") == 0
    output = capsys.readouterr().out
    assert "left out: 1 files music/" in output and "left out: 1 files speech/" in output
    assert "sound-bible: no LICENSE" in output and "free-sound: no LICENSE" not in output
    assert len(clips(tmp_path / "data", tmp_path / "store")) == 2
    assert import_set("musan", source, tmp_path / "data", "--music") == 0
    stored = clips(tmp_path / "data", tmp_path / "store")
    assert stored["noise/musan-music/music-music-fma-0000.wav"].source == "musan-music"


@pytest.mark.parametrize("option", [[], ["--copy"]])
def test_a_second_run_changes_nothing(tmp_path: Path, capsys, option: list[str]) -> None:
    source, data = vctk(tmp_path), tmp_path / "data"
    import_set("vctk", source, data, *option)
    import_set("esc50", esc50(tmp_path / "esc"), data, *option)
    text, when = (data / LABELS).read_bytes(), (data / LABELS).stat().st_mtime_ns
    before = sorted(data.rglob("*"))
    capsys.readouterr()
    assert import_set("vctk", source, data, *option) == 0
    assert "nothing new" in capsys.readouterr().out
    assert sorted(data.rglob("*")) == before
    assert ((data / LABELS).read_bytes(), (data / LABELS).stat().st_mtime_ns) == (text, when)
    links = [path.is_symlink() for path in before if path.suffix in (".wav", ".flac")]
    assert len(links) == 10 and set(links) == {not option}


def test_a_moved_set_is_linked_anew(tmp_path: Path) -> None:
    source, data = vctk(tmp_path), tmp_path / "data"
    import_set("vctk", source, data)
    text = (data / LABELS).read_bytes()
    moved = source.rename(tmp_path / "elsewhere")
    assert import_set("vctk", moved, data) == 0
    assert (data / LABELS).read_bytes() == text
    assert len(clips(data, tmp_path / "store")) == 6


def test_a_split_changed_by_hand_stays(tmp_path: Path) -> None:
    source, data = esc50(tmp_path / "set"), tmp_path / "data"
    import_set("esc50", source, data)
    (data / LABELS).write_text((data / LABELS).read_text().replace("\tdev\t", "\ttrain\t"))
    import_set("esc50", source, data)
    assert {clip.split for clip in clips(data, tmp_path / "store").values()} == {"train"}


def test_own_recordings_beside_a_set_count(tmp_path: Path) -> None:
    import_set("vctk", vctk(tmp_path), tmp_path / "data")
    write(tmp_path / "data/noise/our-press/a.wav")
    stored = clips(tmp_path / "data", tmp_path / "store")
    assert len(stored) == 7 and stored["noise/our-press/a.wav"].talker == "our-press"
    # A row by hand, without what one does not know, decides the split.
    for split in ("train", "dev"):
        row = f"noise/our-press/a.wav\tnoise\tours\tpress\t{split}\n"
        table = (tmp_path / "data" / LABELS).read_text().split("noise/our-press")[0]
        (tmp_path / "data" / LABELS).write_text(table + row)
        clip = clips(tmp_path / "data", tmp_path / "store")["noise/our-press/a.wav"]
        assert (clip.source, clip.split, clip.license) == ("ours", split, "unknown")
    import_set("esc50", esc50(tmp_path / "esc"), tmp_path / "data")
    assert clips(tmp_path / "data", tmp_path / "store")["noise/our-press/a.wav"].split == "dev"


@pytest.mark.parametrize("name", ["vctk", "librispeech", "dns", "esc50", "musan", "an4"])
def test_another_folder_is_refused(tmp_path: Path, capsys, name: str) -> None:
    write(tmp_path / "photos/sound.wav")
    assert import_set(name, tmp_path / "photos", tmp_path / "data") == 1
    output = capsys.readouterr().out
    assert output.startswith("error: ") and "Expected" in output and "found sound.wav" in output
    assert import_set(name, tmp_path / "absent", tmp_path / "data") == 1
    assert "no such folder" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def test_files_that_cannot_be_used_are_named(tmp_path: Path, capsys) -> None:
    source = vctk(tmp_path)
    folder = source / "wav48_silence_trimmed/p225"
    (folder / "p225_003_mic1.flac").write_bytes(b"fLaC is not enough")
    soundfile.write(folder / "p225_004_mic1.flac", np.zeros(0), RATE_HZ, format="WAV")
    # The header of this one is valid; only decoding fails.
    complete = write(folder / "p225_005_mic1.flac", 1.0).read_bytes()
    (folder / "p225_005_mic1.flac").write_bytes(complete[: len(complete) // 2])
    assert import_set("vctk", source, tmp_path / "data") == 2
    output = capsys.readouterr().out
    assert "p225_003_mic1.flac: cannot be read" in output and "p225_004_mic1.flac: is empty" in output
    summary = prepare(tmp_path / "data", tmp_path / "store")
    ((path, reason),) = summary.skipped
    assert path == "speech/vctk-p225/p225_005_mic1.flac" and "decoded" in reason
    assert summary.clips == 6


def test_another_recording_at_the_same_place_stays(tmp_path: Path, capsys) -> None:
    source, data = vctk(tmp_path), tmp_path / "data"
    own = write(data / "speech/vctk-p225/p225_001_mic1.flac", 0.2)
    content = own.read_bytes()
    assert import_set("vctk", source, data) == 1
    assert "another recording is at" in capsys.readouterr().out
    assert own.read_bytes() == content and len(labels(data)) == 5


def test_a_second_copy_inside_a_set_is_refused(tmp_path: Path, capsys) -> None:
    source = dns(tmp_path / "set")
    folder = source / "datasets_fullband/clean_fullband/read_speech"
    shutil.copytree(folder, folder / "read_speech")
    assert import_set("dns", source, tmp_path / "data") == 2
    assert capsys.readouterr().out.count("the same as") == 2


def test_a_folder_that_takes_no_files_is_an_error(tmp_path: Path, capsys, monkeypatch) -> None:
    source = vctk(tmp_path)
    (tmp_path / "file").write_text("")
    assert import_set("vctk", source, tmp_path / "file/data") == 1
    assert "error: importing" in capsys.readouterr().out

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert import_set("vctk", source, tmp_path / "data") == 1
    assert "--copy" in capsys.readouterr().out
    assert import_set("vctk", source, tmp_path / "data", "--copy") == 0


def test_a_folder_with_an_index_is_left_alone(tmp_path: Path, capsys) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/index.tsv").write_text("path\tkind\tsource\tsplit\n")
    assert import_set("vctk", vctk(tmp_path), tmp_path / "data") == 1
    assert "index.tsv is a complete list" in capsys.readouterr().out
