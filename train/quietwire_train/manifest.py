"""Writes `model.toml`, the manifest of a model folder (docs/own-model.md lists its keys)."""

from __future__ import annotations

import hashlib
import json

NUMBERS_PER_LINE = 16


def _value(value: object) -> str:
    """One TOML value on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a TOML basic string has the escapes of JSON
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"no TOML form for {type(value).__name__}: {value!r}")


def _entry(key: str, value: object, width: int) -> str:
    """KEY = VALUE. A list that is longer than `width` characters is wrapped."""
    line = f"{key} = {_value(value)}"
    if len(line) <= width or not isinstance(value, (list, tuple)):
        return line + "\n"
    items = [_value(item) for item in value]
    step = NUMBERS_PER_LINE if all(isinstance(item, (int, float)) for item in value) else 1
    rows = [", ".join(items[at : at + step]) for at in range(0, len(items), step)]
    return f"{key} = [\n" + "".join(f"    {row},\n" for row in rows) + "]\n"


def _table(name: str, table: dict, width: int) -> str:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in table.items() if isinstance(value, dict)}
    text = f"\n[{name}]\n" if plain or not nested else ""
    text += "".join(_entry(key, value, width) for key, value in plain.items())
    return text + "".join(_table(f"{name}.{key}", value, width) for key, value in nested.items())


def to_toml(document: dict, width: int = 100) -> str:
    """`document` as TOML: plain values first, then tables in their order.

    A dict becomes a table, a list of dicts under the key `graph` an array of tables; any other
    dict inside a list becomes an inline table. Lists that need more than `width` characters are
    wrapped.
    """
    tables = {key for key, value in document.items() if key == "graph" or isinstance(value, dict)}
    text = "".join(_entry(key, value, width) for key, value in document.items() if key not in tables)
    for key, value in document.items():
        if key == "graph":
            for graph in value:
                text += "\n[[graph]]\n"
                text += "".join(_entry(name, item, width) for name, item in graph.items())
        elif key in tables:
            text += _table(key, value, width)
    return text.lstrip("\n")


def tensor(name: str, role: str, shape: list[int | str], **more: object) -> dict:
    """One entry of `inputs` or `outputs`; "N" in `shape` is the batch, "S" the hops."""
    return {"name": name, "role": role, "shape": shape, **more}


def graph(file: str, raw: bytes, inputs: list[dict], outputs: list[dict], **more: object) -> dict:
    """One entry of `graph` for the ONNX file with the content `raw`."""
    digest = hashlib.sha256(raw).hexdigest()
    return {"file": file, "sha256": digest, **more, "inputs": inputs, "outputs": outputs}
