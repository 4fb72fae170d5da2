#!/usr/bin/env bash
# Installs the missing Debian packages of the tests, and npm packages into a folder of their own.
#
#     crates/quietwire-relay/tests/sfu/setup.sh NPM_FOLDER
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
npm_folder="${1:?usage: setup.sh NPM_FOLDER}"

packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need janus janus
need rtpengine rtpengine-daemon
need chromium chromium
need gcc gcc
need node nodejs
need npm npm
[ -e /usr/include/dlfcn.h ] || packages+=(libc6-dev)
if ((${#packages[@]})); then
  as_root=()
  if ((EUID)); then as_root=(sudo); fi
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${packages[@]}"
fi

# The lock file is copied last: it marks a complete installation.
if ! cmp -s "$here/package-lock.json" "$npm_folder/installed.json"; then
  mkdir -p "$npm_folder"
  cp "$here/package.json" "$here/package-lock.json" "$npm_folder"
  npm ci --prefix "$npm_folder" --no-audit --no-fund
  cp "$here/package-lock.json" "$npm_folder/installed.json"
fi
