#!/usr/bin/env bash
# Checks that the core (`-p quietwire`) compiles for other targets, and that all crates keep to the
# oldest supported Rust, `rust-version` in Cargo.toml.
#
# A target that rustup has installed is checked with rustup's toolchain. For all others Debian's
# compiler (packages rustc-web, cargo-web, rust-web-src) compiles the standard library as well.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci"
targets=(aarch64-unknown-linux-gnu wasm32-unknown-unknown x86_64-pc-windows-gnu)
fail() { echo "check_portability: $*" >&2; exit 1; }

oldest="$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys

packages = json.load(sys.stdin)["packages"]
print(next(package["rust_version"] for package in packages if package["name"] == "quietwire"))
')"
echo "oldest supported Rust: $oldest"
# Dependencies, except those that only tests need, must not declare a newer Rust.
cargo metadata --all-features --format-version 1 | python3 -c '
import json, sys

def number(version):
    return tuple(int(part) for part in version.split(".")[:2])

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
left = [id for id in metadata["workspace_members"] if packages[id]["publish"] is None]
needed = set(left)
while left:
    for dependency in nodes[left.pop()]["deps"]:
        kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
        if kinds != {"dev"} and dependency["pkg"] not in needed:
            needed.add(dependency["pkg"])
            left.append(dependency["pkg"])
newer = 0
for package in (packages[id] for id in needed):
    if package["rust_version"] and number(package["rust_version"]) > number(sys.argv[1]):
        print("{name} {version} needs Rust {rust_version}".format(**package), file=sys.stderr)
        newer += 1
sys.exit(f"{newer} dependencies need a newer Rust than {sys.argv[1]}" if newer else 0)
' "$oldest"
# Of the lints, clippy::incompatible_msrv compares each function of the standard library with
# `rust-version`. The same command as in the step `lints` of .ci/run: cargo keeps its result.
cargo clippy -q --workspace --all-features --all-targets -- -D warnings
if rustup toolchain list 2>/dev/null | grep -q "^$oldest"; then
  CARGO_TARGET_DIR="$cache/portability" cargo "+$oldest" check -q --package quietwire
  echo "oldest supported Rust: clippy, the core compiled with Rust $oldest"
else
  echo "oldest supported Rust: clippy only; Rust $oldest is not installed"
fi

# Randomness in a web page comes from the page: the engine has a feature for that.
arguments() { # TARGET
  case "$1" in
  wasm32-unknown-unknown) echo "--features tract-onnx/getrandom-js" ;;
  esac
}
packages() { # PACKAGE... : installs them where apt can
  if ! [ -e /etc/debian_version ] || ((EUID != 0)); then
    fail "install these Debian packages, or the targets with rustup: $*"
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

export CARGO_TARGET_DIR="$cache/portability" CARGO_INCREMENTAL=0
# The engine has parts in assembly.
if [ "$(uname -s)" = Linux ]; then
  command -v aarch64-linux-gnu-gcc >/dev/null || packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross
  command -v x86_64-w64-mingw32-gcc >/dev/null || packages gcc-mingw-w64-x86-64-posix
fi
installed="$(rustup target list --installed 2>/dev/null || true)"
for target in "${targets[@]}"; do
  read -ra extra <<<"$(arguments "$target")"
  if grep -qx "$target" <<<"$installed"; then
    cargo check -q --package quietwire --target "$target" "${extra[@]}"
    compiler="$(rustc --version)"
  else
    if ! [ -x /usr/bin/cargo ] || ! [ -e /usr/lib/rustlib/src/rust/library/Cargo.lock ]; then
      packages rustc-web cargo-web rust-web-src
    fi
    # RUSTC_BOOTSTRAP permits -Zbuild-std with a stable compiler.
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo check -q -Zbuild-std=std,panic_abort \
      --package quietwire --target "$target" "${extra[@]}"
    compiler="$(/usr/bin/rustc --version)"
  fi
  echo "$target: $compiler"
done
