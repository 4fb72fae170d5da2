#!/usr/bin/env bash
# Dependencies: licenses, sources, banned crates and advisories (rules: deny.toml).
# Interface: semantic versioning against the last releases (scripts/semver_baselines.txt).
#
#     scripts/check_dependencies.sh                          all checks
#     scripts/check_dependencies.sh --release-type minor     compares with the last releases as if the next
#                                                            version were a minor one: lists what breaks
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci"
export CARGO_INCREMENTAL=0
release_type=("$@")

install_tool() { # cargo-NAME
  cargo "${1#cargo-}" --version >/dev/null 2>&1 && return
  CARGO_TARGET_DIR="$cache/tools" CARGO_PROFILE_DEV_DEBUG=0 cargo install -q --locked --debug "$1"
}

install_tool cargo-deny
cargo deny --workspace check licenses bans sources
# The database of advisories is a git repository that not every machine can reach.
if errors="$(cargo deny fetch db 2>&1)"; then
  cargo deny --workspace check --disable-fetch advisories
else
  echo "advisories: NOT checked, no access to the database: $(grep -m 1 fatal <<<"$errors")"
fi

# Versions with the same first number that is not 0 must be compatible.
line_of() { # VERSION
  case "$1" in
  0.*) cut -d. -f1,2 <<<"$1" ;;
  *) cut -d. -f1 <<<"$1" ;;
  esac
}
version="$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys

packages = json.load(sys.stdin)["packages"]
print(next(package["version"] for package in packages if package["name"] == "quietwire"))
')"
while read -r name released commit; do
  if ((${#release_type[@]} == 0)) && [ "$(line_of "$released")" != "$(line_of "$version")" ]; then
    echo "semver: $name $released -> $version may change the interface: nothing to compare"
    continue
  fi
  git cat-file -e "$commit^{commit}" 2>/dev/null || {
    echo "check_dependencies: commit $commit of $name $released is missing; fetch the whole history" >&2
    exit 1
  }
  install_tool cargo-semver-checks
  CARGO_TARGET_DIR="$cache/semver" cargo semver-checks --package "$name" --baseline-rev "$commit" "${release_type[@]}"
done < <(grep -v '^#' scripts/semver_baselines.txt)
