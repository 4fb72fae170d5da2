#!/usr/bin/env bash
# The C library as C and C++ programs use it: header, symbols, pkg-config, CMake, the examples alone, with
# the address sanitizer and under valgrind. The output of C is compared with that of the program.
#
#     scripts/check_capi.sh QUIETWIRE      (the program)
set -euo pipefail
cd "$(dirname "$0")/.."
quietwire="$1"
samples="$PWD/samples"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
fail() { echo "check_capi: $*" >&2; exit 1; }
warnings="-Wall -Wextra -Wconversion -Wno-sign-conversion -Werror"

echo "header"
scripts/capi_header.sh --check
header=bindings/capi/include/quietwire.h
for standard in c99 c11 c17; do
  gcc -std=$standard -pedantic $warnings -fsyntax-only -x c "$header"
done
for standard in c++11 c++20; do
  g++ -std=$standard -pedantic $warnings -fsyntax-only -x c++ "$header"
done

echo "library"
installed="$work/installed"
scripts/install_capi.sh --prefix "$installed" --profile dev
# The installed folder can be moved.
mv "$installed" "$work/moved"
installed="$work/moved"
abi="$(sed -n 's/^#define QUIETWIRE_ABI_VERSION //p' "$header")"
readelf -d "$installed/lib/libquietwire.so" | grep -q "SONAME.*\[libquietwire.so.$abi\]" ||
  fail "the soname is not libquietwire.so.$abi"
# Exactly the functions of the header, in both libraries.
grep -o '\bquietwire_[a-z0-9_]*(' "$header" | tr -d '(' | sort -u >"$work/functions"
nm -D --defined-only "$installed/lib/libquietwire.so" | awk '{ print $3 }' | sort >"$work/shared"
nm -g --defined-only "$installed/lib/libquietwire.a" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort >"$work/static"
# The header calls functions in its comments as well, all of which exist.
diff "$work/functions" "$work/shared" || fail "the shared library has other symbols than the header"
diff "$work/functions" "$work/static" || fail "the static library has other symbols than the header"
if readelf -lW "$installed/lib/libquietwire.so" | grep -q 'GNU_STACK.*RWE'; then
  fail "the shared library needs an executable stack"
fi

echo "CMake, pkg-config"
flags() { PKG_CONFIG_PATH="$installed/lib/pkgconfig" pkg-config "$@" quietwire; }
for language in c cpp; do
  cmake -S "examples/$language" -B "$work/$language" -DCMAKE_PREFIX_PATH="$installed" >/dev/null
  cmake --build "$work/$language" >/dev/null
done
gcc -std=c11 $warnings $(flags --cflags) examples/c/file_filter.c -o "$work/by-pkg-config" $(flags --libs)
version="$(flags --modversion)"
"$quietwire" --version | grep -qF "$version" || fail "pkg-config has version $version"

echo "documents"
for document in README.md docs/c-library.md; do
  {
    printf '#include <stdio.h>\n#include <quietwire.h>\nvoid example(float *block, size_t frames);\n'
    printf 'void example(float *block, size_t frames) {\n'
    awk '/^```c$/ { code = 1; next } /^```/ { code = 0 } code' "$document"
    echo '}'
  } >"$work/document.c"
  [ "$(wc -l <"$work/document.c")" -gt 6 ] || fail "$document has no example in C"
  gcc -std=c99 -pedantic $warnings $(flags --cflags) -c "$work/document.c" -o "$work/document.o"
done

echo "output"
export LD_LIBRARY_PATH="$installed/lib"
for file in office-fan keyboard telephone quiet; do
  "$quietwire" clean "$samples/$file.wav" -o "$work/expected.wav" --force >/dev/null 2>&1
  for program in c/file_filter c/file_filter_static by-pkg-config; do
    "$work/$program" "$samples/$file.wav" "$work/output.wav"
    cmp "$work/expected.wav" "$work/output.wav" || fail "$program: the output differs from that of the program"
  done
done
if "$work/c/file_filter" Cargo.toml "$work/output.wav" 2>/dev/null; then fail "Cargo.toml is no WAV file"; fi
"$work/c/callback"
"$work/cpp/clean_buffer"
"$work/cpp/webrtc_processing"

echo "address sanitizer"
sanitize="-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
asan() { # COMPILER SOURCE ARGUMENTS...
  local compiler=$1 source=$2
  shift 2
  $compiler $sanitize $warnings $(flags --cflags) "$source" -o "$work/sanitized" $(flags --libs) -lpthread -lm
  "$work/sanitized" "$@" >/dev/null
}
asan "gcc -std=c11" examples/c/file_filter.c "$samples/quiet.wav" "$work/output.wav"
asan "gcc -std=c11" examples/c/callback.c
asan "g++ -std=c++17" examples/cpp/clean_buffer.cpp
asan "g++ -std=c++17" examples/cpp/webrtc_processing.cpp

echo "valgrind"
# One second is enough: valgrind runs everything slower.
ffmpeg -v error -y -t 1 -i "$samples/quiet.wav" -c:a pcm_s16le "$work/short.wav"
check=(valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,indirect
  --show-leak-kinds=definite,indirect)
"${check[@]}" "$work/c/file_filter" "$work/short.wav" "$work/output.wav"
"${check[@]}" "$work/cpp/webrtc_processing" >/dev/null

echo "librnnoise"
scripts/install_capi.sh --prefix "$work/rnnoise" --profile dev --library rnnoise
export LD_LIBRARY_PATH="$work/rnnoise/lib"
flags() { PKG_CONFIG_PATH="$work/rnnoise/lib/pkgconfig" pkg-config "$@" rnnoise; }
readelf -d "$work/rnnoise/lib/librnnoise.so" | grep -q 'SONAME.*\[librnnoise.so.0\]' ||
  fail "the soname is not librnnoise.so.0"
grep -o '\brnnoise_[a-z0-9_]*(' bindings/rnnoise/include/rnnoise.h | tr -d '(' | sort -u >"$work/rnnoise-functions"
nm -D --defined-only "$work/rnnoise/lib/librnnoise.so" | awk '{ print $3 }' | sort |
  diff "$work/rnnoise-functions" - || fail "librnnoise has other symbols than its header"
for program in rnnoise_demo every_function; do
  gcc -std=c99 $warnings $(flags --cflags) "bindings/rnnoise/tests/c/$program.c" -o "$work/$program" $(flags --libs) -lm
done
"$work/every_function"
raw() { ffmpeg -v error -y -i "$1" -t "$2" -f s16le -ac 1 -ar 48000 "$3"; }
raw "$samples/office-fan.wav" 8 "$work/noisy.raw"
"$work/rnnoise_demo" "$work/noisy.raw" "$work/clean.raw"
# Aligned with the program's output, whose first frame has no sound.
"$quietwire" clean "$samples/office-fan.wav" -o "$work/expected.wav" --force >/dev/null 2>&1
raw "$work/expected.wav" 7.99 "$work/expected.raw"
cmp "$work/expected.raw" "$work/clean.raw" || fail "rnnoise_demo: the output differs from that of the program"
asan "gcc -std=c99" bindings/rnnoise/tests/c/every_function.c
"${check[@]}" "$work/every_function"
echo "check_capi: $(wc -l <"$work/functions") functions, version $version"
