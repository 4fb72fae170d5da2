#!/usr/bin/env bash
# Fails when two builds of the workspace need different features of a dependency of the engine:
# cargo would then compile the engine, which takes minutes, once for each.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo tree --package tract-onnx --edges normal,build --format '{p}' --prefix none |
  awk '{ print $1, $2 }' | sort -u >"$work/engine"
features() { # of the engine's dependencies, for the given cargo arguments
  cargo tree --edges features,normal,build,dev --format '{p} {f}' --prefix none "$@" |
    grep -v ' feature "' | sed 's/ (\*)$//' | sort -u |
    awk 'NR == FNR { engine[$0]; next } ($1 " " $2) in engine' "$work/engine" -
}
features --workspace --all-features >"$work/all"
status=0
while read -r build; do
  # shellcheck disable=SC2086 # several arguments
  features $build >"$work/one"
  comm -23 "$work/one" "$work/all" >"$work/extra"
  if [ -s "$work/extra" ]; then
    printf 'cargo build %s needs these, the whole workspace needs others:\n' "$build" >&2
    while read -r package; do
      grep -h "^$package " "$work/extra" | sed 's/^/  here   /' >&2
      grep -h "^$package " "$work/all" | sed 's/^/  there  /' >&2
    done < <(awk '{ print $1, $2 }' "$work/extra" | sort -u)
    status=1
  fi
done <<'BUILDS'
--package quietwire-cli
--package quietwire-cli --features relay
--package quietwire-cli --no-default-features --features relay
--package quietwire --package quietwire-cli
--package quietwire
--package quietwire-file
--package quietwire-rtp
BUILDS
if [ "$status" != 0 ]; then
  echo "add the missing features to crates/quietwire-workspace-hack/Cargo.toml" >&2
fi
exit "$status"
