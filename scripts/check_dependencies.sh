#!/usr/bin/env bash
# Dependencies: licenses, sources, banned crates and advisories (rules: deny.toml).
# Public interface: the items of each published library must be those of its list in
# scripts/public_api/lists, and a version that is compatible with the last release keeps all items
# of that release.
#
#     scripts/check_dependencies.sh             checks
#     scripts/check_dependencies.sh --update    writes the lists after an intended change
#
# cargo-semver-checks has more rules, but takes 4 minutes of two cores to compile and as long to run.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
lists=scripts/public_api/lists
# Commit of the last release; the next release changes it.
released=34a8e69ef9c15cb028b83a6b5b88f626af3c943e
fail() { echo "check_dependencies: $*" >&2; exit 1; }

if ! cargo deny --version >/dev/null 2>&1; then
  CARGO_TARGET_DIR="$cache/tools" CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install -q --locked --debug cargo-deny
fi
cargo deny --workspace check licenses bans sources
# The database of advisories is a git repository that not every machine can reach.
if errors="$(cargo deny fetch db 2>&1)"; then
  cargo deny --workspace check --disable-fetch advisories
else
  echo "advisories: NOT checked, no access to the database: $(grep -m 1 fatal <<<"$errors")"
fi

CARGO_TARGET_DIR="$cache/tools" CARGO_INCREMENTAL=0 \
  cargo build -q --locked --manifest-path scripts/public_api/Cargo.toml
# rustdoc writes JSON only with a flag of a nightly compiler. RUSTC_BOOTSTRAP makes a stable one
# accept it. Set for all of cargo, it would compile the dependencies again.
cat >"$cache/rustdoc-json" <<'WRAPPER'
#!/bin/sh
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
WRAPPER
chmod +x "$cache/rustdoc-json"
mapfile -t crates < <(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys

for package in json.load(sys.stdin)["packages"]:
    if package["publish"] is None and any("lib" in target["kind"] for target in package["targets"]):
        print(package["name"], package["version"])
' | sort)
# The whole workspace: its dependencies are compiled with these features for the other steps. libquietwire is the C
# library; its name is that of the core, and it has no public items.
RUSTDOC="$cache/rustdoc-json" RUSTDOCFLAGS="-Zunstable-options --output-format json --cap-lints allow" \
  cargo doc -q --workspace --exclude libquietwire --all-features --lib --no-deps

compatible() { # VERSION VERSION: the same first number that is not 0
  local first=${1#0.} second=${2#0.}
  [ "${1%%.*}" = "${2%%.*}" ] && [ "${first%%.*}" = "${second%%.*}" ]
}
git cat-file -e "$released^{commit}" 2>/dev/null || fail "commit $released of the last release is missing: fetch all history"
old_version="$(git show "$released:Cargo.toml" | sed -n 's/^version = "\(.*\)"/\1/p' | head -n 1)"
changed=0
mkdir -p "$lists"
for entry in "${crates[@]}"; do
  read -r name version <<<"$entry"
  case "$name" in quietwire-testing | quietwire-workspace-hack) continue ;; esac
  "$cache/tools/debug/public_api" "$CARGO_TARGET_DIR/doc/${name//-/_}.json" >"$cache/$name.txt"
  [ -s "$cache/$name.txt" ] || fail "$name has no public items"
  if [ "${1:-}" = --update ]; then
    cp "$cache/$name.txt" "$lists/$name.txt"
  elif ! diff -u "$lists/$name.txt" "$cache/$name.txt"; then
    changed=1
  fi
  if compatible "$old_version" "$version" && git cat-file -e "$released:$lists/$name.txt" 2>/dev/null; then
    removed="$(comm -23 <(git show "$released:$lists/$name.txt" | sort) <(sort "$cache/$name.txt"))"
    [ -z "$removed" ] || fail "$name $version is compatible with $old_version but lacks:"$'\n'"$removed"
  fi
  echo "$name $version: $(wc -l <"$cache/$name.txt") public items"
done
((changed == 0)) || fail "the public interface changed. If that is intended: scripts/check_dependencies.sh --update"
