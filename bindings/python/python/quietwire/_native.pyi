"""Types of the native module. The docstrings are those of the module itself."""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar, final, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Self, disjoint_base

__all__ = ["Denoiser", "Model", "VERSION", "clean_array", "clean_file", "level_db", "read_audio", "telemetry_dtype"]

VERSION: str

_Level: TypeAlias = Literal["low", "medium", "high"]
_ChannelMode: TypeAlias = Literal["independent", "linked"]
_Path: TypeAlias = str | os.PathLike[str]
_Block: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.int16]
_BlockT = TypeVar("_BlockT", npt.NDArray[np.float32], npt.NDArray[np.int16])
_SamplesT = TypeVar("_SamplesT", npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.int16])

def level_db(level: _Level) -> float: ...
def telemetry_dtype() -> np.dtype[np.void]: ...
@final
class Model:
    @staticmethod
    def embedded(id: str = "base") -> Model: ...
    @staticmethod
    def from_folder(folder: _Path) -> Model: ...
    @staticmethod
    def embedded_ids() -> list[str]: ...
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def license(self) -> str: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def hop_frames(self) -> int: ...

@disjoint_base
class Denoiser:
    def __new__(
        cls,
        rate_hz: int,
        channels: int = 1,
        model: Model | _Path | None = None,
        *,
        level: _Level | None = None,
        attenuation_db: float | None = None,
        channel_mode: _ChannelMode = "independent",
        channels_first: bool = False,
        bypass: bool = False,
        hop_aligned: bool = False,
        telemetry_hops: int = 1000,
        repair_non_finite: bool = False,
    ) -> Self: ...
    def process(self, block: _BlockT, *, rate_hz: int | None = None) -> _BlockT: ...
    def flush(self) -> _Block: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def telemetry(self) -> npt.NDArray[np.void]: ...
    def stats(self) -> dict[str, int]: ...
    @property
    def latency(self) -> int: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def channels_first(self) -> bool: ...
    @property
    def hop_frames(self) -> int: ...
    @property
    def model(self) -> Model: ...
    @property
    def attenuation_db(self) -> float: ...
    @attenuation_db.setter
    def attenuation_db(self, value: float) -> None: ...
    def set_level(self, level: _Level) -> None: ...
    @property
    def bypass(self) -> bool: ...
    @bypass.setter
    def bypass(self, value: bool) -> None: ...

@overload
def clean_array(
    samples: _SamplesT,
    rate_hz: int,
    model: Model | _Path | None = None,
    *,
    level: _Level | None = None,
    attenuation_db: float | None = None,
    channel_mode: _ChannelMode = "independent",
    channels_first: bool = False,
    telemetry: Literal[False] = False,
    repair_non_finite: bool = False,
) -> _SamplesT: ...
@overload
def clean_array(
    samples: _SamplesT,
    rate_hz: int,
    model: Model | _Path | None = None,
    *,
    level: _Level | None = None,
    attenuation_db: float | None = None,
    channel_mode: _ChannelMode = "independent",
    channels_first: bool = False,
    telemetry: Literal[True],
    repair_non_finite: bool = False,
) -> tuple[_SamplesT, npt.NDArray[np.void]]: ...
def clean_file(
    source: _Path,
    destination: _Path,
    model: Model | _Path | None = None,
    *,
    level: _Level | None = None,
    attenuation_db: float | None = None,
    channel_mode: _ChannelMode = "independent",
    format: Literal["auto", "wav", "flac"] = "auto",
    overwrite: bool = False,
    strip_metadata: bool = False,
    track: int | None = None,
    via_ffmpeg: bool = False,
    residual: _Path | None = None,
    report: _Path | None = None,
    spectrogram: _Path | None = None,
    telemetry: _Path | None = None,
    progress: Callable[[int, int | None], object] | None = None,
) -> dict[str, Any]: ...
def read_audio(
    source: _Path,
    *,
    max_s: float | None = None,
    track: int | None = None,
    via_ffmpeg: bool = False,
) -> tuple[npt.NDArray[np.float32], int]: ...
