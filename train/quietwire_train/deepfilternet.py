"""DeepFilterNet3 in PyTorch, read from its published ONNX graphs and written back into them.

DeepFilterNet3 (Schroeter et al. 2023, "DeepFilterNet: Perceptually motivated real-time speech
enhancement"; weights MIT OR Apache-2.0) has two hops of lookahead, one pair in the features and one in
the filter of the low bins. `causal` moves both to the past, so that the network can be trained on with
the latency of its window alone, 20 ms.

The graphs are kept as they are: a trained network replaces the weights in the ONNX files.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import lfilter
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

from .frontend import Analysis, FrontEnd
from .gru import run_gru

GRAPHS = ("enc", "erb_dec", "df_dec")
BANDS = (2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 5, 5, 7)
BANDS += (7, 8, 10, 12, 13, 15, 18, 20, 24, 28, 31, 37, 42, 50, 56, 67)
TAP_BINS = 96
TAP_ORDER = 5
TAPS_AHEAD = 2  # hops of the published filter after the output hop
SMOOTHING = 0.99  # of the running means of the features, one second
BAND_INITIAL_DB = (-60.0, -90.0)
UNIT_INITIAL = (0.001, 0.0001)
TAP_BANDS = np.repeat(np.arange(len(BANDS)), BANDS)[:TAP_BINS]  # of each bin of the filter
INITIAL_GATE_BIAS = 3.0  # added to the logits of the band gains: the gates are nearly open at first
BAND_STEP_DB = 40.0
POWER_FLOOR = 1e-10
GATE = "gate"  # tensor between the graphs of a gated network
# Constants of a graph that are weights: GRU weights that the export did not make initializers.
MIN_WEIGHT = 500
# Weights of the output `235`, which nothing uses.
UNUSED = {("df_dec", "onnx::MatMul_321"), ("df_dec", "df_fc_a.0.bias")}

# GRUs by graph: name of the module, and names of W, R and B.
GRUS = {
    "enc": {
        "emb_gru": (
            "/emb_gru/Constant_3_output_0",
            "/emb_gru/Constant_4_output_0",
            "/emb_gru/Constant_5_output_0",
        )
    },
    "erb_dec": {
        "emb_gru_0": (
            "/emb_gru/Constant_3_output_0",
            "/emb_gru/Constant_4_output_0",
            "/emb_gru/Constant_5_output_0",
        ),
        "emb_gru_1": (
            "/emb_gru/Constant_9_output_0",
            "/emb_gru/Constant_10_output_0",
            "/emb_gru/Constant_11_output_0",
        ),
    },
    "df_dec": {
        "df_gru_0": ("onnx::GRU_291", "onnx::GRU_292", "onnx::GRU_293"),
        "df_gru_1": ("onnx::GRU_311", "onnx::GRU_312", "onnx::GRU_313"),
    },
}


def read_graphs(source: Path) -> dict[str, onnx.ModelProto]:
    """The three graphs of a folder or of DeepFilterNet3_onnx.tar.gz."""
    if source.is_dir():
        return {name: onnx.load(source / f"{name}.onnx") for name in GRAPHS}
    found = {}
    with tarfile.open(source) as archive:
        for member in archive.getmembers():
            if (name := Path(member.name).stem) in GRAPHS and member.name.endswith(".onnx"):
                found[name] = onnx.load_model_from_string(archive.extractfile(member).read())
    if missing := set(GRAPHS) - set(found):
        raise ValueError(
            f"{source}: has no {', '.join(sorted(missing))}; it is not an export of DeepFilterNet3"
        )
    return found


def weight_tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The tensors with weights of a graph, by name: initializers, and large constants."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and np.prod(node.attribute[0].t.dims, dtype=int) >= MIN_WEIGHT:
            found[node.output[0]] = node.attribute[0].t
    return found


def _reorder(value: np.ndarray) -> np.ndarray:
    """Gates of an ONNX GRU (update, reset, candidate) in PyTorch's order, or the reverse."""
    first, second, candidate = np.split(value, 3)
    return np.concatenate([second, first, candidate])


def _gru_weights(w: np.ndarray, r: np.ndarray, b: np.ndarray) -> dict[str, torch.Tensor]:
    of_input, of_state = np.split(b[0], 2)
    values = {"weight_ih_l0": w[0], "weight_hh_l0": r[0], "bias_ih_l0": of_input, "bias_hh_l0": of_state}
    return {name: torch.from_numpy(_reorder(value)) for name, value in values.items()}


