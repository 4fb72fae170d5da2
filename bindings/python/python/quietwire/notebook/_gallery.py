"""One page with the recordings of a folder before and after noise suppression."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import quietwire
from quietwire._formats import AUDIO_EXTENSIONS

from ._comparison import SCRIPT, STYLE, compare_file, text

if TYPE_CHECKING:
    from quietwire._native import _ChannelMode, _Level, _Path

PAGE_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; overflow-wrap: anywhere; }
p.failed { color: #a00000; }
@media (prefers-color-scheme: dark) { body { background: #16161c; color: #e8e8ee; } p.failed { color: #ff9090; } }"""


@dataclass
class Gallery:
    """What `gallery` wrote."""

    recordings: list[str] = field(default_factory=list)
    """Names relative to the folder."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Name and error of each file that could not be cleaned. The page lists them too."""
    size: int = 0
    """Length of the page, bytes."""


def gallery(
    folder: _Path,
    page: _Path,
    model: quietwire.Model | _Path | None = None,
    *,
    level: _Level | None = None,
    attenuation_db: float | None = None,
    channel_mode: _ChannelMode = "independent",
    max_s: float = 15.0,
    title: str | None = None,
    picture: bool | None = None,
    progress: Callable[[str], object] | None = None,
) -> Gallery:
    """Writes one HTML page with players and spectrograms of every recording of a folder, at any depth.

    The page needs no other file and no network. A recording of 15 s at 48 kHz with one channel takes 4 MB.

    Args:
        folder: folder of recordings. Hidden files and folders are left out.
        page: file to write; an existing one is replaced when the new one is complete.
        model, level, attenuation_db, channel_mode: as `quietwire.clean_file`.
        max_s: seconds of each recording, from its start.
        title: heading of the page. Default: the name of the folder.
        picture: whether the page has spectrograms. Default: if matplotlib is installed.
        progress: called with the name of each recording before it is cleaned.

    Raises:
        FileMissingError: there is no such folder.
        InvalidAudioError: the folder has no recording.
        InvalidOptionError, UnknownModelError: as `quietwire.clean_file`.

    A file that cannot be cleaned is a failure in the result; the others are in the page.
    """
    if not os.path.isdir(folder):
        raise quietwire.FileMissingError(2, "expected a folder of recordings", os.fspath(folder))
    # Wrong options raise here and not once for each file.
    shared = quietwire.Denoiser(
        48_000, 1, model, level=level, attenuation_db=attenuation_db, channel_mode=channel_mode
    )
    names = sorted(_names(os.fspath(folder)))
    if not names:
        raise quietwire.InvalidAudioError(f"expected recordings in {os.fspath(folder)}, found none")
    result = Gallery()
    heading = text(title or os.path.basename(os.path.abspath(folder)))
    target = os.path.abspath(page)
    part = f"{target}.{uuid.uuid4().hex}.part"
    try:
        # One recording at a time: a page of many is larger than memory should be.
        with open(part, "x", encoding="utf-8") as file:
            file.write(
                f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{heading}</title>\n'
                '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
                f"<style>\n{PAGE_STYLE}\n{STYLE}\n</style>\n<h1>{heading}</h1>\n"
                f"<p>Before and after noise suppression by quietwire {text(quietwire.__version__)}, model "
                f"{text(shared.model.id)} {text(shared.model.version)}, at most {shared.attenuation_db:g} dB. "
                f"The first {max_s:g} s of each recording.</p>\n"
            )
            for name in names:
                if progress is not None:
                    progress(name)
                file.write(f"<h2>{text(name)}</h2>\n")
                try:
                    comparison = compare_file(
                        os.path.join(folder, name),
                        shared.model,
                        attenuation_db=shared.attenuation_db,
                        channel_mode=channel_mode,
                        max_s=max_s,
                    )
                except quietwire.FileError as error:
                    result.failures.append((name, str(error)))
                    file.write(f'<p class="failed">{text(error)}</p>\n')
                else:
                    result.recordings.append(name)
                    file.write(comparison.to_html(picture=picture, style=False) + "\n")
            file.write(f"<script>\n{SCRIPT}\n</script>\n</html>\n")
        result.size = os.path.getsize(part)
        os.replace(part, target)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return result


def _names(folder: str) -> list[str]:
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS:
                names.append(os.path.relpath(os.path.join(parent, name), folder))
    return names
