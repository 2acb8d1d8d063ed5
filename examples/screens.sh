#!/usr/bin/env bash
# Captures real screens of `gcluster steer` as text: a master with the rehearsal backend in a temporary directory, the
# team of team.p, tmux. Prints them, or puts them between the markers of a Markdown file:
#
#   examples/screens.sh                 # all screens on standard output
#   examples/screens.sh README.md       # between <!-- screen NAME --> and <!-- end --> of that file
#
# GCLUSTER names the binary; default: the one that `cargo build --release` makes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
gcluster=${GCLUSTER:-$here/../target/release/gcluster}
command -v tmux >/dev/null || { echo "screens.sh: tmux is not installed" >&2; exit 1; }
[ -x "$gcluster" ] || { echo "screens.sh: no binary at $gcluster: run cargo build --release, or set GCLUSTER" >&2; exit 1; }
gcluster=$(realpath "$gcluster")

dir=$(mktemp -d)
tmux() { command tmux -L "screens-$$" "$@"; }
finish() {
  tmux kill-server 2>/dev/null || true
  (cd "$dir" && GCLUSTER_DATA_DIR=$dir/data "$gcluster" down >/dev/null 2>&1) || true
  rm -rf "$dir"
}
trap finish EXIT

mkdir "$dir/work"
cp "$here/team.p" "$dir/work/team.p"
cd "$dir/work"
export GCLUSTER_DATA_DIR=$dir/data LANG=C.UTF-8 NO_COLOR=1
"$gcluster" up -d -f team.p --addr 127.0.0.1:0 --backend rehearsal >/dev/null 2>&1
tmux new-session -d -s steer -x 100 -y 26 "$gcluster steer --theme plain"

# Waits until the screen shows a text.
shows() {
  for _ in $(seq 300); do
    tmux capture-pane -p -t steer | grep -q -- "$1" && return
    sleep 0.1
  done
  echo "screens.sh: waited in vain for \"$1\" on:" >&2
  tmux capture-pane -p -t steer >&2
  exit 1
}
keys() { for key in "$@"; do tmux send-keys -t steer "$key"; sleep 0.2; done; }
capture() { tmux capture-pane -p -t steer | sed 's/[[:space:]]*$//' >"$dir/$1.screen"; }

shows '… 1 more'
capture agents
keys i
tmux send-keys -t steer -l 'Look at issue 12 first.'
keys Enter
shows 'has read your message'
keys Escape g j j Enter
shows 'Look at issue 12 first.'
capture conversation
keys Escape Escape g j e
shows 'loop('
capture prompt

if [ $# -eq 0 ]; then
  for screen in "$dir"/*.screen; do
    printf '%s\n\n' "-- $(basename "$screen" .screen)"
    cat "$screen"
  done
  exit
fi
cd "$here/.."
for file in "$@"; do
  awk -v dir="$dir" '
    /^<!-- screen [a-z]+ -->$/ {
      print; print "```text"
      screen = dir "/" $3 ".screen"
      while ((getline line < screen) > 0) print line
      print "```"; skip = 1; next
    }
    /^<!-- end -->$/ { skip = 0 }
    !skip { print }
  ' "$file" >"$dir/new"
  cat "$dir/new" >"$file"
done
