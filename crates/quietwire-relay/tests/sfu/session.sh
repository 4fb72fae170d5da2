# Shared by the tests with programs in the background, which source it with their arguments. Before,
# they set `logs`: the names of the files NAME.log in the output folder that a failed test prints.
#
# Sets `binary`, `npm_folder`, `relay` (the command), `work` (a temporary folder) and `out` (the output
# folder). Ends the processes in `children` with the script.
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
      printf '\n=== %s, last lines\n' "$log"
      tail -n 40 "$log"
    done
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM
