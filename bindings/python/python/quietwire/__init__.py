"""Real-time noise suppression for live voice and recordings.

`clean_file` cleans an audio file, `clean_array` a recording in memory, and `Denoiser` a live stream.
`read_audio` reads a file of any of the formats into memory.
Samples are numpy arrays: float32 in [-1, 1] or int16; shape (n,) for one channel, (n, c) for several.

The models are in the package: nothing is downloaded, and no key is needed.
"""

from ._denoiser import Denoiser
from ._native import VERSION as __version__
from ._native import Model, clean_array, clean_file, read_audio, telemetry_dtype
from .errors import (
    ClosedError,
    EngineError,
    FileAccessError,
    FileError,
    FileMissingError,
    InferenceError,
    InvalidAudioError,
    InvalidBlockError,
    InvalidManifestError,
    InvalidOptionError,
    ModelMismatchError,
    ModelReadError,
    OutputError,
    OutputExistsError,
    QuietwireError,
    UnknownModelError,
    UnsupportedByModelError,
)

__all__ = [
    "ClosedError",
    "Denoiser",
    "EngineError",
    "FileAccessError",
    "FileError",
    "FileMissingError",
    "InferenceError",
    "InvalidAudioError",
    "InvalidBlockError",
    "InvalidManifestError",
    "InvalidOptionError",
    "Model",
    "ModelMismatchError",
    "ModelReadError",
    "OutputError",
    "OutputExistsError",
    "QuietwireError",
    "UnknownModelError",
    "UnsupportedByModelError",
    "__version__",
    "clean_array",
    "clean_file",
    "read_audio",
    "telemetry_dtype",
]
