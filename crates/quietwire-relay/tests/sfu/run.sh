#!/usr/bin/env bash
# A call through Janus and Chromium with the relay, recorded and judged. Takes half a minute.
#
#     crates/quietwire-relay/tests/sfu/run.sh QUIETWIRE_BINARY [OUT_FOLDER]
#
# OUT_FOLDER receives the recording and the logs. Environment: SECONDS_OF_CALL (20), MICROPHONE (a WAV
# file of 48 kHz), PYTHON (with numpy), NPM_FOLDER, SRTP (80 or 32: encrypts the streams of the relay,
# with tags of so many bits), and RELAY_COMMAND, which replaces `QUIETWIRE_BINARY relay`.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$here/../../../.."
python="${PYTHON:-python3}"
microphone="${MICROPHONE:-$root/samples/office-fan.wav}"
logs=(janus relay)
source "$here/session.sh" "$@"

# Waits until a program listens on a port. `pid`: its process.
await_port() {
  local program=$1 pid=$2 port=$3
  for ((i = 0; i < 300; i++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    kill -0 "$pid" 2>/dev/null || { echo "$program ended before it listened" >&2; return 1; }
    sleep 0.1
  done
  echo "$program did not listen within 30 s" >&2
  return 1
}

"$here/setup.sh" "$npm_folder"
"$python" -c 'import numpy' 2>/dev/null || {
  echo "$python has no numpy: set PYTHON to one that has it" >&2
  exit 1
}

# Free ports. All sockets stay open until all ports are chosen, so that they differ.
read -r http_port websocket_port mountpoint_port < <("$python" - <<'PY'
import socket

tcp = [socket.socket() for _ in range(2)]
udp = socket.socket(type=socket.SOCK_DGRAM)
for s in (*tcp, udp):
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in (*tcp, udp)))
PY
)

suite="" key_in="" key_out="" mountpoint_key=""
if [ -n "${SRTP:-}" ]; then
  suite="AES_CM_128_HMAC_SHA1_$SRTP"
  key_in="$(head -c 30 /dev/urandom | base64)"
  key_out="$(head -c 30 /dev/urandom | base64)"
  mountpoint_key="srtpsuite = $SRTP srtpcrypto = \"$key_out\""
fi

mkdir "$work/janus"
for template in "$here"/janus/*.jcfg; do
  sed -e "s#@CONFIGS@#$work/janus#" -e "s#@WEBSOCKET_PORT@#$websocket_port#" \
    -e "s#@MOUNTPOINT_PORT@#$mountpoint_port#" -e "s#@MOUNTPOINT_KEY@#$mountpoint_key#" \
    "$template" >"$work/janus/$(basename "$template")"
done
gcc -shared -fPIC -O1 -o "$work/lo_shim.so" "$here/lo_shim.c" -ldl
LD_PRELOAD="$work/lo_shim.so" janus -F "$work/janus" >"$out/janus.log" 2>&1 &
janus=$!
"${relay[@]}" --http "127.0.0.1:$http_port" >"$out/relay.log" 2>&1 &
relay_pid=$!
children=("$janus" "$relay_pid")
await_port Janus "$janus" "$websocket_port"
await_port "the relay" "$relay_pid" "$http_port"

# In the background, because a shell handles no signal while it waits for a command in the foreground.
node "$here/call.mjs" "$out" --npm "$npm_folder" --microphone "$microphone" \
  --seconds "${SECONDS_OF_CALL:-20}" --api "http://127.0.0.1:$http_port" \
  --janus "ws://127.0.0.1:$websocket_port" --send-to "127.0.0.1:$mountpoint_port" \
  --suite "$suite" --key-in "$key_in" --key-out "$key_out" \
  > >(tee "$out/call.log") 2>&1 &
call=$!
children=("$call" "${children[@]}")
wait "$call"
"$python" "$here/judge.py" "$out"
