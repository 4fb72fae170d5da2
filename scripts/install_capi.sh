#!/usr/bin/env bash
# Builds a C library and installs it with its header, its pkg-config file and its CMake package, or the LADSPA
# plugins with their configuration files.
#
#     scripts/install_capi.sh [--prefix DIR] [--libdir NAME] [--destdir DIR] [--profile release|dev]
#                             [--library quietwire|rnnoise|ladspa] [--target TRIPLE] [--features onnx]
#
# Default: --prefix /usr/local --libdir lib --profile release --library quietwire, for this machine. The
# installed folder can be moved. `--library rnnoise` installs librnnoise, in the place of RNNoise's own,
# and nothing else. `--library ladspa` installs LIBDIR/ladspa/libquietwire_ladspa.so and the files for PipeWire,
# share/quietwire/pipewire, and nothing else. `--features onnx` adds the engine tract, for models with operators that the library's own
# executor does not have.
#
# Runs on Linux, for Linux and for Windows (x86_64-pc-windows-gnu, with mingw-w64). On Linux the static
# library is one object in which only the functions of the header are global, so that it can be linked
# beside other Rust libraries.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=/usr/local libdir=lib destdir='' profile=release library=quietwire target='' features=''
while (($#)); do
  case "$1" in
  --prefix) prefix="$2" ;;
  --libdir) libdir="$2" ;;
  --destdir) destdir="$2" ;;
  --profile) profile="$2" ;;
  --library) library="$2" ;;
  --target) target="$2" ;;
  --features) features="$2" ;;
  *) echo "install_capi: unknown option '$1'; the options are in the head of this script" >&2; exit 2 ;;
  esac
  shift 2
done
[ "$(uname -s)" = Linux ] || { echo "install_capi: runs on Linux only; docs/c-library.md has other systems" >&2; exit 1; }

# The build for this machine needs no target, and shares the other builds of it.
[ "$target" != "$(rustc -vV | sed -n 's/^host: //p')" ] || target=''
# What `rustc --print native-static-libs` names.
static_libs=(-lgcc_s -lm -lpthread -ldl)
tools='' arguments=()
case "$target" in
'') ;;
*-unknown-linux-gnu)
  tools="${target/-unknown/}-"
  name="${target//-/_}"
  export "CARGO_TARGET_${name^^}_LINKER=${tools}gcc"
  ;;
x86_64-pc-windows-gnu)
  tools=x86_64-w64-mingw32-
  static_libs=(-lkernel32 -lntdll -luserenv -lws2_32 -ldbghelp)
  ;;
*) echo "install_capi: no rules for the target '$target'" >&2; exit 2 ;;
esac
[ -z "$target" ] || arguments=(--target "$target")

package=bindings/libquietwire/package
to="$destdir$prefix"
built="${CARGO_TARGET_DIR:-target}/$target/$([ "$profile" = dev ] && echo debug || echo "$profile")"
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
# From the folder of a package file back to the prefix.
root="$(sed 's,[^/]*,..,g' <<<"$libdir/pkgconfig")"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

fill() { # TEMPLATE TARGET NAME DESCRIPTION
  sed -e "s|@VERSION@|$version|; s|@LIBDIR@|$libdir|; s|@ROOT@|$root|; s|@SHARED@|$shared|" \
    -e "s|@SHARED_DIR@|$shared_dir|; s|@SHARED_PROPERTY@|$shared_property|" \
    -e "s|@NAME@|$3|; s|@DESCRIPTION@|$4|; s|@STATIC_LIBS@|${static_libs[*]}|" \
    -e "s|@STATIC_LIBS_CMAKE@|$(IFS=';'; echo "${static_libs[*]}")|" "$1" >"$2"
}

