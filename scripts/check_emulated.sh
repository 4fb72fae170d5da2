#!/usr/bin/env bash
# Runs the tests of the kernels on emulated processors: x86-64 with fewer instruction sets, and aarch64 without
# and with the dot product of NEON.
set -euo pipefail
cd "$(dirname "$0")/.."
filters=(feature:: filterbank:: fast_math:: engine:: golden)
if [ "$(uname -m)" != x86_64 ]; then
  echo "check_emulated: only on x86-64; the tests of this processor are those of the step tests"
  exit 0
fi

# Runs a test command, and checks that the kernels that were compared are these.
check() { # PROCESSOR KERNELS COMMAND...
  local output
  output="$("${@:3}" -- --nocapture "${filters[@]}" 2>&1)" || { echo "$output" && return 1; }
  if ! grep -qF "[$2]" <<<"$output"; then
    echo "$output"
    echo "check_emulated: $1: expected the kernels $2" >&2
    return 1
  fi
  echo "$1: kernels $2, $(grep -c '^test result: ok' <<<"$output") test programs"
}

for pair in "qemu64:Portable" "Haswell:Pairs, Portable"; do
  export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64 -cpu ${pair%%:*}"
  check "${pair%%:*}" "${pair#*:}" cargo test -q --workspace --all-features -p quietwire --lib
done

target=aarch64-unknown-linux-gnu
cargo=(cargo)
if ! rustup target list --installed 2>/dev/null | grep -qx "$target" && ! rustup target add "$target"; then
  # Debian's compiler compiles the standard library too: packages rustc-web, cargo-web, rust-web-src.
  export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
  cargo=(/usr/bin/cargo -Zbuild-std=std,panic_abort,test)
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
for pair in "cortex-a72:Portable" "neoverse-n1:Quads(NeonDotProduct), Portable"; do
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu ${pair%%:*}"
  check "${pair%%:*}" "${pair#*:}" "${cargo[@]}" test -q -p quietwire --lib --no-default-features \
    --features embedded-model --target "$target"
done