def _onnx_weights(gru: nn.GRU) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W, R and B of a GRU."""
    w, r, b, c = (
        _reorder(getattr(gru, name).detach().numpy())
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    return w[None], r[None], np.concatenate([b, c])[None]


class DeepFilterNet3(nn.Module):
    """Features of a stream to band gains and filter taps: [n, hops, 32 + 2 x 96] to
    gain [n, hops, 32], taps [n, hops, 5, 2, 96] (newest first) and the SNR estimate as a logit [n, hops].

    Without `causal` the outputs of hop t are those for the input two hops earlier, and the taps begin two
    hops after it. `gated`: the taps of a bin are multiplied by a gate from 0 to 1, the logit of its band's
    gain with a bias of its own. Taps alone are never 0, so a part of steady lines would pass.
    """

    def __init__(self, graphs: dict[str, onnx.ModelProto], causal: bool = False, gated: bool = False):
        super().__init__()
        self.names: dict[str, tuple[str, str]] = {}  # of parameters: graph and tensor
        for graph in GRAPHS:
            tensors = {name: numpy_helper.to_array(t) for name, t in weight_tensors(graphs[graph]).items()}
            for module, names in GRUS[graph].items():
                width = tensors[names[1]].shape[-1]
                gru = nn.GRU(tensors[names[0]].shape[-1], width)
                gru.load_state_dict(_gru_weights(*(tensors.pop(name) for name in names)))
                self.add_module(f"{graph}_{module}", gru)
            for name, value in tensors.items():
                key = f"{graph}_{name}".replace(".", "_").replace(":", "_").replace("/", "_")
                self.names[key] = (graph, name)
                used = (graph, name) not in UNUSED
                self.register_parameter(key, nn.Parameter(torch.from_numpy(value.copy()), requires_grad=used))
        if causal:
            self._move_taps()
        if gated:
            bands = int(TAP_BANDS[-1]) + 1
            self.gate_bias = nn.Parameter(torch.full((bands,), INITIAL_GATE_BIAS))

    def _move_taps(self) -> None:
        """The taps of this hop and of two before become the newest three; those ahead the oldest two."""
        # Positions are from the oldest hop on; position 4 - TAPS_AHEAD was this hop.
        order = [(position - TAPS_AHEAD) % TAP_ORDER for position in range(TAP_ORDER)]
        rows = [2 * position + part for position in order for part in range(2)]
        with torch.no_grad():
            out = self.df_dec_df_out_0_weight
            shape = out.shape
            out.copy_(out.reshape(*shape[:2], -1, 2 * TAP_ORDER)[..., rows].reshape(shape))
            weight, bias = self.df_dec_onnx__Conv_268, self.df_dec_onnx__Conv_269
            weight.copy_(weight[rows])
            bias.copy_(bias[rows])

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        n, hops, _ = features.shape
        bands = features[..., None, : len(BANDS)].transpose(1, 2)  # [n, 1, hops, 32]
        unit = features[..., len(BANDS) :].unflatten(-1, (2, TAP_BINS)).transpose(1, 2)
        e0 = torch.relu(self._conv("enc", pad(bands, (0, 0, 2, 0)), "onnx::Conv_282", "onnx::Conv_283"))
        e1 = self._separable("enc", e0, "erb_conv1.0.weight", 285, stride=2)
        e2 = self._separable("enc", e1, "erb_conv2.0.weight", 288, stride=2)
        e3 = self._separable("enc", e2, "erb_conv3.0.weight", 291)
        c0 = self._conv("enc", pad(unit, (0, 0, 2, 0)), "df_conv0.1.weight", groups=2)
        c0 = torch.relu(self._conv("enc", c0, "onnx::Conv_294", "onnx::Conv_295", padding=0))
        c1 = self._separable("enc", c0, "df_conv1.0.weight", 297, stride=2)
        low = torch.relu(self._grouped("enc", c1.permute(0, 2, 3, 1).flatten(2), "df_fc_emb.0.weight"))
        emb = e3.permute(0, 2, 3, 1).flatten(2) + low
        emb = torch.relu(self._grouped("enc", emb, "emb_gru.linear_in.0.weight"))
        emb = _run_grus(emb, self.enc_emb_gru)
        emb = torch.relu(self._grouped("enc", emb, "emb_gru.linear_out.0.weight"))
        snr = emb @ self._tensor("enc", "onnx::MatMul_337") + self._tensor("enc", "lsnr_fc.0.bias")
        # float32 under autocast too, for a mask near 1.
        logits, taps = self._logits(emb, e0, e1, e2, e3).float(), self._taps(emb, c0).float()
        if self.is_gated:
            gate = torch.sigmoid(logits[..., : len(self.gate_bias)] + self.gate_bias)
            taps = taps * gate[..., torch.from_numpy(TAP_BANDS)][:, :, None, None]
        return torch.sigmoid(logits), taps, snr[..., 0].float()

    @property
    def is_gated(self) -> bool:
        return hasattr(self, "gate_bias")

    def _logits(self, emb: torch.Tensor, *maps: torch.Tensor) -> torch.Tensor:
        e0, e1, e2, e3 = maps
        x = torch.relu(self._grouped("erb_dec", emb, "emb_gru.linear_in.0.weight"))
        x = _run_grus(x, self.erb_dec_emb_gru_0, self.erb_dec_emb_gru_1)
        x = torch.relu(self._grouped("erb_dec", x, "emb_gru.linear_out.0.weight"))
        x = x.unflatten(-1, (e3.shape[-1], -1)).permute(0, 3, 1, 2)
        x = self._skip(e3, 288) + x
        x = self._separable("erb_dec", x, "convt3.0.weight", 291)
        x = self._separable("erb_dec", self._skip(e2, 294) + x, "convt2.0.weight", 297, transposed=True)
        x = self._separable("erb_dec", self._skip(e1, 300) + x, "convt1.0.weight", 303, transposed=True)
        x = self._conv("erb_dec", self._skip(e0, 306) + x, "onnx::Conv_309", "onnx::Conv_310")
        return x[:, 0]

    def _taps(self, emb: torch.Tensor, c0: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self._grouped("df_dec", emb, "df_gru.linear_in.0.weight"))
        x = _run_grus(x, self.df_dec_df_gru_0, self.df_dec_df_gru_1)
        x = x + self._grouped("df_dec", emb, "df_skip.weight")
        paths = conv2d(pad(c0, (0, 0, 4, 0)), self._tensor("df_dec", "df_convp.1.weight"), groups=2)
        paths = torch.relu(self._conv("df_dec", paths, "onnx::Conv_268", "onnx::Conv_269", padding=0))
        x = torch.tanh(self._grouped("df_dec", x, "df_out.0.weight")).unflatten(-1, (TAP_BINS, -1))
        x = x + paths.permute(0, 2, 3, 1)
        # [n, hops, bins, order, 2], oldest first -> [n, hops, order, 2, bins], newest first
        return x.unflatten(-1, (TAP_ORDER, 2)).flip(3).permute(0, 1, 3, 4, 2)

    def _tensor(self, graph: str, name: str) -> torch.Tensor:
        return getattr(self, f"{graph}_{name}".replace(".", "_").replace(":", "_").replace("/", "_"))

    def _conv(
        self,
        graph: str,
        x: torch.Tensor,
        weight: str,
        bias: str | None = None,
        groups: int = 1,
        padding: int = 1,
    ) -> torch.Tensor:
        added = None if bias is None else self._tensor(graph, bias)
        return conv2d(x, self._tensor(graph, weight), added, padding=(0, padding), groups=groups)

    def _separable(
        self,
        graph: str,
        x: torch.Tensor,
        depthwise: str,
        pointwise: int,
        stride: int = 1,
        transposed: bool = False,
    ) -> torch.Tensor:
        """A depthwise convolution over frequency, a pointwise one with bias, and a rectifier."""
        weight = self._tensor(graph, depthwise)
        if transposed:
            sizes = {"stride": (1, 2), "padding": (0, 1), "output_padding": (0, 1)}
            x = conv_transpose2d(x, weight, groups=len(weight), **sizes)
        else:
            x = conv2d(x, weight, stride=(1, stride), padding=(0, 1), groups=len(weight))
        return torch.relu(
            self._conv(graph, x, f"onnx::Conv_{pointwise}", f"onnx::Conv_{pointwise + 1}", padding=0)
        )

    def _skip(self, x: torch.Tensor, weight: int) -> torch.Tensor:
        scale, bias = (self._tensor("erb_dec", f"onnx::Conv_{weight + at}") for at in range(2))
        return torch.relu(conv2d(x, scale, bias, groups=len(scale)))

    def _grouped(self, graph: str, x: torch.Tensor, name: str) -> torch.Tensor:
        weight = self._tensor(graph, name)
        return torch.einsum("btgi,gih->btgh", x.unflatten(-1, (len(weight), -1)), weight).flatten(2)

    def write(self, graphs: dict[str, onnx.ModelProto]) -> None:
        """Replaces the weights in `graphs`."""
        tensors = {graph: weight_tensors(model) for graph, model in graphs.items()}
        values = {place: getattr(self, key).detach().numpy() for key, place in self.names.items()}
        for graph, modules in GRUS.items():
            for module, names in modules.items():
                made = _onnx_weights(getattr(self, f"{graph}_{module}"))
                values |= {(graph, name): value for name, value in zip(names, made)}
        for (graph, name), value in values.items():
            tensor = tensors[graph][name]
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
        if self.is_gated:
            _add_gate(graphs, self.gate_bias.detach().numpy())


def _add_gate(graphs: dict[str, onnx.ModelProto], bias: np.ndarray) -> None:
    """Adds the output GATE [1, 1, hops, bins] to `erb_dec`, and its product with the taps to `df_dec`."""
    bands, taps = graphs["erb_dec"].graph, graphs["df_dec"].graph
    (last,) = (node for node in bands.node if "m" in node.output)
    hops = bands.output[0].type.tensor_type.shape.dim[2]
    shape = [1, 1, hops.dim_param or hops.dim_value, TAP_BINS]
    for name, value in (("bands", TAP_BANDS.astype(np.int64)), ("bias", bias[TAP_BANDS])):
        tensor = numpy_helper.from_array(value, f"{GATE}.{name}")
        bands.node.append(helper.make_node("Constant", [], [tensor.name], name=tensor.name, value=tensor))
    bands.node.extend(
        [
            helper.make_node("Gather", [last.input[0], f"{GATE}.bands"], [f"{GATE}.band"], f"{GATE}.band", axis=3),
            helper.make_node("Add", [f"{GATE}.band", f"{GATE}.bias"], [f"{GATE}.logit"], f"{GATE}.logit"),
            helper.make_node("Sigmoid", [f"{GATE}.logit"], [GATE], GATE),
        ]
    )
    bands.output.append(helper.make_tensor_value_info(GATE, TensorProto.FLOAT, shape))
    taps.input.append(helper.make_tensor_value_info(GATE, TensorProto.FLOAT, shape))
    (last,) = (node for node in taps.node if "coefs" in node.output)
    last.output[0] = "coefs.open"
    taps.node.extend(
        [
            helper.make_node("Transpose", [GATE], [f"{GATE}.bin"], f"{GATE}.bin", perm=[0, 2, 3, 1]),
            helper.make_node("Mul", ["coefs.open", f"{GATE}.bin"], ["coefs"], "coefs"),
        ]
    )


def _run_grus(x: torch.Tensor, *grus: nn.GRU) -> torch.Tensor:
    """GRUs one after the other over [n, hops, k]."""
    x = x.transpose(0, 1)
    for gru in grus:
        x = run_gru(gru, x)
    return x.transpose(0, 1)


@dataclass(frozen=True)
class DeepFilterFront(FrontEnd):
    """The window and hop of DeepFilterNet3 and its 32 rectangular bands."""

    @property
    def bands(self) -> int:
        return len(BANDS)

    @property
    def features(self) -> int:
        return len(BANDS) + 2 * TAP_BINS

    def band_matrix(self) -> np.ndarray:
        matrix = np.zeros((len(BANDS), self.bins), np.float32)
        for band, (first, width) in enumerate(zip(np.cumsum((0, *BANDS)), BANDS)):
            matrix[band, first : first + width] = 1.0
        return matrix

    def window_values(self) -> np.ndarray:
        """Vorbis power-complementary window."""
        rise = np.sin(np.pi * (np.arange(self.window) + 0.5) / self.window) ** 2
        return np.sin(0.5 * np.pi * rise).astype(np.float32)


class DeepFilterAnalysis(Analysis):
    """Waveform to spectrum and the features of DeepFilterNet3."""

    def features(self, spectrum: torch.Tensor) -> torch.Tensor:
        """[n, hops, bins] complex -> [n, hops, 32 + 2 x 96]: levels of the bands in dB minus their running mean,
        then real and imaginary parts of the low bins over the root of their running magnitude."""
        scaled = spectrum.cpu().numpy() * np.float32(2.0 / self.front.window**2 * self.front.hop)
        matrix = self.front.band_matrix()
        power = np.abs(scaled) ** 2 @ (matrix / matrix.sum(1, keepdims=True)).T
        level_db = 10 * np.log10(power + POWER_FLOOR)
        mean_db = _running_mean(level_db, np.linspace(*BAND_INITIAL_DB, len(BANDS)))
        low = scaled[..., :TAP_BINS]
        magnitude = _running_mean(np.abs(low), np.linspace(*UNIT_INITIAL, TAP_BINS))
        unit = low / np.sqrt(magnitude)
        parts = [(level_db - mean_db) / BAND_STEP_DB, unit.real, unit.imag]
        return torch.from_numpy(np.concatenate(parts, -1).astype(np.float32)).to(spectrum.device)


def _running_mean(values: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """Exponential mean over the hops of [n, hops, k], from `initial` [k] on."""
    before = np.broadcast_to(SMOOTHING * initial, (len(values), 1, len(initial)))
    return lfilter([1 - SMOOTHING], [1, -SMOOTHING], values, axis=1, zi=before)[0]
