"""The exceptions of the package. All derive from `QuietwireError`.

`code` is the number that the Rust and C interfaces use for the same kind of error. It stays the same in
all later versions. Errors that exist in Python only have the code 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class QuietwireError(Exception):
    """Any error of this package. The text states what was expected and what was found."""

    code: ClassVar[int] = 0


class InvalidOptionError(QuietwireError, ValueError):
    """An option of a stream, an array or a file is out of range."""

    code = 1


class UnsupportedByModelError(QuietwireError, ValueError):
    """A model cannot do what an option asks for."""

    code = 2


class InvalidBlockError(QuietwireError, ValueError):
    """A block does not fit the stream: dtype, shape, rate, length, or samples that are not finite."""

    code = 3


class ModelReadError(QuietwireError, OSError):
    """A file of a model's folder cannot be read."""

    code = 4


class InvalidManifestError(QuietwireError, ValueError):
    """The `model.toml` of a model's folder is not valid."""

    code = 5


class ModelMismatchError(QuietwireError, ValueError):
    """A graph does not match its manifest."""

    code = 6


class EngineError(QuietwireError, RuntimeError):
    """The inference engine cannot run a graph."""

    code = 7


class InferenceError(QuietwireError, RuntimeError):
    """A model failed while a stream ran."""

    code = 8
    block: npt.NDArray[np.float32] | npt.NDArray[np.float64] | npt.NDArray[np.int16]
    """The complete output of the call, in which the failed hops are the delayed input."""


class UnknownModelError(QuietwireError, LookupError):
    """No model has the requested id."""

    code = 9


class ClosedError(QuietwireError, ValueError):
    """The stream is closed."""


class FileError(QuietwireError):
    """An input or output file cannot be used."""


class FileAccessError(FileError, OSError):
    """A file cannot be opened, read or written: `errno` and `filename` state the cause."""

    def __init__(self, *args: Any) -> None:
        OSError.__init__(self, *args)


class FileMissingError(FileAccessError, FileNotFoundError):
    """An input or the folder of an output does not exist."""


class InvalidAudioError(FileError, ValueError):
    """The input is no audio, is damaged, or has a format, rate or track that is not supported."""


class OutputError(FileError):
    """An output cannot have this name or format."""


class OutputExistsError(OutputError, FileExistsError):
    """An output exists and is not overwritten."""
