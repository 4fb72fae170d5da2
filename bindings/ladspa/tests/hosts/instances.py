"""Loads the shared library as a host does, and measures how long an instance takes and how much memory it has.

    python instances.py libquietwire_ladspa.so

Prints milliseconds. Other processes make the times longer, so the median of 50 instances is given, and for the
first instance, which loads the models, the processor time.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

RATES_HZ = (8_000, 11_025, 16_000, 22_050, 44_100, 47_999, 48_000, 96_000, 192_000)


class Descriptor(ctypes.Structure):
    """Of LADSPA 1.1. Functions that are not called here are plain pointers."""

    _fields_ = [
        ("unique_id", ctypes.c_ulong),
        ("label", ctypes.c_char_p),
        ("properties", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("maker", ctypes.c_char_p),
        ("copyright", ctypes.c_char_p),
        ("port_count", ctypes.c_ulong),
        ("port_descriptors", ctypes.c_void_p),
        ("port_names", ctypes.c_void_p),
        ("port_range_hints", ctypes.c_void_p),
        ("implementation_data", ctypes.c_void_p),
        ("instantiate", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong)),
        ("connect_port", ctypes.c_void_p),
        ("activate", ctypes.c_void_p),
        ("run", ctypes.c_void_p),
        ("run_adding", ctypes.c_void_p),
        ("set_run_adding_gain", ctypes.c_void_p),
        ("deactivate", ctypes.c_void_p),
        ("cleanup", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]


def elapsed_ms(clock: Callable[[], float], call: Callable[[], object]) -> float:
    start = clock()
    call()
    return 1e3 * (clock() - start)


def resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def main() -> int:
    library = ctypes.CDLL(sys.argv[1])
    library.ladspa_descriptor.restype = ctypes.POINTER(Descriptor)
    library.ladspa_descriptor.argtypes = [ctypes.c_ulong]
    plugins = [library.ladspa_descriptor(index) for index in range(2)]
    assert not library.ladspa_descriptor(2)

    def instance(plugin, rate_hz: int) -> int:
        handle = plugin.contents.instantiate(ctypes.cast(plugin, ctypes.c_void_p), rate_hz)
        assert handle, rate_hz
        return handle

    before_kb = resident_kb()
    first_ms = elapsed_ms(time.process_time, lambda: instance(plugins[0], 48_000))
    print(f"first instance: {first_ms:.1f} ms of processor time, {resident_kb() - before_kb} KB")
    for plugin in plugins:
        for rate_hz in RATES_HZ:
            times_ms = []
            for _ in range(50):
                handles: list[int] = []
                made = elapsed_ms(time.perf_counter, lambda: handles.append(instance(plugin, rate_hz)))
                times_ms.append(made)
                plugin.contents.cleanup(handles[0])
            label = plugin.contents.label.decode()
            print(f"{label} at {rate_hz} Hz: {sorted(times_ms)[25]:.2f} ms")
    before_kb = resident_kb()
    handles = [instance(plugins[0], 48_000) for _ in range(100)]
    print(f"{len(handles)} instances: {resident_kb() - before_kb} KB")
    for handle in handles:
        plugins[0].contents.cleanup(handle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
