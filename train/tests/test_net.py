"""Network, loss, export and training, at sizes that take seconds."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from quietwire_train import train
from quietwire_train.checkpoint import IncompatibleNetwork, read_checkpoint, read_model
from quietwire_train.cli import main
from quietwire_train.data import prepare
from quietwire_train.export import build_onnx
from quietwire_train.frontend import Analysis, FrontEnd
from quietwire_train.golden import run_model
from quietwire_train.loss import Loss, LossWeights
from quietwire_train.net import Net, NetShape, apply_mask
from quietwire_train.recipe import read_recipe
from quietwire_train.train import init_from, loss_weight, parse_block

SHAPE = NetShape(channels=6, blocks=2, summary=10, tap_bins=8, tap_order=2)


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


def save(path: Path, net: Net, **changes: object) -> Path:
    kept = {"front": net.front.as_dict(), "shape": net.shape.as_dict(), "average": net.state_dict()}
    torch.save({**kept, **changes}, path)
    return path


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    net = Net(FrontEnd(), SHAPE)
    torch.nn.init.normal_(net.taps.weight, std=0.2)
    return net


def test_unit_gain_and_taps_change_nothing() -> None:
    analysis = Analysis(FrontEnd())
    spectrum = analysis.spectrum(noise(4800))
    gain = torch.ones(1, 10, analysis.front.bands)
    taps = torch.zeros(1, 10, 2, 2, 8)
    taps[..., 0, 0, :] = 1
    re, im = apply_mask(spectrum, gain, taps, analysis.bands)
    torch.testing.assert_close(torch.complex(re, im), spectrum, atol=1e-5, rtol=1e-5)


def test_the_second_tap_takes_the_hop_before() -> None:
    analysis = Analysis(FrontEnd())
    spectrum = analysis.spectrum(noise(4800))
    taps = torch.zeros(1, 10, 2, 2, 8)
    taps[..., 1, 1, :] = 1  # times i
    re, im = apply_mask(spectrum, torch.ones(1, 10, analysis.front.bands), taps, analysis.bands)
    low = torch.complex(re, im)[:, 1:, :8]
    torch.testing.assert_close(low, spectrum[:, :-1, :8] * 1j, atol=1e-5, rtol=1e-5)


def test_bins_above_the_bandwidth_do_not_count() -> None:
    front = FrontEnd()
    analysis, loss = Analysis(front), Loss(Analysis(front), LossWeights())
    target = analysis.spectrum(noise(48000))
    target[..., 200:] = 0
    noisy = analysis.spectrum(noise(48000)) + 0
    wrong = (target.real.clone(), target.imag.clone())
    wrong[0][..., 200:] += 1.0
    vad = torch.zeros(1, target.shape[1])
    masked, _ = loss(noisy, target, wrong, vad, torch.tensor([9000.0]))
    right, _ = loss(noisy, target, (target.real, target.imag), vad, torch.tensor([9000.0]))
    whole, _ = loss(noisy, target, wrong, vad, torch.tensor([24000.0]))
    assert abs(masked - right) < 1e-4 < whole - right


def test_the_regression_penalty_counts_losses_against_the_input() -> None:
    front = FrontEnd()
    analysis, loss = Analysis(front), Loss(Analysis(front), LossWeights(regression_penalty=1.0))
    target = analysis.spectrum(0.3 * noise(48000) * (torch.arange(48000) % 9600 < 4800))
    noisy = target + 0.1 * analysis.spectrum(noise(48000, seed=2))
    rest = (torch.zeros(1, target.shape[1]), torch.tensor([24000.0]))

    def penalty(noisy: torch.Tensor, share: float) -> float:
        """For an estimate with this share of the input's noise."""
        left = target + share * (noisy - target)
        return loss(noisy, target, (left.real, left.imag), *rest)[1]["regression"]

    assert penalty(noisy, 0.5) == 0.0 == penalty(noisy, 1.0)
    assert penalty(noisy, 2.0) > 0.1 * 6.0
    nearly_clean = target + 0.02 * (noisy - target)
    assert penalty(nearly_clean, 2.0) == 0.0


def test_a_teacher_has_a_share_in_spectrum_and_ratio() -> None:
    analysis = Analysis(FrontEnd())
    target = analysis.spectrum(0.3 * noise(48000))
    noisy = target + analysis.spectrum(0.2 * noise(48000, seed=2))
    estimate = target + 0.3 * (noisy - target)
    rest = ((estimate.real, estimate.imag), torch.zeros(1, target.shape[1]), torch.tensor([9000.0]))

    def cost(share: float, teacher: torch.Tensor | None) -> tuple[float, dict[str, float]]:
        weights = LossWeights(sdr=0.1, perceptual=0.0, distillation=share)
        total, parts = Loss(analysis, weights)(noisy, target, *rest, teacher)
        return float(total), parts

    alone, parts = cost(0.6, None)
    assert "teacher_sdr_db" not in parts
    assert cost(0.0, estimate)[0] == pytest.approx(alone)
    whole, parts = cost(1.0, estimate)
    assert parts["teacher_sdr_db"] == pytest.approx(30.0, abs=0.01)
    assert whole < alone
    assert cost(0.6, estimate)[0] == pytest.approx(0.4 * alone + 0.6 * whole)
    # The teacher counts above the bandwidth of the speech, too.
    higher = estimate.clone()
    higher[..., 300:] = 0
    assert cost(1.0, higher)[0] > whole + 0.05
    assert cost(0.0, higher)[0] == pytest.approx(alone)


