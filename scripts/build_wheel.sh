#!/usr/bin/env bash
# Builds the wheel of the Python package for Linux with glibc 2.28 (2018) or newer: manylinux_2_28.
#
#     PYTHON=venv/bin/python scripts/build_wheel.sh FOLDER [PROFILE]
#
# PYTHON has maturin and ziglang (default: python3). PROFILE is a profile of cargo (default: release). zig links
# against the symbols of that glibc; maturin refuses a module that needs newer ones or another library.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="$(command -v "${PYTHON:-python3}")"
case "$PYTHON" in /*) ;; *) PYTHON="$PWD/$PYTHON" ;; esac
out="$(realpath -m "$1")"
profile="${2:-release}"
glibc=2.28
machine="$(uname -m)"

# A linker that cargo calls for the module alone, so that other builds stay valid. Its path is an argument of
# the compiler: with another one, the module would be linked again.
target="${CARGO_TARGET_DIR:-target}"
mkdir -p "$target"
linker="$(realpath "$target")/manylinux-linker"
cat >"$linker" <<END
#!/usr/bin/env bash
args=()
for arg in "\$@"; do
  case "\$arg" in
  # zig has its own.
  -lgcc_s) args+=(-lunwind) ;;
  # zig does not have these.
  -Wl,--no-undefined-version | -fuse-ld=* | -B*) ;;
  *) args+=("\$arg") ;;
  esac
done
exec "$PYTHON" -m ziglang cc -target $machine-linux-gnu.$glibc "\${args[@]}"
END
chmod +x "$linker"

"$PYTHON" -m maturin build -q --profile "$profile" --out "$out" \
  --manifest-path bindings/python/Cargo.toml --compatibility "manylinux_${glibc/./_}" --auditwheel check \
  -- -C linker="$linker"
