#!/usr/bin/env bash
# Packages every crate that is not `publish = false`, checks the contents of the packages, compiles the
# crates and their tests from the packages alone, and installs the program from its package.
#
# `cargo package` would verify each crate with the dependency features of that crate alone, and so
# compile the engine several times. Here all packages form one workspace with the profiles, the lock
# file and the target directory of this one: the engine is compiled for the other steps already.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci/target}"
# A fixed folder: cargo would keep the results of one build for each path.
work="$CARGO_TARGET_DIR/packages"
rm -rf "$work"
mkdir -p "$work"
fail() { echo "check_packages: $*" >&2; exit 1; }

profiles() { awk '/^\[/ { profile = /^\[profile\./ } profile' "$1"; }
others() { awk '/^\[/ { profile = /^\[profile\./ } !profile' "$1"; }

# name, version and folder of each crate to publish
cargo metadata --no-deps --format-version 1 | python3 -c '
import json, os, sys

for package in json.load(sys.stdin)["packages"]:
    if package["publish"] is None:
        folder = os.path.relpath(os.path.dirname(package["manifest_path"]))
        print(package["name"], package["version"], folder)
' | sort >"$work/crates"
[ -s "$work/crates" ] || fail "no crate to publish"

echo "contents"
packages=() missing=0
while read -r name _ folder; do
  packages+=(--package "$name")
  cargo package -q --allow-dirty --list --package "$name" | sort >"$work/list"
  {
    printf '%s\n' README.md LICENSE-APACHE LICENSE-MIT src/lib.rs
    # All sources and tests. The root folder also has files of other crates.
    (cd "$folder" && git ls-files src tests 'benches/*.rs' 'examples/*.rs') |
      awk -F/ '!($1 ~ /^(benches|examples)$/ && NF > 2)'
  } | sort -u >"$work/expected"
  grep -q '^src/main.rs$' "$work/expected" && sed -i '/^src\/lib.rs$/d' "$work/expected"
  while read -r file; do
    echo "  $name: $file is not in the package" >&2
    missing=1
  done < <(comm -13 "$work/list" "$work/expected")
done <"$work/crates"
((missing == 0)) || fail "add the missing files, or correct \`include\` in the Cargo.toml of the crate"

echo "packages"
cargo package -q --allow-dirty --no-verify "${packages[@]}"
{
  echo '[workspace]'
  echo 'resolver = "3"'
  echo 'members = ["*-[0-9]*"]'
  # The crates must find each other here, as they find each other on crates.io once published.
  echo '[patch.crates-io]'
  while read -r name version _; do
    echo "$name = { path = \"$name-$version\" }"
  done <"$work/crates"
  # The profiles of the workspace, or the engine would be compiled again.
  profiles Cargo.toml
} >"$work/Cargo.toml"
cp Cargo.lock "$work/"
while read -r name version _; do
  tar -xf "$CARGO_TARGET_DIR/package/$name-$version.crate" -C "$work"
  rm "$work/$name-$version/Cargo.lock"
  # Cargo reads profiles in the root of a workspace only.
  others "$work/$name-$version/Cargo.toml" >"$work/manifest"
  mv "$work/manifest" "$work/$name-$version/Cargo.toml"
done <"$work/crates"

cd "$work"
# Versions of the lock file stay; packages that only unpublished crates need are removed from it.
cargo metadata --format-version 1 >/dev/null
echo "each crate alone"
while read -r name _; do
  # quietwire-workspace-hack adds features to dependencies of the engine and to nothing else.
  cargo check -q --package "$name" --package quietwire-workspace-hack
done <crates
echo "all features, tests"
cargo check -q --workspace --all-features --all-targets

echo "program"
program="$(echo quietwire-cli-*)"
[ -d "$program" ] || fail "no package of quietwire-cli"
cargo install -q --debug --locked --path "$program" --root "$work/installed"
"$work/installed/bin/quietwire" --version
cp "$root/samples/office-fan.wav" "$work/"
"$work/installed/bin/quietwire" clean "$work/office-fan.wav"
[ -s "$work/office-fan.clean.wav" ] || fail "the installed program wrote no file"
echo "check_packages: $(wc -l <crates) crates"
