#!/usr/bin/env bash
# The page of a relay with two streams in a browser. Takes a quarter of a minute.
#
#     crates/quietwire-relay/tests/process/page.sh QUIETWIRE_BINARY [OUT_FOLDER]
#
# OUT_FOLDER receives the screenshots and the logs. Environment: NPM_FOLDER, CHROMIUM, and
# RELAY_COMMAND, which replaces `QUIETWIRE_BINARY relay`.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$here/../../../.."
logs=(relay ffmpeg)
source "$here/../sfu/session.sh" "$@"

"$here/../sfu/setup.sh" "$npm_folder"
for tool in ffmpeg curl; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done

# The log is read before the relay writes to it.
: >"$out/relay.log"
"${relay[@]}" --http 127.0.0.1:0 --drain-seconds 0 >"$out/relay.log" 2>&1 &
relay_pid=$!
children=("$relay_pid")
url=""
for ((i = 0; i < 300; i++)); do
  url="$(sed -n 's/^relay: control on \(http:[^,]*\),.*/\1/p' "$out/relay.log")"
  [ -z "$url" ] || break
  kill -0 "$relay_pid" 2>/dev/null || { echo "the relay ended before it listened" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the relay did not listen within 30 s" >&2; exit 1; }

# Creates a stream and sends it a clip in a loop.
: >"$out/ffmpeg.log"
feed() {
  local id=$1 clip=$2 created listen
  created="$(curl -fsS -m 10 -H 'content-type: application/json' "$url/v1/streams" \
    -d "{\"id\": \"$id\", \"send_to\": \"127.0.0.1:9\"}")"
  listen="$(sed -n 's/.*"listen":"\([^"]*\)".*/\1/p' <<<"$created")"
  # RTCP is sent to an unused port, because the next port could belong to another stream.
  ffmpeg -nostdin -v error -re -stream_loop -1 -i "$clip" -c:a libopus -application voip -b:a 48k \
    -payload_type 111 -f rtp "rtp://$listen?rtcpport=9" >/dev/null 2>>"$out/ffmpeg.log" &
  children+=("$!")
}
feed alice "$root/samples/office-fan.wav"
feed bob "$root/samples/keyboard.wav"

# In the background, because a shell handles no signal while it waits for a command in the foreground.
node "$here/page_test.mjs" "$url" "$out" --npm "$npm_folder" alice bob \
  > >(tee "$out/page.log") 2>&1 &
browser=$!
children=("$browser" "${children[@]}")
wait "$browser"
