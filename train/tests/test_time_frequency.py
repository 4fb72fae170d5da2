"""The block time_frequency: export, causality, storage, and refused sizes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from quietwire_train.checkpoint import read_manifest, read_model
from quietwire_train.cli import main
from quietwire_train.frontend import Analysis, FrontEnd
from quietwire_train.golden import run_model
from quietwire_train.initialization import init_from
from quietwire_train.net import Net, NetShape

FRONT = FrontEnd(linear_bins=73, phase_bins=72)
SHAPE = NetShape("time_frequency", 6, 2, 10, tap_bins=72, tap_order=2, input_hops=3, frequency=4)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    net = Net(FRONT, SHAPE)
    torch.nn.init.normal_(net.taps.weight, std=0.2)
    return net


def wave(samples: int = 24000) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))


def features(net: Net) -> torch.Tensor:
    analysis = Analysis(net.front)
    return analysis.features(analysis.spectrum(wave()))


def export(net: Net, tmp_path: Path, *options: str) -> Path:
    checkpoint, folder = tmp_path / "c.pt", tmp_path / "model"
    content = {"front": net.front.as_dict(), "shape": net.shape.as_dict(), "average": net.state_dict()}
    torch.save(content, checkpoint)
    assert main(["export", str(checkpoint), str(folder), "--license", "MIT", *options]) == 0
    return folder


def test_one_hop_at_a_time_equals_the_full_sequence(net: Net, tmp_path: Path) -> None:
    found = run_model(export(net, tmp_path), wave()[0].numpy())
    with torch.no_grad():
        gain, taps, vad = net(features(net))
    np.testing.assert_allclose(found["gain"], gain[0], atol=1e-4)
    np.testing.assert_allclose(found["taps"], taps[0], atol=1e-4)
    np.testing.assert_allclose(found["vad"][:, 0], torch.sigmoid(vad[0]), atol=1e-4)


def test_no_output_depends_on_a_later_hop(net: Net) -> None:
    before = features(net)
    after = before.clone()
    after[:, 30:] += 0.5
    with torch.no_grad():
        for a, b in zip(net(before), net(after)):
            torch.testing.assert_close(a[:, :30], b[:, :30], atol=0, rtol=0)
            assert not torch.equal(a[:, 30], b[:, 30])


def test_every_subband_of_a_hop_receives_every_other(net: Net) -> None:
    """A change in the highest band reaches the gain of the lowest in the same hop, and the reverse."""
    before = features(net)
    for changed, seen in ((FRONT.bands - 1, 0), (0, FRONT.bands - 1)):
        after = before.clone()
        after[:, -1, changed] += 1.0
        with torch.no_grad():
            change = (net(after)[0] - net(before)[0])[0].abs()
        assert change[-1, seen] > 0 and change[:-1].max() == 0


def test_the_first_layer_receives_two_earlier_hops(net: Net) -> None:
    before = features(net)
    seen = []
    net.encoder.register_forward_hook(lambda module, args, out: seen.append(args[0][:, 0]))
    after = before.clone()
    after[:, 10] += 1.0
    with torch.no_grad():
        net(before), net(after)
    changed = (seen[1] - seen[0]).abs().amax((1, 2))
    assert changed[10:13].min() > 0
    changed[10:13] = 0
    assert changed.max() == 0


def test_the_graph_is_for_one_stream_and_states_its_filter(net: Net, tmp_path: Path) -> None:
    folder = export(net, tmp_path, "--bits", "8")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert all(tensor.shape[0] == 1 for tensor in session.get_inputs())
    graph = read_manifest(folder)["graph"][0]
    taps = next(tensor for tensor in graph["outputs"] if tensor["role"] == "taps")
    assert taps["taps"] == {"order": 2, "bins": 72, "layout": "newest-part-bin"}
    kinds = {t.name: t.data_type for t in onnx.load(folder / "model.onnx").graph.initializer}
    stored = {name for name, kind in kinds.items() if kind == onnx.TensorProto.INT8}
    layers = ["0.subband.gates", "0.from_frequency", "1.subband.gates", "1.from_frequency"]
    layers += ["1.to_fullband", "1.fullband.gates", "1.from_fullband"]
    assert stored == {f"blocks.{layer}.weight.int8" for layer in layers}


@pytest.mark.parametrize(("bits", "most"), [(32, 1e-6), (16, 1e-2), (8, 5e-2)])
def test_an_exported_model_can_be_trained_on(net: Net, tmp_path: Path, bits: int, most: float) -> None:
    folder = export(net, tmp_path, "--bits", str(bits))
    front, shape, _ = read_model(folder)
    assert (front, shape) == (FRONT, SHAPE)
    again = Net(front, shape)
    init_from(again, folder)
    with torch.no_grad():
        for a, b in zip(net(features(net)), again(features(net))):
            torch.testing.assert_close(a, b, atol=most, rtol=0)


def test_a_new_block_starts_as_the_identity(net: Net) -> None:
    for block in net.blocks:
        block.init_identity()
        x = torch.randn(5, 1, net.subbands, SHAPE.channels)
        torch.testing.assert_close(block(x)[0], x)
    assert net.blocks[0](x)[1] is None and net.blocks[1](x)[1].shape == (5, 1, SHAPE.summary)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"frequency": 0}, "needs 1 or more"),
        ({"block": "subband_fullband"}, "has no such layer"),
        ({"input_hops": 0}, "1 or more"),
        ({"tap_bins": 76}, "needs one-bin bands"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Net(FRONT, replace(SHAPE, **changes))
