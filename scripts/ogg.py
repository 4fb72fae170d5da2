"""Packets of Ogg files (RFC 3533)."""

from __future__ import annotations


def ogg_packets(data: bytes) -> list[bytes]:
    """Packets of a file with one stream; the first two of an Opus file are its headers."""
    packets, at, begun = [], 0, b""
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            raise ValueError(f"no Ogg page at byte {at}, but {data[at : at + 4]!r}")
        sizes = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(sizes)
        for size in sizes:
            begun += data[at : at + size]
            at += size
            if size < 255:
                packets.append(begun)
                begun = b""
    return packets
