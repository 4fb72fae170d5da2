"""Code as users write it, for `mypy --strict` and pyright: not run."""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import quietwire
from quietwire import notebook
from typing_extensions import assert_type


def stream(block: npt.NDArray[np.int16], blocks: list[npt.NDArray[np.float32]]) -> None:
    with quietwire.Denoiser(48_000, 2, level="medium") as denoiser:
        assert_type(denoiser, quietwire.Denoiser)
        assert_type(denoiser.process(block), npt.NDArray[np.int16])
        denoiser.attenuation_db = 12
        for output in denoiser.clean_blocks(blocks):
            print(output.shape)
    quietwire.Denoiser(48_000, level="max")  # type: ignore[arg-type]
    quietwire.Denoiser(48_000, 1, "base", "low")  # type: ignore[call-arg]
    denoiser.process([0.0])  # type: ignore[type-var]
    denoiser.latency = 3  # type: ignore[misc]


def recording(samples: npt.NDArray[np.float64]) -> None:
    assert_type(quietwire.clean_array(samples, 48_000), npt.NDArray[np.float64])
    assert_type(quietwire.read_audio("a.mp3", max_s=60), tuple[npt.NDArray[np.float32], int])
    _, telemetry = quietwire.clean_array(samples, 48_000, telemetry=True)
    assert_type(telemetry, npt.NDArray[np.void])
    report = quietwire.clean_file(Path("a.wav"), "b.wav", progress=lambda done, total: print(done, total))
    assert_type(report, dict[str, Any])
    html: str = notebook.compare(samples, 48_000, level="low").to_html()
    assert_type(notebook.gallery("recordings", "gallery.html"), notebook.Gallery)
    notebook.player(html, 48_000)  # type: ignore[arg-type]
