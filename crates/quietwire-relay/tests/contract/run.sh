#!/usr/bin/env bash
# Tests the control interface against its OpenAPI description: generated requests (schemathesis), and a
# client that is generated from the description.
#
#   run.sh target/debug/quietwire
#
# Needs curl, and the Python packages schemathesis and openapi-python-client. PYTHON: the interpreter that
# has them.
set -euo pipefail

quietwire="$1"
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python3}"
bin="$(dirname "$(command -v "$python")")"
work="$(mktemp -d)"
relay=
trap '[ -z "$relay" ] || kill "$relay"; rm -rf "$work"' EXIT

start() { # arguments of the relay
  : >"$work/ready"
  "$quietwire" relay --http 127.0.0.1:0 --workers 1 --log-level error "$@" >"$work/ready" 2>"$work/log" &
  relay=$!
  until grep -q control "$work/ready"; do
    kill -0 "$relay"
    sleep 0.1
  done
  url="$(sed -n 's/^relay: control on \(.*\), .*/\1/p' "$work/ready")"
}

# The events have no end. Rules between fields (the length of a key follows from its suite) are not in the
# description, so a request that it allows may be rejected.
generated() { # more options
  "$bin/st" run "$url/openapi.json" --exclude-path /v1/events --exclude-checks "$checks" --max-examples 30 --seed 1 \
    --workers 1 --continue-on-failure --no-color "$@"
}

cd "$work"
start
checks=positive_data_acceptance
generated --exclude-path /v1/bulk/create
# Each stream of this request has a result of its own, so that a wrong one is no wrong request.
checks=positive_data_acceptance,negative_data_rejection
generated --include-path /v1/bulk/create
kill -0 "$relay"
if [ -s "$work/log" ]; then
  cat "$work/log" >&2
  exit 1
fi

curl -sf "$url/openapi.json" -o openapi.json
kill "$relay"
wait "$relay"
relay=
"$bin/openapi-python-client" generate --path openapi.json --output-path client --meta none >generate.log 2>&1 || {
  cat generate.log >&2
  exit 1
}
echo s3cret >tokens
start --token-file tokens
PYTHONPATH="$work" "$python" "$here/use_client.py" "$url" s3cret
