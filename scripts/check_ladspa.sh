#!/usr/bin/env bash
# The LADSPA plugins as hosts load them: symbols, the SDK's hosts, FFmpeg's filter, PipeWire's filter chain.
# The output in FFmpeg is compared with that of the program, bit for bit.
#
#     PYTHON=python3 scripts/check_ladspa.sh QUIETWIRE      (the program)
set -euo pipefail
cd "$(dirname "$0")/.."
quietwire="$1"
python="${PYTHON:-python3}"
samples="$PWD/samples"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
fail() { echo "check_ladspa: $*" >&2; exit 1; }

echo "library"
scripts/install_capi.sh --prefix "$work/installed" --profile dev --library ladspa
export LADSPA_PATH="$work/installed/lib/ladspa"
library="$LADSPA_PATH/libquietwire_ladspa.so"
# A symbol of another library in the same process must not collide.
[ "$(nm -D --defined-only "$library" | awk '{ print $3 }')" = ladspa_descriptor ] ||
  fail "the library exports other symbols than ladspa_descriptor"
if readelf -lW "$library" | grep -q 'GNU_STACK.*RWE'; then fail "the library needs an executable stack"; fi
for file in microphone loudspeaker; do
  cmp "bindings/ladspa/pipewire/quietwire-$file.conf" \
    "$work/installed/share/quietwire/pipewire/quietwire-$file.conf"
done

echo "hosts of the LADSPA SDK"
analyseplugin "$library" >"$work/plugins"
for text in 'quietwire_mono' 'quietwire_stereo' '"latency" output, control' \
  '"Attenuation (dB)" input, control, 0 to 80, default 40' 'Normal or Hard Real-Time'; do
  grep -qF "$text" "$work/plugins" || fail "analyseplugin does not list: $text"
done
ffmpeg -v error -y -i "$samples/office-fan.wav" -c:a pcm_s16le -bitexact "$work/input.wav"
applyplugin "$work/input.wav" "$work/output.wav" "$library" quietwire_mono 40 0 1 0 >/dev/null
[ "$(wc -c <"$work/output.wav")" -gt 800000 ] || fail "applyplugin wrote too little"

echo "FFmpeg"
raw() { ffmpeg -v error -y -i "$1" -f f32le "$2"; } # AUDIO RAW
filter() { # INPUT OUTPUT PLUGIN CONTROLS
  ffmpeg -v error -y -i "$1" -af "ladspa=file=libquietwire_ladspa:plugin=$3:controls=$4:latency=1" -c:a pcm_f32le "$2"
}
compare() { # NAME PLUGIN CONTROLS ARGUMENTS... : of the program, for the same output
  local name=$1 plugin=$2 controls=$3
  shift 3
  "$quietwire" clean "$work/input.wav" -o "$work/expected.wav" --force "$@" >/dev/null 2>&1
  filter "$work/input.wav" "$work/output.wav" "$plugin" "$controls"
  raw "$work/expected.wav" "$work/expected.raw"
  raw "$work/output.wav" "$work/output.raw"
  cmp "$work/expected.raw" "$work/output.raw" || fail "$name: the output differs from that of the program"
}
# The level that a twentieth of the hops with sound are below, in dBFS.
floor_db() {
  "$python" - "$1" "$2" <<'EOF'
import sys
import numpy as np

samples, hop = np.fromfile(sys.argv[1], "<f4"), int(sys.argv[2]) // 100
power = np.mean(samples[: len(samples) // hop * hop].reshape(-1, hop) ** 2, axis=1)
print(10 * np.log10(np.percentile(power[power > 1e-10], 5)))
EOF
}
for rate_hz in 8000 16000 44100 48000 96000; do
  for file in "$samples"/*.wav; do
    ffmpeg -v error -y -t 3 -i "$file" -ar "$rate_hz" -c:a pcm_f32le "$work/input.wav"
    compare "$file at $rate_hz Hz" quietwire_mono 'c2=1'
    if [ "${file##*/}" = office-fan.wav ]; then
      raw "$work/input.wav" "$work/input.raw"
      before="$(floor_db "$work/input.raw" "$rate_hz")" after="$(floor_db "$work/output.raw" "$rate_hz")"
      LC_ALL=C printf '%6d Hz: noise floor %.1f -> %.1f dBFS\n' "$rate_hz" "$before" "$after"
      awk "BEGIN { exit !($after < $before - 15) }" || fail "$rate_hz Hz: the noise floor did not fall by 15 dB"
    fi
  done
  ffmpeg -v error -y -t 3 -i "$samples/street.flac" -ar "$rate_hz" -c:a pcm_f32le "$work/input.wav"
  compare "street.flac at $rate_hz Hz" quietwire_stereo 'c2=1' --channels linked
  # FFmpeg makes an instance of a mono plugin for each channel.
  compare "two channels at $rate_hz Hz" quietwire_mono 'c1=2|c3=1' --level medium --model tiny --channels independent
done

echo "a hundred instances in one process"
ffmpeg -v error -y -i "$samples/quiet.wav" -t 1 -c:a pcm_f32le "$work/input.wav"
chain="$(for _ in {1..100}; do printf ',ladspa=file=libquietwire_ladspa:plugin=quietwire_mono:controls=c2=0:latency=1'; done)"
ffmpeg -v error -y -i "$work/input.wav" -af "${chain#,}" -c:a pcm_f32le "$work/output.wav"
raw "$work/input.wav" "$work/input.raw"
raw "$work/output.wav" "$work/output.raw"
cmp "$work/input.raw" "$work/output.raw" || fail "a hundred instances that are off change the sound"
if ffmpeg -v quiet -y -i "$work/input.wav" -af "aresample=384000,ladspa=file=libquietwire_ladspa:plugin=quietwire_mono" \
  -f null -; then fail "384 kHz is not a supported rate"; fi

"$python" bindings/ladspa/tests/hosts/instances.py "$library"

echo "PipeWire"
"$python" bindings/ladspa/tests/hosts/pipewire_filter_chain.py "$LADSPA_PATH"
echo "check_ladspa: passed"
