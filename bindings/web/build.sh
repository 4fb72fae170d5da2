#!/usr/bin/env bash
# Builds the package into dist/ and assets/: the module with and without SIMD, the models, the scripts.
#
#     bindings/web/build.sh
#
# Needs Rust, Node 20 or later and npm. Installs the target wasm32-unknown-unknown with rustup; where rustup
# is missing, Debian's compiler compiles the standard library too (packages rustc-web, cargo-web,
# rust-web-src).
set -euo pipefail
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-$(pwd)/../../target}"
wasm=wasm32-unknown-unknown
cargo=(cargo build)
if ! rustup target list --installed 2>/dev/null | grep -qx "$wasm" && ! rustup target add "$wasm"; then
  export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
  cargo=(/usr/bin/cargo build -Zbuild-std=std,panic_abort)
fi
build() { # NAME RUSTFLAGS: paths of this machine do not get into the module, so that equal sources give equal bytes
  RUSTFLAGS="$2 --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$(cd ../.. && pwd)=/quietwire" \
    CARGO_TARGET_DIR="$target" \
    "${cargo[@]}" -q --locked --manifest-path ../wasm/Cargo.toml --profile wasm --target "$wasm"
  install -m 644 "$target/$wasm/wasm/quietwire_wasm.wasm" "assets/$1"
}

rm -rf dist assets
mkdir assets
build quietwire-plain.wasm ""
build quietwire.wasm "-C target-feature=+simd128"
for model in base tiny; do
  cp "../../models/$model/model.toml" "assets/$model.toml"
  cp "../../models/$model/model.onnx" "assets/$model.onnx"
  cp "../../models/$model/CARD.md" "assets/$model.md"
done
cp ../../LICENSE-MIT ../../LICENSE-APACHE .
npm ci --silent --no-audit --no-fund
npm run --silent build
for file in assets/*.wasm assets/*.onnx dist/worklet.js; do
  printf '%-28s %8d bytes, %8d gzipped\n' "$file" "$(wc -c <"$file")" "$(gzip -9 -c "$file" | wc -c)"
done
