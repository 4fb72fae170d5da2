"""Runs the filter-chain files of bindings/ladspa/pipewire on a headless PipeWire, and checks what comes out.

    python pipewire_filter_chain.py FOLDER      FOLDER has libquietwire_ladspa.so

The microphone is the monitor of a null sink into which a clip is played, and the loudspeaker is another null
sink. Everything runs in a private runtime folder: no device and no sound server of the user is touched.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "crates/quietwire-live/tests/servers"))

from live_servers import (  # noqa: E402
    RATE,
    Server,
    impulses,
    noise_floor,
    output_of,
    read_wav,
    two_channel_recorder,
    wait_for,
    write_wav,
)

MICROPHONE = "quietwire_microphone"
LOUDSPEAKER = "quietwire_loudspeaker"
# Of the plugin at 48 kHz, frames.
LATENCY = 960
# The first version of PipeWire whose filter chain passes on the latency of its plugins.
REPORTS_LATENCY = (1, 6, 0)


def play(server: Server, sink: str, clip: np.ndarray, nodes: tuple[str, str], folder: Path) -> np.ndarray:
    """Plays a clip to a sink. Returns what two nodes gave meanwhile, [2, frames], aligned to the sample."""
    played, recorded = folder / "played.wav", folder / "recorded.wav"
    # The recording ends with the player: silence for what is still on its way.
    write_wav(played, np.concatenate([clip, np.zeros(RATE)]))
    with two_channel_recorder(server, nodes, recorded):
        command = ["paplay", f"--device={sink}", str(played)]
        subprocess.run(command, env=server.env, check=True, timeout=120)
    return read_wav(recorded).T


def node(server: Server, name: str) -> dict:
    """A node of the graph, with its parameters."""
    nodes = [entry for entry in json.loads(output_of(server, "pw-dump")) if entry["type"].endswith(":Node")]
    return next(entry for entry in nodes if entry["info"]["props"].get("node.name") == name)


def controls(server: Server, name: str) -> dict[str, float]:
    """Values of the controls of a filter chain, by name."""
    found = {}
    for props in node(server, name)["info"]["params"].get("Props", []):
        params = props.get("params", [])
        found.update(zip(params[::2], params[1::2], strict=True))
    return found


def version_of(server: Server) -> tuple[int, ...]:
    """Of PipeWire."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", output_of(server, "pipewire", "--version"))
    assert found, "a version with three numbers"
    return tuple(int(number) for number in found.groups())


def set_control(server: Server, name: str, control: str, value: float) -> None:
    identity = str(node(server, name)["id"])
    pod = f'{{ params = [ "quietwire:{control}" {value} ] }}'
    output_of(server, "pw-cli", "set-param", identity, "Props", pod)
    wait_for(lambda: controls(server, name)[f"quietwire:{control}"] == value, f"{control} is {value}")


def check_noise(server: Server, folder: Path) -> None:
    """The noise floor falls in the microphone and in what the loudspeaker plays."""
    clip = read_wav(ROOT / "samples/office-fan.wav")[:, 0]
    for sink, nodes in (
        ("mic_sink", ("mic_sink", MICROPHONE)),
        (LOUDSPEAKER, (LOUDSPEAKER, "spk_sink")),
    ):
        # The recorder sometimes gets no sound of a node.
        for _ in range(3):
            raw, clean = play(server, sink, clip, nodes, folder)
            if min(np.abs(raw).max(), np.abs(clean).max()) > 0.05:
                break
            print(f"{nodes[1]}: a recording without sound, peaks {np.abs(raw).max():.3f}, {np.abs(clean).max():.3f}")
        assert len(clean) > RATE and np.abs(clean).max() > 0.05, "no sound arrived"
        before, after = noise_floor(raw), noise_floor(clean)
        print(f"{nodes[1]}: noise floor {before:.1f} -> {after:.1f} dBFS")
        assert after < before - 15


def check_latency(server: Server, folder: Path) -> None:
    """The controls are those of the plugin, and impulses arrive after its latency."""
    input_node = f"{MICROPHONE}.input"
    found = controls(server, input_node)
    expected = {"Attenuation (dB)": 40.0, "Level": 0.0, "On": 1.0, "Model": 0.0}
    assert {key: found.get(f"quietwire:{key}") for key in expected} == expected, found
    set_control(server, input_node, "On", 0.0)
    clip = np.zeros(6 * RATE)
    clip[RATE::RATE] = 0.9
    delays: list[int] = []
    # A busy machine loses some impulses.
    for _ in range(10):
        raw, clean = play(server, "mic_sink", clip, ("mic_sink", MICROPHONE), folder)
        if raw.max() > 0.1 and clean.max() > 0.1:
            before, after = impulses(raw), impulses(clean)
            later = [after[(after > at) & (after < at + RATE // 4)] for at in before]
            delays += [int(found[0] - at) for at, found in zip(before, later, strict=True) if found.size]
        if len(delays) >= 4:
            break
    print(f"{MICROPHONE}: delays of impulses {delays}, the plugin has {LATENCY}")
    assert np.median(delays) == LATENCY
    version = version_of(server)
    text = ".".join(map(str, version))
    if version < REPORTS_LATENCY:
        print(f"PipeWire {text} does not read the latency of plugins")
        return
    for name in (input_node, MICROPHONE):
        latencies = node(server, name)["info"]["params"]["ProcessLatency"]
        assert [latency["rate"] for latency in latencies] == [LATENCY], latencies
    print(f"PipeWire {text} reports the latency of the plugin")


def main() -> int:
    library = Path(sys.argv[1]).resolve()
    work = Path(tempfile.mkdtemp(prefix="qw-"))
    runtime = work / "run"
    runtime.mkdir()
    server = Server("pipewire", runtime)
    server.env["LADSPA_PATH"] = str(library)
    configuration = runtime / "home/.config/pipewire/pipewire.conf.d"
    for file in (ROOT / "bindings/ladspa/pipewire").glob("*.conf"):
        shutil.copy(file, configuration)
    try:
        server.start()
        wait_for(lambda: MICROPHONE in server.names("sources"), "the virtual microphone")
        wait_for(lambda: LOUDSPEAKER in server.names("sinks"), "the virtual loudspeaker")
        check_noise(server, work)
        check_latency(server, work)
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
