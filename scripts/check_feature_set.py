"""Fails when two builds of the workspace compile the engine, or a dependency of it, with other features.

    python scripts/check_feature_set.py

Cargo would then compile the engine, which takes minutes, once for each. The units to compile come from
`cargo build --unit-graph`, which needs RUSTC_BOOTSTRAP with a stable cargo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "tract-onnx"
ALL = ["test", "--workspace", "--all-features"]
# What users and contributors build: README, docs/command-line.md, docs/sfu.md, docs/c-library.md, docs/ladspa.md, CONTRIBUTING.md.
BUILDS = [
    ["build", "--package", "quietwire-cli"],
    ["build", "--package", "quietwire-cli", "--features", "relay"],
    ["build", "--package", "quietwire-cli", "--features", "live"],
    ["build", "--package", "quietwire-cli", "--no-default-features", "--features", "relay"],
    ["test"],
    ["test", "--package", "quietwire"],
    ["test", "--package", "quietwire-file"],
    ["test", "--package", "quietwire-live"],
    ["test", "--package", "quietwire-relay"],
    ["test", "--package", "quietwire-rtp"],
    ["test", "--package", "quietwire-capi"],
    ["build", "--package", "libquietwire"],
    ["build", "--package", "quietwire-rnnoise"],
    ["build", "--package", "quietwire-ladspa"],
    ["test", "--package", "quietwire-ladspa"],
]


def engine_units(arguments: list[str]) -> set[tuple[str, str, tuple[str, ...], str]]:
    """Package, kind, features and optimization of each unit that the engine depends on, itself included."""
    command, *rest = arguments
    output = subprocess.run(
        ["cargo", command, *(["--no-run"] if command == "test" else []), *rest]
        + ["--unit-graph", "-Zunstable-options"],
        cwd=ROOT,
        env={**os.environ, "RUSTC_BOOTSTRAP": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    units = json.loads(output)["units"]

    left = [at for at, unit in enumerate(units) if f"#{ENGINE}@" in unit["pkg_id"]]
    # Builds of the bindings and of `quietwire-live` alone are without the engine.
    assert left or arguments != ALL, f"no unit of {ENGINE} in: cargo {' '.join(arguments)}"
    found: set[int] = set()
    while left:
        at = left.pop()
        if at not in found:
            found.add(at)
            left += [dependency["index"] for dependency in units[at]["dependencies"]]
    return {
        (
            units[at]["pkg_id"],
            f"{units[at]['mode']} {'+'.join(units[at]['target']['kind'])}",
            tuple(units[at]["features"]),
            # Without --target, the profile alone tells units of the host from those of the target.
            units[at]["profile"]["opt_level"],
        )
        for at in found
    }


def main() -> int:
    everything = engine_units(ALL)
    failed = False
    for build in BUILDS:
        for package, kind, features, level in sorted(engine_units(build) - everything):
            failed = True
            others = [unit[2] for unit in everything if (unit[0], unit[1], unit[3]) == (package, kind, level)]
            print(
                f"cargo {' '.join(build)}: {package.rsplit('#')[-1]} ({kind}, opt-level {level}) needs features "
                f"{', '.join(features) or 'none'}; the complete workspace needs {others}",
                file=sys.stderr,
            )
    if failed:
        print("add the missing features to crates/quietwire-workspace-hack/Cargo.toml", file=sys.stderr)
    else:
        print(f"{len(BUILDS)} builds share {len(everything)} units of the engine and its dependencies")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
