#!/usr/bin/env bash
# Runs each fuzz target for a short time with the address sanitizer.
#
#     scripts/fuzz_smoke.sh [TARGET...]
#
# SECONDS_EACH sets the time for each target, 30 s by default. Inputs that reached new code are kept
# beside the build and are used again in the next run.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci"
# A directory of its own: the sanitizer needs its own build of every dependency.
target_dir="$cache/fuzz"
seconds="${SECONDS_EACH:-30}"

if ! cargo fuzz --version >/dev/null 2>&1; then
  CARGO_TARGET_DIR="$cache/tools" CARGO_PROFILE_DEV_DEBUG=0 cargo install -q --locked --debug cargo-fuzz
fi
# cargo-fuzz needs flags of a nightly compiler. RUSTC_BOOTSTRAP makes a stable compiler accept them,
# and rustup's stable toolchain has the library of the sanitizer.
export RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(cargo fuzz list)
((${#targets[@]})) || { echo "fuzz_smoke: no fuzz targets" >&2; exit 1; }
for target in "${targets[@]}"; do
  corpus="$target_dir/corpus/$target"
  mkdir -p "$corpus"
  printf 'fuzz %s: ' "$target"
  cargo fuzz run "$target" --dev --sanitizer address --target-dir "$target_dir" \
    "$corpus" "fuzz/seeds/$target" -- -max_total_time="$seconds" -max_len=20000 -verbosity=0 -print_final_stats=1
done
