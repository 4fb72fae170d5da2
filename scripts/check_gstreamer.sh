#!/usr/bin/env bash
# The GStreamer plugin: format, lints, licenses, tests, text of gst-inspect-1.0, pipelines of gst-launch-1.0, and the
# commands of docs/gstreamer.md.
#
#     scripts/check_gstreamer.sh [PYTHON]
#
# PYTHON has numpy and soundfile.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${1:-python3}"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci"
# A directory of its own: the crate is no member of the workspace and has its own features.
export CARGO_TARGET_DIR="${GSTREAMER_TARGET_DIR:-$cache/gstreamer}"
manifest=bindings/gstreamer/Cargo.toml
fail() { echo "check_gstreamer: $*" >&2; exit 1; }

cargo fmt --manifest-path "$manifest" --check
cargo clippy -q --manifest-path "$manifest" --locked --all-targets -- -D warnings
cargo test -q --manifest-path "$manifest" --locked
cargo build -q --manifest-path "$manifest" --locked
if cargo deny --version >/dev/null 2>&1; then
  deny=(cargo deny --manifest-path "$manifest" --config "$PWD/deny.toml")
  # An entry of deny.toml that only the main workspace needs is no error here.
  "${deny[@]}" check --allow license-not-encountered licenses bans sources
  # As in check_dependencies.sh.
  if cargo deny fetch db >/dev/null 2>&1; then
    "${deny[@]}" check --disable-fetch advisories
  else
    echo "advisories: NOT checked, no access to the database"
  fi
else
  echo "licenses and advisories: NOT checked, cargo-deny is missing; scripts/check_dependencies.sh installs it"
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# As the guide installs it, in a folder of this run.
export XDG_DATA_HOME="$work/data" GST_REGISTRY="$work/registry.bin"
install -Dm644 "$CARGO_TARGET_DIR/debug/libgstquietwire.so" "$XDG_DATA_HOME/gstreamer-1.0/plugins/libgstquietwire.so"

gst-inspect-1.0 quietwiredenoise >"$work/inspect.txt"
for text in 'Filter/Effect/Audio' 'MIT/X11' 'S16LE' 'non-interleaved' '\[ 8000, 192000 \]' '\[ 1, 8 \]' \
  'attenuation-db .*dB' 'level .*Named' 'latency .* ns' 'snr-db .* dB' 'speech .*0 to 1' 'changeable in NULL, READY, PAUSED or PLAYING'; do
  grep -Eq "$text" "$work/inspect.txt" || fail "gst-inspect-1.0 quietwiredenoise lacks '$text'"
done

"$python" bindings/gstreamer/tests/gst_launch.py
