#!/usr/bin/env bash
# The relay's page in a browser, over a real relay with real sound in it: a quarter of a minute.
#
#     tests/relay/page.sh QUIETWIRE_BINARY [OUT_FOLDER]
#
# OUT_FOLDER keeps the screenshots and the logs. Environment: NPM_FOLDER, CHROMIUM, and
# RELAY_COMMAND, which is started in place of `QUIETWIRE_BINARY relay`.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$here/../.."
logs=(relay ffmpeg)
source "$root/tests/sfu/session.sh" "$@"

"$root/tests/sfu/setup.sh" "$npm_folder"
for tool in ffmpeg curl; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done

# The log is read before the shell may have made it.
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

# Makes a stream and feeds it a clip again and again, as a caller would.
: >"$out/ffmpeg.log"
feed() {
  local id=$1 clip=$2 made listen
  made="$(curl -fsS -m 10 -H 'content-type: application/json' "$url/v1/streams" \
    -d "{\"id\": \"$id\", \"send_to\": \"127.0.0.1:9\"}")"
  listen="$(sed -n 's/.*"listen":"\([^"]*\)".*/\1/p' <<<"$made")"
  # RTCP goes where nobody listens: the next port could be another stream's.
  ffmpeg -nostdin -v error -re -stream_loop -1 -i "$clip" -c:a libopus -application voip -b:a 48k \
    -payload_type 111 -f rtp "rtp://$listen?rtcpport=9" >/dev/null 2>>"$out/ffmpeg.log" &
  children+=("$!")
}
feed alice "$root/samples/office-fan.wav"
feed bob "$root/samples/keyboard.wav"

# In the background, as a shell heeds no signal while it waits for a command in front.
node "$here/page_test.mjs" "$url" "$out" --npm "$npm_folder" alice bob \
  > >(tee "$out/page.log") 2>&1 &
browser=$!
children=("$browser" "${children[@]}")
wait "$browser"
