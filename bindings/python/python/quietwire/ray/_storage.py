"""Files of a folder in any file system of fsspec, written at once or not at all."""

from __future__ import annotations

import json
import os
import posixpath
import tempfile
import uuid
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

# A folder of an output that holds the records of the runs. It is no audio.
STATE = ".quietwire"
# In these an upload replaces an object at once; a rename would be a copy.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "memory"})


class Folder:
    """A folder in a file system."""

    def __init__(self, address: str, storage_options: dict[str, Any] | None = None) -> None:
        self._fs, root = fsspec.core.url_to_fs(address, **(storage_options or {}))
        self._root = root.rstrip("/") or "/"
        # An absolute path, for workers in another folder.
        self.address = self._root if self.is_local else address

    @property
    def is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    def path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    def names(self) -> list[str]:
        """Names of all files at any depth, relative to the folder, sorted. Hidden files and folders are
        left out.
        """
        prefix = self._root if self._root.endswith("/") else self._root + "/"
        names = [str(path).removeprefix(prefix) for path in self._fs.find(self._root)]
        return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))

    def exists(self) -> bool:
        # A file system may list a folder from a cache that is older than this run.
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._root))

    def state_of(self, name: str) -> dict[str, Any] | None:
        """Size and version of a file. None if there is no such file."""
        try:
            info = self._fs.info(self.path(name))
        except FileNotFoundError:
            return None
        version = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "mtime") if key in info), "")
        return {"size": info["size"], "version": version}

    def download(self, name: str, local: str) -> None:
        self._fs.get_file(self.path(name), local)

    def temporary(self, suffix: str) -> str:
        """A path in the folder for a file that is not complete yet. Its parents exist."""
        path = self.path(f"{STATE}/part/{uuid.uuid4().hex}{suffix}")
        self._fs.makedirs(posixpath.dirname(path), exist_ok=True)
        return path

    def publish(self, local: str, name: str) -> None:
        """Gives the local file its name in the folder: readers find all of it or nothing."""
        target = self.path(name)
        self._fs.makedirs(posixpath.dirname(target), exist_ok=True)
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        if self.is_local:
            os.replace(local, target)
        elif protocols & OBJECT_STORES:
            self._fs.put_file(local, target)
        else:
            part = self.temporary("")
            self._fs.put_file(local, part)
            self._fs.mv(part, target)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """None if there is no such file, or it is damaged."""
        try:
            content = self._fs.cat_file(self.path(name))
            found = json.loads(content)
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write_json(self, name: str, content: object) -> None:
        self.write_text(name, json.dumps(content))

    def write_text(self, name: str, text: str) -> None:
        parent = os.path.dirname(self.temporary("")) if self.is_local else None
        descriptor, local = tempfile.mkstemp(dir=parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            self.publish(local, name)
        finally:
            if os.path.exists(local):
                os.remove(local)

    def remove(self, name: str) -> None:
        """Removes a file or a folder. No error if there is none."""
        try:
            self._fs.rm(self.path(name), recursive=True)
        except FileNotFoundError:
            pass
