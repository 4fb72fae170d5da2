"""Training runs at sizes that take seconds: resuming, interruption, failures, validation."""

import argparse
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from quietwire_train import train, trainer
from quietwire_train.cli import main
from quietwire_train.frontend import FrontEnd
from quietwire_train.net import Net, NetShape
from quietwire_train.recipe import read_recipe
from quietwire_train.store import prepare
from quietwire_train.train import loss_weight

SHAPE = NetShape(channels=6, blocks=2, summary=10, tap_bins=8, tap_order=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_recordings(root / "in", talkers=12)
    assert prepare(root / "in", root / "store", val_share=0.0).skipped == []
    return root / "store"


def make_recordings(root: Path, talkers: int) -> None:
    """One recording of 4 s for each talker, and as many of noise."""
    time_s = np.arange(4 * 48000) / 48000
    rng = np.random.default_rng(0)
    for talker in range(talkers):
        voice = np.sin(2 * np.pi * (110 + 9 * talker) * time_s) * (np.sin(5 * time_s) > 0)
        (root / f"speech/t{talker}").mkdir(parents=True)
        soundfile.write(root / f"speech/t{talker}/a.wav", 0.2 * voice, 48000)
        (root / f"noise/n{talker}").mkdir(parents=True)
        hiss = 0.1 * rng.standard_normal(len(time_s))
        soundfile.write(root / f"noise/n{talker}/a.wav", hiss, 48000)


SIZES = "--channels 6 --blocks 2 --summary 10 --tap-bins 8 --tap-order 2"


def last_line(run: Path) -> dict:
    """The last line of training in the log of a run."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line][-1]


def options(store: Path, out: Path, steps: int, sizes: str = SIZES) -> list[str]:
    return (
        f"train --data {store} --out {out} --steps {steps} --batch 2 --seconds 1 {sizes}"
        " --device cpu --threads 1 --warmup 2 --save-every 2"
    ).split()


def test_an_interrupted_run_resumes_where_it_stopped(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(options(store, tmp_path / "whole", 6)) == 0
    assert main([*options(store, tmp_path / "parts", 6), "--max-minutes", "0.0001"]) == 0
    stopped = torch.load(tmp_path / "parts/checkpoint.pt", weights_only=True)
    assert stopped["step"] == 1
    assert main(options(store, tmp_path / "parts", 6)) == 0
    complete, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert complete["step"] == parts["step"] == 6
    for name, value in complete["average"].items():
        torch.testing.assert_close(value, parts["average"][name], atol=1e-6, rtol=0)
    assert last_line(tmp_path / "whole")["step"] == 6


def test_a_batch_in_two_parts_gives_the_same_step(store: Path, tmp_path: Path) -> None:
    # The mean over the bins of both clips is the mean of each one's where their bandwidths are alike:
    # under this seed they are the same.
    seed = 155
    alike = ["--seed", str(seed)]
    assert main([*options(store, tmp_path / "one", 3), *alike, "--parts", "1"]) == 0
    assert main([*options(store, tmp_path / "two", 3), *alike, "--parts", "2"]) == 0
    one, two = (last_line(tmp_path / name) for name in ("one", "two"))
    for part in ("sdr_db", "perceptual", "vad"):
        assert two[part] == pytest.approx(one[part], rel=1e-3), part
    assert two["loss"] == pytest.approx(one["loss"], rel=0.02)
    assert two["sdr_db"] == pytest.approx(one["sdr_db"], abs=0.1)
    checkpoints = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("one", "two")
    )
    torch.manual_seed(seed)  # as the run begins
    initial, (one, two) = Net(FrontEnd(), SHAPE).state_dict(), (saved["net"] for saved in checkpoints)
    steps = [(one[name] - two[name]).norm() / (one[name] - initial[name]).norm() for name in one]
    assert max(steps) < 0.2, steps
    assert max((one[name] - initial[name]).norm() for name in one) > 1e-3
    with pytest.raises(SystemExit, match="cannot have 3 parts"):
        main([*options(store, tmp_path / "three", 3), "--parts", "3"])


def test_a_run_records_its_start(store: Path, tmp_path: Path) -> None:
    assert main(options(store, tmp_path / "first", 1)) == 0
    source = tmp_path / "first/checkpoint.pt"
    other = ["--start-from", str(source), "--keep-blocks", "1", "new", "0"]
    assert main([*options(store, tmp_path / "second", 1, sizes=""), *other]) == 0
    first, second = (read_recipe(tmp_path / name / "recipe.toml") for name in ("first", "second"))
    assert second.network == replace(first.network, blocks=3)
    assert (first.start.weights, first.start.keep_blocks) == ("", ())
    assert (second.start.weights, second.start.keep_blocks) == (str(source), (1, "new", 0))
    for wrong, reason in ((["--channels", "5"], "--channels 6"), (["--start-from", "nowhere"], "nowhere")):
        with pytest.raises(SystemExit, match=reason):
            main([*options(store, tmp_path / "third", 1, sizes=""), "--start-from", str(source), *wrong])


def test_a_teacher_changes_the_result(store: Path, tmp_path: Path) -> None:
    larger = "--channels 8 --blocks 1 --summary 10 --tap-bins 8 --tap-order 2"
    assert main(options(store, tmp_path / "larger", 1, sizes=larger)) == 0
    teacher = tmp_path / "larger/checkpoint.pt"
    assert main(options(store, tmp_path / "plain", 2)) == 0
    assert main([*options(store, tmp_path / "distilled", 2), "--teacher", str(teacher)]) == 0
    names = ("plain", "distilled")
    plain, distilled = (last_line(tmp_path / name) for name in names)
    assert "teacher_sdr_db" not in plain and distilled["teacher_sdr_db"] != 0.0
    recipes = [read_recipe(tmp_path / name / "recipe.toml") for name in names]
    assert [recipe.start.teacher for recipe in recipes] == ["", str(teacher)]
    checkpoints = [torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in names]
    weights = [saved["net"] for saved in checkpoints]
    assert any((weights[0][name] - weights[1][name]).abs().max() > 1e-5 for name in weights[0])
    with pytest.raises(SystemExit, match="nowhere"):
        main([*options(store, tmp_path / "none", 1), "--teacher", "nowhere"])
    with pytest.raises(SystemExit, match="needs --teacher"):
        main([*options(store, tmp_path / "none", 1), "--loss", "distillation=0.5"])
    saved = torch.load(teacher, weights_only=True)
    torch.save(saved | {"front": saved["front"] | {"level_attack": 0.2}}, teacher)
    with pytest.raises(SystemExit, match="has the front end"):
        main([*options(store, tmp_path / "other", 1), "--teacher", str(teacher)])


@pytest.mark.parametrize("text", ["louder=1", "sdr", "sdr=", "sdr=-1", "sdr=nan", "sdr=inf", "=1"])
def test_weights_of_the_loss_are_checked(text: str) -> None:
    assert loss_weight("sdr=0.03") == ("sdr", 0.03)
    with pytest.raises(argparse.ArgumentTypeError, match="sdr"):
        loss_weight(text)


def test_the_share_of_a_teacher_is_at_most_1() -> None:
    assert loss_weight("distillation=1") == loss_weight("taught=1") == ("distillation", 1.0)
    with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 1"):
        loss_weight("distillation=1.5")


def test_a_run_of_another_shape_is_refused(store: Path, tmp_path: Path) -> None:
    assert main(options(store, tmp_path / "run", 1)) == 0
    with pytest.raises(SystemExit, match="network.blocks: 2, now 1"):
        main([*options(store, tmp_path / "run", 1), "--blocks", "1"])
    with pytest.raises(SystemExit, match="another network"):
        main([*options(store, tmp_path / "run", 1), "--blocks", "1", "--allow-changes"])


def test_a_loss_that_is_not_a_number_stops_and_saves_the_batch(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **kwargs: object) -> tuple[torch.Tensor, dict[str, float]]:
        return torch.tensor(float("nan")), {"loss": float("nan")}

    monkeypatch.setattr(trainer.Loss, "__call__", broken)
    assert main(options(store, tmp_path / "run", 3)) == 1
    assert "bad-batch-0.npz" in capsys.readouterr().out
    with np.load(tmp_path / "run/bad-batch-0.npz") as batch:
        assert batch["noisy"].shape == (2, 48000)


def test_a_gradient_that_is_not_finite_stops_with_finite_weights(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = trainer.Trainer.gradients

    def broken(self: trainer.Trainer, batch: dict, rows: np.ndarray) -> tuple:
        parts, grads = plain(self, batch, rows)
        if self.step == 2:
            grads = (torch.full_like(grads[0], float("nan")), *grads[1:])
        return parts, grads

    monkeypatch.setattr(trainer.Trainer, "gradients", broken)
    assert main(options(store, tmp_path / "run", 5)) == 1
    output = capsys.readouterr().out
    assert "norm of its gradient is nan" in output and "bad-batch-2.npz" in output
    saved = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert saved["step"] == 2
    assert all(value.isfinite().all() for key in ("net", "average") for value in saved[key].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_with_130(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    plain = trainer.Trainer.train_step

    def interrupted(self: trainer.Trainer, *args: object) -> dict[str, float]:
        if self.step == 2:
            os.kill(os.getpid(), number)
        return plain(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "train_step", interrupted)
        assert main(options(store, tmp_path / "cut", 5)) == 130
    assert torch.load(tmp_path / "cut/checkpoint.pt", weights_only=True)["step"] == 3
    assert main(options(store, tmp_path / "cut", 5)) == 0
    assert main(options(store, tmp_path / "whole", 5)) == 0
    cut, complete = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in ("cut", "whole"))
    for name, value in complete["net"].items():
        torch.testing.assert_close(value, cut["net"][name], atol=1e-6, rtol=0)


def test_a_run_resumes_with_its_own_values_only(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(options(store, run, 2)) == 0
    for changed, reason in [
        (["--seed", "9"], "schedule.seed: 1, now 9"),
        (["--loss", "sdr=3"], "loss.sdr: 0.015, now 3.0"),
        (["--learning-rate", "0.5"], "schedule.learning_rate"),
    ]:
        with pytest.raises(SystemExit, match=reason):
            main([*options(store, run, 2), *changed])
    assert len(json.loads((run / "run.json").read_text())["sessions"]) == 1
    assert read_recipe(run / "recipe.toml").schedule.seed == 1
    assert main([*options(store, run, 4), "--allow-changes"]) == 0
    first, second = json.loads((run / "run.json").read_text())["sessions"]
    assert (first["first_step"], second["first_step"]) == (0, 2)
    assert first["changes"] == [] and second["changes"] == ["schedule.steps: 2, now 4"]
    assert len(first["data"]["clips"]) == 64 and "torch" in first["versions"] and "commit" in first["code"]


def test_a_run_does_not_resume_on_other_data(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "store"
    other.mkdir()
    for path in store.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert main(options(other, tmp_path / "run", 1)) == 0
    (other / "clips.json").write_text((other / "clips.json").read_text() + " ")
    with pytest.raises(SystemExit, match="data: another clips"):
        main(options(other, tmp_path / "run", 1))


def test_options_override_a_recipe_file(store: Path, tmp_path: Path) -> None:
    assert main(options(store, tmp_path / "first", 1)) == 0
    recipe = tmp_path / "first/recipe.toml"
    line = f"train --recipe {recipe} --data {store} --out {tmp_path / 'second'} --device cpu --seed 4"
    assert main(line.split()) == 0
    first, second = read_recipe(recipe), read_recipe(tmp_path / "second/recipe.toml")
    assert second == replace(first, schedule=replace(first.schedule, seed=4))
    with pytest.raises(SystemExit, match="no key"):
        recipe.write_text(recipe.read_text().replace("warmup", "warm_up"))
        main(line.split())


def test_validation_is_logged_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_recordings(root / "in", talkers=4)
    rows = ["path kind source split".replace(" ", "\t")]
    for path in sorted((root / "in").rglob("*.wav")):
        place = path.relative_to(root / "in").as_posix()
        rows.append(f"{place}\t{place.split('/')[0]}\tx\t{'val' if '0/' in place else 'train'}")
    (root / "in/index.tsv").write_text("\n".join(rows) + "\n")
    prepare(root / "in", root / "store")
    assert main([*options(root / "store", tmp_path / "run", 4), "--validate-every", "2"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["val_loss"] for line in lines if "val_loss" in line}
    assert list(losses) == [2, 4] and all(np.isfinite(loss) for loss in losses.values())
    best = torch.load(tmp_path / "run/best.pt", weights_only=True)
    assert best["step"] == min(losses, key=losses.get)
    assert best["best_loss"] == pytest.approx(min(losses.values()), abs=1e-5)


def test_without_a_val_split_there_is_a_message(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(store, tmp_path / "run", 1)) == 0
    assert "no validation" in capsys.readouterr().out
    assert not (tmp_path / "run/best.pt").exists()


def test_the_expected_end_is_printed_after_the_first_step(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options(store, tmp_path / "run", 3)) == 0
    assert "step 1 of 3: " in capsys.readouterr().out


def test_checkpoints_are_saved_by_time(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    monkeypatch.setattr(trainer.Trainer, "save", lambda self, path=None: saved.append(self.step))
    rare = ["--save-every", "1000"]
    assert main([*options(store, tmp_path / "often", 3), *rare, "--save-minutes", "0"]) == 0
    assert saved == [1, 2, 3, 3]
    saved.clear()
    assert main([*options(store, tmp_path / "once", 3), *rare]) == 0
    assert saved == [3]


def test_bf16_is_refused_where_it_is_slow(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "has_fast_bf16", lambda device: False)
    with pytest.raises(SystemExit, match="no bfloat16 products"):
        main([*options(store, tmp_path / "run", 1), "--bf16"])
    assert not (tmp_path / "run").exists()


def test_missing_files_are_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--data: there is no file"):
        main(options(tmp_path / "nowhere", tmp_path / "run", 1))
    with pytest.raises(SystemExit, match="--rir: there is no file"):
        main([*options(store, tmp_path / "run", 1), "--rir", str(tmp_path / "none.npz")])


@pytest.mark.parametrize("option", ["--steps -3", "--batch 0", "--workers 0", "--seconds 0.05", "--parts x"])
def test_numbers_of_options_are_checked(store: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(SystemExit):
        main([*options(store, tmp_path / "run", 1), *option.split()])
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(options(store, run, 1)) == 0
    raw = (run / "checkpoint.pt").read_bytes()
    for content in (raw[: len(raw) // 2], b"plain text", b""):
        (run / "checkpoint.pt").write_bytes(content)
        with pytest.raises(SystemExit, match="not a complete checkpoint"):
            main(options(store, run, 1))
