"""Ogg Opus files with one stream (RFC 3533, RFC 7845); ffmpeg encodes."""

from __future__ import annotations

import struct
import subprocess


def opus_packets(*source: str, bitrate: str, data: bytes = b"") -> list[bytes]:
    """Opus packets of 20 ms, mono, of the audio that ffmpeg reads with the arguments `source`.

    `data` is the standard input of ffmpeg.
    """
    command = ["ffmpeg", "-v", "error", *source, "-ac", "1", "-ar", "48000"]
    command += ["-c:a", "libopus", "-b:a", bitrate, "-application", "voip", "-f", "ogg", "pipe:1"]
    file = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
    return _packets(file)[2:]  # without the two header packets


def _packets(data: bytes) -> list[bytes]:
    packets, at, partial = [], 0, b""
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            raise ValueError(f"expected an Ogg page at byte {at}, found {data[at : at + 4]!r}")
        sizes = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(sizes)
        for size in sizes:
            partial += data[at : at + size]
            at += size
            if size < 255:
                packets.append(partial)
                partial = b""
    return packets


def opus_file(packets: list[bytes], samples: int = 960) -> bytes:
    """An Ogg file of mono packets with `samples` samples each, at 48 kHz."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48000, 0, 0)
    pages = [_page(head, 0, 0, flags=2), _page(b"OpusTags" + bytes(8), 1, 0)]
    pages += [_page(packet, n + 2, (n + 1) * samples) for n, packet in enumerate(packets)]
    return b"".join(pages)


def _page(packet: bytes, number: int, samples: int, flags: int = 0) -> bytes:
    sizes = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, samples, 1, number, 0, len(sizes))
    crc = 0
    for byte in head + sizes + packet:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[crc >> 24 ^ byte]
    return head[:22] + struct.pack("<I", crc) + head[26:] + sizes + packet


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


_CRC = _crc_table()
