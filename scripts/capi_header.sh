#!/usr/bin/env bash
# Writes bindings/capi/include/quietwire.h with cbindgen, or checks that it is up to date.
#
#     scripts/capi_header.sh [--check]
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci"
version=0.29.4
header=bindings/capi/include/quietwire.h

if [ "$(cbindgen --version 2>/dev/null)" != "cbindgen $version" ]; then
  CARGO_TARGET_DIR="$cache/tools" CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install -q --locked --debug cbindgen --version "$version"
fi
new="$(mktemp)"
trap 'rm -f "$new"' EXIT
cbindgen -q --config bindings/capi/cbindgen.toml --crate quietwire-capi bindings/capi >"$new"
if [ "${1:-}" = --check ]; then
  diff -u "$header" "$new" || { echo "capi_header: run scripts/capi_header.sh" >&2; exit 1; }
else
  mkdir -p "$(dirname "$header")"
  cat "$new" >"$header"
fi