install_linux() { # NAME
  local name=$1
  shared="$("${tools}readelf" -d "$built/lib$name.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')"
  shared_dir="$libdir" shared_property="IMPORTED_SONAME \"$shared\""
  install -m 755 "$built/lib$name.so" "$to/$libdir/$shared"
  "${tools}strip" --strip-unneeded "$to/$libdir/$shared"
  ln -sf "$shared" "$to/$libdir/lib$name.so"

  "${tools}nm" -D --defined-only "$built/lib$name.so" | awk '{ print $3 }' >"$work/symbols"
  "${tools}ld" -r -z noexecstack --no-warn-execstack --whole-archive "$built/lib$name.a" -o "$work/all.o"
  # Bitcode of the standard library, merged, confuses other tools.
  "${tools}objcopy" --keep-global-symbols="$work/symbols" --strip-debug \
    --remove-section=.llvmbc --remove-section=.llvmcmd --remove-section=.note.GNU-stack \
    "$work/all.o" "$work/$name.o"
  "${tools}objcopy" --add-section=.note.GNU-stack=/dev/null "$work/$name.o"
  rm -f "$to/$libdir/lib$name.a"
  "${tools}ar" crs "$to/$libdir/lib$name.a" "$work/$name.o"
}

install_windows() { # NAME
  local name=$1
  shared="$name.dll" shared_dir=bin
  shared_property="IMPORTED_IMPLIB \"\${_quietwire_prefix}/$libdir/lib$name.dll.a\""
  install -d "$to/bin"
  install -m 755 "$built/$name.dll" "$to/bin/"
  "${tools}strip" --strip-unneeded "$to/bin/$name.dll"
  install -m 644 "$built/lib$name.dll.a" "$built/lib$name.a" "$to/$libdir/"
}

install_ladspa() {
  cargo build -q --package quietwire-ladspa --profile "$profile" "${arguments[@]}"
  local file=libquietwire_ladspa.so
  case "$target" in *-windows-*) file=quietwire_ladspa.dll ;; esac
  install -d "$to/$libdir/ladspa" "$to/share/quietwire/pipewire"
  install -m 755 "$built/$file" "$to/$libdir/ladspa/"
  "${tools}strip" --strip-unneeded "$to/$libdir/ladspa/$file"
  install -m 644 bindings/ladspa/pipewire/*.conf "$to/share/quietwire/pipewire/"
}

install_library() { # PACKAGE NAME HEADER DESCRIPTION
  cargo build -q --package "$1" --profile "$profile" --features "$features" "${arguments[@]}"
  install -d "$to/include" "$to/$libdir/pkgconfig"
  install -m 644 "$3" "$to/include/"
  case "$target" in
  *-windows-*) install_windows "$2" ;;
  *) install_linux "$2" ;;
  esac
  fill "$package/library.pc.in" "$to/$libdir/pkgconfig/$2.pc" "$2" "$4"
}

if [ "$library" = rnnoise ]; then
  install_library quietwire-rnnoise rnnoise bindings/rnnoise/include/rnnoise.h "The interface of RNNoise with the models of quietwire"
  echo "librnnoise of quietwire $version: $to"
  exit 0
fi
if [ "$library" = ladspa ]; then
  [ -z "$features" ] || { echo "install_capi: the LADSPA plugins have no features" >&2; exit 2; }
  install_ladspa
  echo "LADSPA plugins of quietwire $version: $to/$libdir/ladspa"
  exit 0
fi
install_library libquietwire quietwire bindings/capi/include/quietwire.h "Real-time noise suppression for live voice"
install -d "$to/$libdir/cmake/quietwire" "$to/share/doc/quietwire"
fill "$package/quietwire-config.cmake.in" "$to/$libdir/cmake/quietwire/quietwire-config.cmake" quietwire ''
fill "$package/quietwire-config-version.cmake.in" "$to/$libdir/cmake/quietwire/quietwire-config-version.cmake" quietwire ''
install -m 644 LICENSE-MIT LICENSE-APACHE docs/c-library.md "$to/share/doc/quietwire/"
echo "quietwire $version: $to"
