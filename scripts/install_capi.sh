#!/usr/bin/env bash
# Builds a C library and installs it with its header, its pkg-config file and its CMake package.
#
#     scripts/install_capi.sh [--prefix DIR] [--libdir NAME] [--destdir DIR] [--profile release|dev]
#                             [--library quietwire|rnnoise]
#
# Default: --prefix /usr/local --libdir lib --profile release --library quietwire. The installed folder
# can be moved. `--library rnnoise` installs librnnoise, in the place of RNNoise's own, and nothing else.
# For Linux. The static library is one object in which only the functions of the header are global, so
# that it can be linked beside other Rust libraries.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=/usr/local libdir=lib destdir='' profile=release library=quietwire
while (($#)); do
  case "$1" in
  --prefix) prefix="$2" ;;
  --libdir) libdir="$2" ;;
  --destdir) destdir="$2" ;;
  --profile) profile="$2" ;;
  --library) library="$2" ;;
  *) echo "install_capi: unknown option '$1'; the options are in the head of this script" >&2; exit 2 ;;
  esac
  shift 2
done
[ "$(uname -s)" = Linux ] || { echo "install_capi: for Linux only; docs/c-library.md has other systems" >&2; exit 1; }

package=bindings/libquietwire/package
to="$destdir$prefix"
built="${CARGO_TARGET_DIR:-target}/$([ "$profile" = dev ] && echo debug || echo "$profile")"
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
# From the folder of a package file back to the prefix.
root="$(sed 's,[^/]*,..,g' <<<"$libdir/pkgconfig")"
# What `rustc --print native-static-libs` names for this system.
static_libs=(-lgcc_s -lm -lpthread -ldl)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

fill() { # TEMPLATE TARGET NAME DESCRIPTION
  sed -e "s|@VERSION@|$version|; s|@LIBDIR@|$libdir|; s|@ROOT@|$root|; s|@SHARED@|$soname|" \
    -e "s|@NAME@|$3|; s|@DESCRIPTION@|$4|; s|@STATIC_LIBS@|${static_libs[*]}|" \
    -e "s|@STATIC_LIBS_CMAKE@|$(IFS=';'; echo "${static_libs[*]}")|" "$1" >"$2"
}

install_library() { # PACKAGE NAME HEADER DESCRIPTION
  local package_name=$1 name=$2 header=$3
  cargo build -q --package "$package_name" --profile "$profile"
  soname="$(readelf -d "$built/lib$name.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')"
  install -d "$to/include" "$to/$libdir/pkgconfig"
  install -m 644 "$header" "$to/include/"
  install -m 755 "$built/lib$name.so" "$to/$libdir/$soname"
  strip --strip-unneeded "$to/$libdir/$soname"
  ln -sf "$soname" "$to/$libdir/lib$name.so"

  nm -D --defined-only "$built/lib$name.so" | awk '{ print $3 }' >"$work/symbols"
  ld -r -z noexecstack --no-warn-execstack --whole-archive "$built/lib$name.a" -o "$work/all.o"
  # Bitcode of the standard library, merged, confuses other tools.
  objcopy --keep-global-symbols="$work/symbols" --strip-debug \
    --remove-section=.llvmbc --remove-section=.llvmcmd --remove-section=.note.GNU-stack \
    "$work/all.o" "$work/$name.o"
  objcopy --add-section=.note.GNU-stack=/dev/null "$work/$name.o"
  rm -f "$to/$libdir/lib$name.a"
  ar crs "$to/$libdir/lib$name.a" "$work/$name.o"
  fill "$package/library.pc.in" "$to/$libdir/pkgconfig/$name.pc" "$name" "$4"
}

if [ "$library" = rnnoise ]; then
  install_library quietwire-rnnoise rnnoise bindings/rnnoise/include/rnnoise.h "The interface of RNNoise with the models of quietwire"
  echo "librnnoise of quietwire $version: $to"
  exit 0
fi
install_library libquietwire quietwire bindings/capi/include/quietwire.h "Real-time noise suppression for live voice"
install -d "$to/$libdir/cmake/quietwire" "$to/share/doc/quietwire"
fill "$package/quietwire-config.cmake.in" "$to/$libdir/cmake/quietwire/quietwire-config.cmake" quietwire ''
fill "$package/quietwire-config-version.cmake.in" "$to/$libdir/cmake/quietwire/quietwire-config-version.cmake" quietwire ''
install -m 644 LICENSE-MIT LICENSE-APACHE docs/c-library.md "$to/share/doc/quietwire/"
echo "quietwire $version: $to"
