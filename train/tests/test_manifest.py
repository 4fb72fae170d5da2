"""The writer of manifests, and models and checkpoints in the names before 0.2."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import tomllib
import torch

from quietwire_train.checkpoint import load, read_model
from quietwire_train.manifest import graph, tensor, to_toml
from quietwire_train.net import RENAMED, current_name

MODELS = Path(__file__).parents[2] / "models"


def test_a_manifest_is_what_was_written() -> None:
    raw = b"graph"
    document = {
        "id": 'a "quoted" name',
        "version": "1",
        "domain": {"input_rates_hz": [8000, 192000], "speech": "any"},
        "graph": [
            graph("a.onnx", raw, [tensor("in", "gain", ["N", 3])], [tensor("out", "state", [1], of="in")]),
            graph("b.onnx", raw, [], [], hidden_states=2),
        ],
        "features": {"bands": {"centers": list(range(100)), "low_db": -80.0}, "level": {"on": True}},
    }
    for width in (40, 1_000_000):
        text = to_toml(document, width)
        assert tomllib.loads(text) == document
        assert max(map(len, text.splitlines())) < max(width, 110) or width > 100
    assert document["graph"][0]["sha256"] == hashlib.sha256(raw).hexdigest()
    with pytest.raises(TypeError, match="no TOML form"):
        to_toml({"id": None})


@pytest.mark.parametrize("name", ["base", "tiny"])
def test_shipped_manifests_have_the_form_of_an_export(name: str) -> None:
    text = (MODELS / name / "model.toml").read_text()
    assert to_toml(tomllib.loads(text)) == text
    raw = (MODELS / name / "model.onnx").read_bytes()
    assert hashlib.sha256(raw).hexdigest() in text
    names = {tensor["name"] for tensor in tomllib.loads(text)["graph"][0]["inputs"]}
    assert {"subband0", "fullband0"} < names


def test_old_names_become_current_ones() -> None:
    assert current_name("blocks.3.alone.gates.weight.whole") == "blocks.3.subband.gates.weight.int8"
    assert current_name("blocks.0.together.gates.bias") == "blocks.0.fullband.gates.bias"
    assert current_name("blocks.0.gather.weight") == "blocks.0.to_fullband.weight"
    assert current_name("blocks.0.spread.weight") == "blocks.0.from_fullband.weight"
    assert [current_name(name) for name in ("alone0", "together1_next")] == ["subband0", "fullband1_next"]
    assert current_name("places") == "subband_embedding"
    for name in ("gathered", "head.weight", "blocks.0.subband.gates.weight"):
        assert current_name(name) == name


def _old_name(name: str) -> str:
    for old, new in (
        ("subband_embedding", "places"),
        (".subband.", ".alone."),
        (".fullband.", ".together."),
        ("to_fullband", "gather"),
        ("from_fullband", "spread"),
        (".int8", ".whole"),
        (".f16", ".half"),
    ):
        name = name.replace(old, new)
    return name


def test_a_model_folder_with_old_names_is_read(tmp_path: Path) -> None:
    assert len(RENAMED) == 7
    text = (MODELS / "tiny/model.toml").read_text()
    for new, old in (("subband", "alone"), ("fullband", "together"), ("license", "licence")):
        text = text.replace(new, old)
    (tmp_path / "model.toml").write_text(text.replace("centers", "centres"))
    model = onnx.load(MODELS / "tiny/model.onnx")
    for weight in model.graph.initializer:
        weight.name = _old_name(weight.name)
    onnx.save(model, tmp_path / "model.onnx")
    front, shape, weights = read_model(MODELS / "tiny")
    old_front, old_shape, old_weights = read_model(tmp_path)
    assert (front, shape) == (old_front, old_shape) and weights.keys() == old_weights.keys()
    assert all(np.array_equal(weights[name], old_weights[name]) for name in weights)


def test_a_checkpoint_with_old_names_is_read(tmp_path: Path) -> None:
    torch.save({"average": {"places": torch.ones(2)}, "optimiser": {"state": {}}}, tmp_path / "old.pt")
    saved = load(tmp_path / "old.pt")
    assert list(saved["average"]) == ["subband_embedding"] and "optimizer" in saved
