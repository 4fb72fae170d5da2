"""Network, loss, export and golden vectors, at small sizes."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from quietwire_train import net as network
from quietwire_train.checkpoint import IncompatibleNetwork, read_checkpoint, read_manifest, read_model
from quietwire_train.cli import main
from quietwire_train.export import build_onnx
from quietwire_train.frontend import Analysis, FrontEnd
from quietwire_train.golden import run_model
from quietwire_train.initialization import init_from
from quietwire_train.loss import Loss, LossWeights
from quietwire_train.net import Net, NetShape, apply_mask
from quietwire_train.train import parse_block

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
    complete, _ = loss(noisy, target, wrong, vad, torch.tensor([24000.0]))
    assert abs(masked - right) < 1e-4 < complete - right


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
    complete, parts = cost(1.0, estimate)
    assert parts["teacher_sdr_db"] == pytest.approx(30.0, abs=0.01)
    assert complete < alone
    assert cost(0.6, estimate)[0] == pytest.approx(0.4 * alone + 0.6 * complete)
    # The teacher counts above the bandwidth of the speech, too.
    higher = estimate.clone()
    higher[..., 300:] = 0
    assert cost(1.0, higher)[0] > complete + 0.05
    assert cost(0.0, higher)[0] == pytest.approx(alone)


def test_one_hop_at_a_time_through_onnx_equals_the_full_sequence(net: Net, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert main(["export", str(save(tmp_path / "c.pt", net)), str(folder), "--license", "MIT"]) == 0
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
    assert main(["export", checkpoint, str(folder), "--bits", str(bits), "--license", "MIT"]) == 0
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
    export = ["export", "--bits", "8", "--license", "MIT"]
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
        assert main(["export", str(a), str(tmp_path / "model"), "--license", "MIT", *blends]) == 0
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
        assert (
            main(["export", str(a), str(tmp_path / "no"), "--license", "MIT", "--blend", str(other), share])
            == 1
        )
        assert reason in capsys.readouterr().out
    assert not (tmp_path / "no").exists()


def test_a_smaller_network_starts_from_blocks_of_a_larger_one(net: Net, tmp_path: Path) -> None:
    complete = save(tmp_path / "c.pt", net)
    smaller = Net(net.front, replace(net.shape, blocks=1))
    init_from(smaller, complete, (1,))
    del net.blocks[0]
    features = Analysis(net.front).features(Analysis(net.front).spectrum(noise(24000)))
    with torch.no_grad():
        for a, b in zip(net(features), smaller(features)):
            torch.testing.assert_close(a, b)
    for wrong in ((2,), (-1,), (0, 0)):
        with pytest.raises(SystemExit, match="blocks 0 to 1, and each can be kept once"):
            init_from(Net(net.front, replace(net.shape, blocks=len(wrong))), complete, wrong)
    with pytest.raises(SystemExit, match="--blocks 1"):
        init_from(Net(net.front, net.shape), complete, (1,))


def test_a_larger_network_starts_as_the_smaller_one(net: Net, tmp_path: Path) -> None:
    complete = save(tmp_path / "c.pt", net)
    larger = Net(net.front, replace(net.shape, blocks=SHAPE.blocks + 2))
    init_from(larger, complete, ("new", 0, "new", 1))
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
    assert main(["export", str(tmp_path / "a.pt"), str(tmp_path / "out"), "--license", "MIT"]) == 1
    assert not (tmp_path / "out").exists()


def test_an_export_requires_the_license(net: Net, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, folder = str(save(tmp_path / "c.pt", net)), tmp_path / "mine"
    assert main(["export", checkpoint, str(folder)]) == 1
    assert "--license" in capsys.readouterr().out and not folder.exists()
    assert main(["export", checkpoint, str(folder), "--license", "CC0-1.0"]) == 0
    again = tmp_path / "again"
    assert main(["export", str(folder), str(again)]) == 0
    for made in (folder, again):
        manifest = read_manifest(made)
        assert (manifest["license"], manifest["id"]) == ("CC0-1.0", made.name)
        assert sorted(path.name for path in made.iterdir()) == ["model.onnx", "model.toml"]


def test_weights_that_are_not_finite_are_refused(
    net: Net, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    license_id = ["--license", "MIT"]
    assert main(["export", str(save(tmp_path / "c.pt", net)), str(good), *license_id]) == 0
    net.vad.weight.data[0, 0] = float("nan")
    checkpoint = save(tmp_path / "nan.pt", net)
    assert main(["export", str(checkpoint), str(bad), *license_id]) == 1
    assert "not finite, first vad.weight" in capsys.readouterr().out and not bad.exists()
    # A graph that gives NaN makes no golden vectors.
    model = onnx.load(good / "model.onnx")
    for weight in model.graph.initializer:
        if weight.name == "gain_bias":
            values = np.full(weight.dims, np.nan, np.float32)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, good / "model.onnx")
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, noise(24000)[0].numpy(), 48000)
    out = tmp_path / "golden"
    assert main(["golden", str(good), str(clip), str(out), "--start", "0", "--seconds", "0.2"]) == 1
    assert "not finite: gain" in capsys.readouterr().err and not out.exists()


def test_golden_needs_a_mono_clip_at_the_rate(
    net: Net, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    assert main(["export", str(save(tmp_path / "c.pt", net)), str(folder), "--license", "MIT"]) == 0
    mono, stereo = np.zeros(48000), np.zeros((48000, 2))
    for signal, rate_hz, start, reason in [
        (mono, 8000, 0, "has 8000 Hz, the model needs 48000 Hz"),
        (stereo, 48000, 0, "2 channels"),
        (mono, 48000, 2, "less than a hop"),
    ]:
        soundfile.write(tmp_path / "clip.wav", signal, rate_hz)
        command = ["golden", str(folder), str(tmp_path / "clip.wav"), str(tmp_path / "out")]
        assert main([*command, "--start", str(start)]) == 1
        assert reason in capsys.readouterr().err
    soundfile.write(tmp_path / "clip.wav", noise(48000)[0].numpy(), 48000)
    assert main([*command, "--start", "0", "--seconds", "0.5"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{name}.f32" for name in ("input", "features", "gain", "taps", "vad", "output")}


def test_other_files_are_no_checkpoints(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    for content, reason in [
        ({"format": 99, "average": {}}, "format 99, this version reads up to 3"),
        ([1, 2], "not a checkpoint"),
    ]:
        torch.save(content, path)
        with pytest.raises(IncompatibleNetwork, match=reason):
            read_checkpoint(path)
    path.write_bytes(b"plain text")
    with pytest.raises(IncompatibleNetwork, match="not a complete checkpoint"):
        read_checkpoint(path)


def test_a_registered_block_is_trained_and_requires_a_graph(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "BLOCKS", dict(network.BLOCKS))

    @network.register_block("other")
    class Other(network.Block):
        pass

    with pytest.raises(ValueError, match="already"):
        network.register_block("other")(Other)
    other = Net(net.front, replace(net.shape, block="other"))
    assert isinstance(other.blocks[0], Other)
    front, shape, weights = read_checkpoint(save(tmp_path / "c.pt", other))
    assert shape.block == "other"
    with pytest.raises(IncompatibleNetwork, match="'other' has no writer"):
        build_onnx(front, shape, weights)
    with pytest.raises(ValueError, match="unknown block 'none'"):
        Net(net.front, replace(net.shape, block="none"))
    unknown = {**shape.as_dict(), "block": "none"}
    with pytest.raises(IncompatibleNetwork, match="unknown block 'none'"):
        read_checkpoint(save(tmp_path / "d.pt", other, shape=unknown))
