#!/usr/bin/env bash
# Builds the package a second time, in another folder and target directory, and compares both packed files.
#
#     bindings/web/build.sh && bindings/web/check_reproducible.sh
#
# The second target directory lies in the first one, so that a later run compiles only what has changed.
set -euo pipefail
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-$(pwd)/../../target}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/elsewhere" "$work/first" "$work/second"
git -C ../.. ls-files -z | tar -C ../.. --null -T - -c | tar -C "$work/elsewhere" -x
(cd "$work/elsewhere/bindings/web" && CARGO_TARGET_DIR="$target/again" ./build.sh >/dev/null && npm pack --silent --pack-destination "$work/second" >/dev/null)
npm pack --silent --pack-destination "$work/first" >/dev/null
for side in first second; do
  (cd "$work/$side" && tar -xzf ./*.tgz && find package -type f -exec sha256sum {} + | sort -k 2 >files)
done
# Names the files that differ.
diff "$work/first/files" "$work/second/files"
cmp "$work"/first/*.tgz "$work"/second/*.tgz
sha256sum "$work"/first/*.tgz | awk '{ print "equal bytes in both folders: " $1 }'
