# What tests with programs in the background share. Before it is sourced with their arguments,
# `logs` names the files NAME.log in the output folder that are shown when the test fails.
#
# Sets `binary`, `npm_folder`, `relay` (the command), `work` (a folder that goes) and `out` (one that
# stays, if it was asked for); ends `children` with the script.
binary="${1:?usage: ${0##*/} QUIETWIRE_BINARY [OUT_FOLDER]}"
npm_folder="${NPM_FOLDER:-${XDG_CACHE_HOME:-$HOME/.cache}/quietwire-sfu}"
read -ra relay <<<"${RELAY_COMMAND:-}"
((${#relay[@]})) || relay=("$binary" relay)

work="$(mktemp -d)"
out="${2:-$work/out}"
mkdir -p "$out"
children=()
finish() {
  status=$?
  trap - EXIT
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
  if ((status)); then
    for name in "${logs[@]}"; do
      log="$out/$name.log"
      [ -e "$log" ] || continue
      printf '\n=== %s, its last lines\n' "$log"
      tail -n 40 "$log"
    done
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM
