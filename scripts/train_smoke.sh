#!/usr/bin/env bash
# Trains a small network for a minute on generated data, exports it, writes golden vectors and
# compares the Rust runtime with them: every step of train/README.md at a small size.
#
#     scripts/train_smoke.sh path/to/python
set -euo pipefail
python="${1:-python3}"
root="$(cd "$(dirname "$0")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$root"

"$python" scripts/make_smoke_data.py "$work/data"
export PYTHONPATH="$root/train"
run() { "$python" -m quietwire_train.cli "$@"; }
run prepare "$work/data" "$work/store"
run rir "$work/rir.npz" --count 8
run train --data "$work/store" --rir "$work/rir.npz" --out "$work/run" --device cpu \
  --steps 150 --batch 6 --seconds 2 --channels 16 --blocks 2 --summary 32 --tap-bins 32 --tap-order 2 --warmup 10 \
  --ema-decay 0.9 --learning-rate 3e-3 --validate-every 50
run export "$work/run/checkpoint.pt" "$work/model" --id smoke --license MIT --training-data "synthetic smoke data"
run golden "$work/model" samples/office-fan.wav "$work/model/golden"
QUIETWIRE_PARITY_MODEL="$work/model" cargo test -q -p quietwire --lib --test laws golden_vectors -- --nocapture
run devset "$work/store" "$work/pairs" --seconds 3 --talkers 2 --sets snr,level,whisper,clean,noise
cargo build -q -p quietwire-cli
program="${CARGO_TARGET_DIR:-target}/debug/quietwire"
run score "$work/pairs" noisy "smoke=model:$work/model" --against noisy --every 2 --jobs 1 \
  --quietwire "$program" --out "$work/scores"
# The block time_frequency, for a few steps only, against the runtime.
run train --data "$work/store" --rir "$work/rir.npz" --out "$work/run-2" --device cpu --steps 10 --batch 4 \
  --seconds 1 --block time_frequency --channels 8 --blocks 2 --frequency 4 --input-hops 3 --summary 8 \
  --loss multi_resolution=1 --validate-every 0
run export "$work/run-2/checkpoint.pt" "$work/model-2" --id smoke-2 --bits 8 --license MIT
run golden "$work/model-2" samples/office-fan.wav "$work/model-2/golden"
"$program" models check "$work/model-2"
"$python" - "$work/scores.json" <<'PY'
import json
import sys

report = json.load(open(sys.argv[1]))
rows = {row["system"]: row for row in report["systems"]}
noisy, smoke = rows["noisy"]["si_sdr_db"], rows["smoke"]["si_sdr_db"]
auc = report["vad"]["smoke"]["speech_probability"]["auc"]
print(f"SI-SDR: noisy {noisy:.2f} dB, smoke model {smoke:.2f} dB; speech detection AUC {auc:.3f}")
assert smoke > noisy + 1.0, "a trained network must improve SI-SDR by more than 1 dB"
assert auc > 0.7, "a trained network must detect speech"
PY