def test_one_hop_at_a_time_through_onnx_equals_the_whole_sequence(net: Net, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert main(["export", str(save(tmp_path / "c.pt", net)), str(folder), "--id", "tiny"]) == 0
    wave = noise(24000)
    found = run_model(folder, wave[0].numpy())
    with torch.no_grad():
        analysis = Analysis(net.front)
        gain, taps, vad = net(analysis.features(analysis.spectrum(wave)))
    np.testing.assert_allclose(found["gain"], gain[0], atol=1e-4)
    np.testing.assert_allclose(found["taps"], taps[0], atol=1e-4)
    np.testing.assert_allclose(found["vad"][:, 0], torch.sigmoid(vad[0]), atol=1e-4)


def test_export_is_reproducible_and_takes_any_batch(net: Net, tmp_path: Path) -> None:
    front, shape, weights = read_checkpoint(save(tmp_path / "c.pt", net))
    raw = [build_onnx(front, shape, weights).SerializeToString(deterministic=True) for _ in "ab"]
    assert raw[0] == raw[1]
    session = onnxruntime.InferenceSession(raw[0])
    sizes = {i.name: i.shape[1:] for i in session.get_inputs()}
    for batch in (1, 5):
        feeds = {name: np.zeros((batch, *size), np.float32) for name, size in sizes.items()}
        assert session.run(["gain"], feeds)[0].shape == (batch, front.bands)


@pytest.mark.parametrize(("bits", "most"), [(32, 1e-6), (16, 1e-2), (8, 5e-2)])
def test_an_exported_model_can_be_trained_on(net: Net, tmp_path: Path, bits: int, most: float) -> None:
    folder = tmp_path / "model"
    checkpoint = str(save(tmp_path / "c.pt", net))
    assert main(["export", checkpoint, str(folder), "--bits", str(bits)]) == 0
    again = Net(net.front, net.shape)
    init_from(again, folder)
    features = Analysis(net.front).features(Analysis(net.front).spectrum(noise(24000)))
    with torch.no_grad():
        for a, b in zip(net(features), again(features)):
            torch.testing.assert_close(a, b, atol=most, rtol=0)
    with pytest.raises(SystemExit, match=f"--channels {SHAPE.channels}"):
        init_from(Net(net.front, replace(net.shape, channels=40)), folder)
    (folder / "model.onnx").write_bytes(b"no graph at all")
    with pytest.raises(SystemExit, match="not an export"):
        init_from(again, folder)


def test_storing_a_model_again_in_eight_bits_changes_nothing(net: Net, tmp_path: Path) -> None:
    folder, again = tmp_path / "model", tmp_path / "again"
    net.blocks[0].to_fullband.weight.data[3] = 0.0  # an output without weights has no scale
    export = ["export", "--bits", "8"]
    assert main([*export, str(save(tmp_path / "c.pt", net)), str(folder)]) == 0
    kinds = {t.name: t.data_type for t in onnx.load(folder / "model.onnx").graph.initializer}
    stored = {name for name, kind in kinds.items() if kind == onnx.TensorProto.INT8}
    layers = ("subband.gates", "to_fullband", "fullband.gates", "from_fullband")
    assert stored == {f"blocks.{k}.{layer}.weight.int8" for k in range(SHAPE.blocks) for layer in layers}
    assert main([*export, str(folder), str(again)]) == 0
    a, b = (read_model(path)[2] for path in (folder, again))
    for name, value in a.items():
        np.testing.assert_allclose(b[name], value, rtol=2e-3 if value.ndim == 2 else 0, atol=0)
    wave = noise(24000)[0].numpy()
    for name, value in run_model(folder, wave).items():
        np.testing.assert_allclose(run_model(again, wave)[name], value, atol=1e-3)


def test_an_export_may_blend_two_networks(net: Net, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(4)
    other = Net(net.front, net.shape)
    a, b = save(tmp_path / "a.pt", net), save(tmp_path / "b.pt", other)
    for shares, of_other in [(("0.25",), 0.25), (("-0.5",), -0.5), (("0.25", "-0.5"), -0.125)]:
        blends = [text for share in shares for text in ("--blend", str(b), share)]
        assert main(["export", str(a), str(tmp_path / "model"), *blends]) == 0
        found = read_model(tmp_path / "model")[2]
        for name, value in net.state_dict().items():
            expected = (1 - of_other) * value + of_other * other.state_dict()[name]
            np.testing.assert_allclose(found[name], expected, atol=1e-6)
    larger = save(tmp_path / "c.pt", Net(net.front, replace(net.shape, channels=8)))
    larger_shape = replace(net.shape, channels=8).as_dict()
    torch.save(torch.load(larger) | {"shape": larger_shape}, larger)
    for other, share, reason in [
        (larger, "0.5", "another network"),
        (b, "2", "from -1 to 1"),
        (b, "-2", "from -1 to 1"),
        (b, "nan", "from -1 to 1"),
        (b, "x", "'x'"),
    ]:
        assert main(["export", str(a), str(tmp_path / "no"), "--blend", str(other), share]) == 1
        assert reason in capsys.readouterr().out
    assert not (tmp_path / "no").exists()


def test_a_smaller_network_starts_from_blocks_of_a_larger_one(net: Net, tmp_path: Path) -> None:
    whole = save(tmp_path / "c.pt", net)
    smaller = Net(net.front, replace(net.shape, blocks=1))
    init_from(smaller, whole, (1,))
    del net.blocks[0]
    features = Analysis(net.front).features(Analysis(net.front).spectrum(noise(24000)))
    with torch.no_grad():
        for a, b in zip(net(features), smaller(features)):
            torch.testing.assert_close(a, b)
    for wrong in ((2,), (-1,), (0, 0)):
        with pytest.raises(SystemExit, match="blocks 0 to 1, and each can be kept once"):
            init_from(Net(net.front, replace(net.shape, blocks=len(wrong))), whole, wrong)
    with pytest.raises(SystemExit, match="--blocks 1"):
        init_from(Net(net.front, net.shape), whole, (1,))


def test_a_larger_network_starts_as_the_smaller_one(net: Net, tmp_path: Path) -> None:
    whole = save(tmp_path / "c.pt", net)
    larger = Net(net.front, replace(net.shape, blocks=SHAPE.blocks + 2))
    init_from(larger, whole, ("new", 0, "new", 1))
    features = Analysis(net.front).features(Analysis(net.front).spectrum(noise(24000)))
    with torch.no_grad():
        before = net(features)
    after = larger(features)
    for a, b in zip(before, after):
        torch.testing.assert_close(a, b.detach())
    sum(out.square().sum() for out in after).backward()
    for at in (0, 2):  # new blocks have a gradient
        block = larger.blocks[at]
        for weight in (block.subband.gates.weight, block.from_fullband.weight):
            assert weight.grad.norm() > 0, at


@pytest.mark.parametrize("text", ["-1", "x", "1.5", ""])
def test_block_numbers_are_checked(text: str) -> None:
    assert [parse_block("3"), parse_block("new")] == [3, "new"]
    with pytest.raises(argparse.ArgumentTypeError, match="new"):
        parse_block(text)


def test_checkpoints_of_another_architecture_are_refused(net: Net, tmp_path: Path) -> None:
    other = {**SHAPE.as_dict(), "channels": 32}
    for path in (
        save(tmp_path / "a.pt", net, shape=other),
        save(tmp_path / "b.pt", net, shape={"depth": 3}),
        save(tmp_path / "c.pt", net, average={}),
    ):
        with pytest.raises(IncompatibleNetwork, match="another architecture"):
            read_checkpoint(path)
    torch.save({"weights": 1}, tmp_path / "d.pt")
    with pytest.raises(IncompatibleNetwork, match="not a checkpoint"):
        read_checkpoint(tmp_path / "d.pt")
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    time_s = np.arange(4 * 48000) / 48000
    rng = np.random.default_rng(0)
    for talker in range(12):
        voice = np.sin(2 * np.pi * (110 + 9 * talker) * time_s) * (np.sin(5 * time_s) > 0)
        (root / f"in/speech/t{talker}").mkdir(parents=True)
        soundfile.write(root / f"in/speech/t{talker}/a.wav", 0.2 * voice, 48000)
        (root / f"in/noise/n{talker}").mkdir(parents=True)
        hiss = 0.1 * rng.standard_normal(len(time_s))
        soundfile.write(root / f"in/noise/n{talker}/a.wav", hiss, 48000)
    assert prepare(root / "in", root / "store").skipped == []
    return root / "store"


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
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert whole["step"] == parts["step"] == 6
    for name, value in whole["average"].items():
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


def test_the_share_of_a_teacher_is_at_most_the_whole() -> None:
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

    monkeypatch.setattr(train.Loss, "__call__", broken)
    assert main(options(store, tmp_path / "run", 3)) == 1
    assert "bad-batch-0.npz" in capsys.readouterr().out
    with np.load(tmp_path / "run/bad-batch-0.npz") as batch:
        assert batch["noisy"].shape == (2, 48000)
