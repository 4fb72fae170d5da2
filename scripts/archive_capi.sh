#!/usr/bin/env bash
# Builds archives of libquietwire, librnnoise and the LADSPA plugins, and runs the examples of the first two
# where this machine can.
#
#     scripts/archive_capi.sh [--profile release|dev] [TARGET...]
#
# Targets: x86_64-unknown-linux-gnu (run here), aarch64-unknown-linux-gnu (run with qemu-user) and
# x86_64-pc-windows-gnu (run with wine, if there is one). Default: the first two. Needs the targets from
# `rustup target add`, and the packages gcc-aarch64-linux-gnu, gcc-mingw-w64-x86-64-posix and
# g++-mingw-w64-x86-64-posix. The archives are written to target/archives.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=release
if [ "${1:-}" = --profile ]; then
  profile="$2"
  shift 2
fi
targets=("$@")
((${#targets[@]})) || targets=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu)
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
archives="${CARGO_TARGET_DIR:-target}/archives"
mkdir -p "$archives"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
fail() { echo "archive_capi: $*" >&2; exit 1; }

runs() { # TARGET FOLDER PROGRAM ARGUMENTS... : runs a program of the target; 3 when this machine cannot
  local target=$1 folder=$2
  shift 2
  case "$target" in
  x86_64-unknown-linux-gnu) LD_LIBRARY_PATH="$folder/lib" "$@" ;;
  aarch64-unknown-linux-gnu) qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$folder/lib" "$@" ;;
  x86_64-pc-windows-gnu)
    command -v wine >/dev/null || return 3
    WINEDEBUG=-all WINEPATH="$folder/bin" wine "$@"
    ;;
  esac
}

for target in "${targets[@]}"; do
  folder="$work/quietwire-$version-$target"
  scripts/install_capi.sh --prefix "$folder" --profile "$profile" --target "$target"
  scripts/install_capi.sh --prefix "$folder" --profile "$profile" --target "$target" --library rnnoise
  scripts/install_capi.sh --prefix "$folder" --profile "$profile" --target "$target" --library ladspa
  case "$target" in
  *-windows-*) compiler=x86_64-w64-mingw32 suffix=.exe ;;
  *) compiler="${target/-unknown/}" suffix='' ;;
  esac
  pc() { PKG_CONFIG_PATH="$folder/lib/pkgconfig" pkg-config "$@"; }
  "$compiler-gcc" -O1 $(pc --cflags quietwire) examples/c/file_filter.c -o "$work/file_filter$suffix" $(pc --libs quietwire)
  "$compiler-gcc" -O1 $(pc --cflags rnnoise) bindings/rnnoise/tests/c/every_function.c \
    -o "$work/every_function$suffix" $(pc --libs rnnoise) -lm
  run='not run on this machine'
  if runs "$target" "$folder" "$work/file_filter$suffix" samples/quiet.wav "$work/$target.wav"; then
    runs "$target" "$folder" "$work/every_function$suffix"
    cmp -s <(head -c 44 samples/quiet.wav) <(head -c 44 "$work/$target.wav") || fail "$target: another length of output"
    run='examples run'
  elif [ $? -ne 3 ]; then
    fail "$target: file_filter failed"
  fi
  archive="$archives/quietwire-$version-$target.tar.gz"
  tar -C "$work" --sort=name --owner=0 --group=0 -czf "$archive" "quietwire-$version-$target"
  echo "$target: $run; $(du -h "$archive" | cut -f 1) archive"
  find "$folder" -type f \( -name '*.so*' -o -name '*.dll' -o -name '*.a' \) -printf '  %f %s bytes\n' | sort
done
