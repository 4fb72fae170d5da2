#!/usr/bin/env bash
# Cleans a WAV file at another sample rate and resamples the result to 48 kHz, for scores of
# band-limited audio. With `pass` it is only resampled, for the comparison.
#
#     scripts/at_rate.sh RATE_HZ IN OUT [pass]
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
ffmpeg -v error -i "$2" -ar "$1" "$work/in.wav"
if [ "${4:-}" = pass ]; then
  cp "$work/in.wav" "$work/out.wav"
else
  quietwire clean -q -o "$work/out.wav" "$work/in.wav"
fi
ffmpeg -v error -y -i "$work/out.wav" -ar 48000 "$3"
