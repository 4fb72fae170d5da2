"""Reads and writes the weights of a network: checkpoints of `train` and exported model folders.

A checkpoint has a format number:

- 1 (no key `format`): names of weights before 0.2, see `net.RENAMED`.
- 2: current names; `shape` has the kind of block.
- 3: `shape` has `input_hops` and `frequency`.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import onnx
import tomllib
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from .frontend import FrontEnd
from .net import SUBBAND_BANDS, Net, NetShape, current_name

Weights = dict[str, np.ndarray]
FORMAT = 3


class IncompatibleNetwork(ValueError):
    """The tensors of a file are not those of the network that its header describes."""


def save_atomically(value: dict, path: Path) -> None:
    """Writes a temporary file and renames it: an interrupted write keeps the previous file."""
    part = path.with_suffix(".part")
    torch.save({"format": FORMAT, **value}, part)
    os.replace(part, path)


def load(path: Path, device: torch.device | str = "cpu") -> dict:
    """The content of a checkpoint of any format, with current names of weights.

    Raises IncompatibleNetwork for another kind of file and for a newer format, OSError for a file
    that cannot be opened.
    """
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IncompatibleNetwork(f"{path}: not a complete checkpoint of `train`: {reason}") from error
    if not isinstance(saved, dict):
        raise IncompatibleNetwork(f"{path}: not a checkpoint of `train`")
    if saved.get("format", 1) > FORMAT:
        raise IncompatibleNetwork(
            f"{path}: checkpoint format {saved['format']}, this version reads up to {FORMAT}"
        )
    if "optimiser" in saved:  # the key before 0.2
        saved["optimizer"] = saved.pop("optimiser")
    for key in {"net", "average"} & set(saved):
        saved[key] = {current_name(name): value for name, value in saved[key].items()}
    return saved


def read_checkpoint(path: Path) -> tuple[FrontEnd, NetShape, Weights]:
    """The averaged weights of a run, checked against the network that the header describes."""
    saved = load(path)
    missing = {"front", "shape", "average"} - set(saved)
    if missing:
        raise IncompatibleNetwork(f"{path}: has no {sorted(missing)}; it is not a checkpoint of `train`")
    try:
        front, shape = FrontEnd(**saved["front"]), NetShape(**saved["shape"])
    except TypeError as error:
        raise IncompatibleNetwork(f"{path}: made by another architecture: {error}") from error
    weights = {name: value.numpy() for name, value in saved["average"].items()}
    try:
        net = Net(front, shape)
    except ValueError as error:
        raise IncompatibleNetwork(f"{path}: {error}") from error
    expected = {name: tuple(v.shape) for name, v in net.state_dict().items()}
    actual = {name: tuple(v.shape) for name, v in weights.items()}
    if expected != actual:
        wrong = sorted(set(expected.items()) ^ set(actual.items()))
        raise IncompatibleNetwork(f"{path}: made by another architecture: {wrong[:4]}")
    return front, shape, weights


def front_end(manifest: dict) -> FrontEnd:
    """The front end that a manifest describes."""
    front, features = manifest["front_end"], manifest["features"]
    bands, level = features["bands"], features["level"]
    centers = bands["centers"] if "centers" in bands else bands["centres"]
    one_bin_wide = [at for at, center in enumerate(centers) if center == at]
    made = FrontEnd(
        rate_hz=front["rate_hz"],
        window=front["window"],
        hop=front["hop"],
        linear_bins=len(one_bin_wide),
        phase_bins=features["phase_advance"]["bins"],
        level_first_bin=level["first_bin"],
        level_attack=level["attack"],
        level_release_db=level["release_db"],
        level_floor_db=level["floor_db"],
        range_low_db=bands["range_low_db"],
        range_high_db=bands["range_high_db"],
        range_step_db=bands["range_step_db"],
        range_offset=bands["range_offset"],
    )
    if made.centers != centers:
        raise ValueError("the band centers of the manifest are not those of this package's front end")
    return made


def read_manifest(folder: Path) -> dict:
    """`model.toml` of a model folder."""
    return tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))


def read_model(folder: Path) -> tuple[FrontEnd, NetShape, Weights]:
    """The inverse of an export: the weights of a model folder as a checkpoint would have them.

    Weights stored in 8 or 16 bits keep their rounding.
    """
    try:
        manifest = read_manifest(folder)
        graph = onnx.load(folder / manifest["graph"][0]["file"]).graph
        stored = {current_name(t.name): numpy_helper.to_array(t) for t in graph.initializer}
        outputs = {tensor["name"]: tensor["shape"][1:] for tensor in manifest["graph"][0]["outputs"]}
        order, _, bins = outputs["taps"]
        inputs = manifest["graph"][0]["inputs"]
        states = {
            current_name(tensor["name"]): tensor["shape"][1:]
            for tensor in inputs
            if tensor["role"] == "state"
        }
        shape = _shape(states, stored, order, bins)

        def matrix(name: str) -> np.ndarray:
            if f"{name}.int8" in stored:
                value = stored[f"{name}.int8"] * stored[f"{name}.scale"]
            else:
                value = stored[name] if name in stored else stored[f"{name}.f16"]
            return np.ascontiguousarray(value.astype(np.float32).T)

        front = front_end(manifest)
        expected = Net(front, shape).state_dict()
        head = np.concatenate([matrix("head.weight"), matrix("head.local.weight")], 1)
        padding = expected["gain_bias"].numel() - front.bands
        gain_bias = np.pad(stored["gain_bias"], (0, padding), constant_values=1.0)
        weights = {
            "gain.weight": head[:SUBBAND_BANDS],
            "gain_bias": gain_bias.reshape(-1, SUBBAND_BANDS),
            "taps.weight": head[SUBBAND_BANDS:],
            "taps.bias": stored["head.local.bias"][SUBBAND_BANDS:],
        }
        for block in range(shape.blocks if shape.frequency else 0):
            weights |= _gru_weights(stored, f"blocks.{block}.frequency")
        others = expected.keys() - weights.keys()
        weights |= {name: matrix(name) if name.endswith(".weight") else stored[name] for name in others}
        return front, shape, weights
    except (KeyError, ValueError, IndexError, DecodeError) as error:
        raise IncompatibleNetwork(f"{folder}: not an export of this package: {error}") from error


def _shape(states: dict[str, list[int]], stored: Weights, tap_order: int, tap_bins: int) -> NetShape:
    """Sizes of a network from the states and weights of its graph."""
    past = states.get("past_features")
    local = next(size for name, size in states.items() if name.startswith("subband"))
    (summary,) = next(size for name, size in states.items() if name.startswith("fullband"))
    along = stored.get("blocks.0.frequency.R")
    return NetShape(
        block="subband_fullband" if along is None else "time_frequency",
        channels=local[1],
        blocks=sum(name.startswith("subband") for name in states),
        summary=summary,
        tap_bins=tap_bins,
        tap_order=tap_order,
        input_hops=1 if past is None else 1 + past[0],
        frequency=0 if along is None else along.shape[2],
    )


def gru_tensors(weights: Weights, name: str) -> dict[str, np.ndarray]:
    """A bidirectional torch.nn.GRU as `W`, `R` and `B` of the ONNX operator GRU.

    PyTorch has the gates in the order reset, update, candidate; ONNX update, reset, candidate.
    """

    def directions(kind: str) -> list[np.ndarray]:
        found = []
        for suffix in ("", "_reverse"):
            reset, update, candidate = np.split(weights[f"{name}.{kind}_l0{suffix}"], 3)
            found.append(np.concatenate([update, reset, candidate]))
        return found

    biases = np.concatenate([directions("bias_ih"), directions("bias_hh")], 1)
    return {"W": np.stack(directions("weight_ih")), "R": np.stack(directions("weight_hh")), "B": biases}


def _gru_weights(stored: Weights, name: str) -> Weights:
    """The inverse of gru_tensors."""
    tensors = {kind: stored[f"{name}.{kind}"] for kind in ("W", "R", "B")}
    made = {}
    for at, suffix in enumerate(("", "_reverse")):
        of_input, of_state = np.split(tensors["B"][at], 2)
        parts = {
            "weight_ih": tensors["W"][at],
            "weight_hh": tensors["R"][at],
            "bias_ih": of_input,
            "bias_hh": of_state,
        }
        for kind, value in parts.items():
            update, reset, candidate = np.split(value, 3)
            made[f"{name}.{kind}_l0{suffix}"] = np.concatenate([reset, update, candidate])
    return made


def require_finite(weights: Weights, source: str) -> None:
    """Raises IncompatibleNetwork if a weight is NaN or infinite."""
    broken = sorted(name for name, value in weights.items() if not np.isfinite(value).all())
    if broken:
        raise IncompatibleNetwork(
            f"{source}: {len(broken)} of {len(weights)} weights are not finite, first {broken[0]}"
        )


def read(source: Path) -> tuple[FrontEnd, NetShape, Weights]:
    """Front end, sizes and weights of a checkpoint or a model folder."""
    return read_model(source) if source.is_dir() else read_checkpoint(source)
