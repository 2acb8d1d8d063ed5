# One per run: the parent of the program. It outlives the master, as the program does.
#   $1 directory of the run   $2 its cgroup, or nothing   $3 not empty: orphans come to this shell
#   $4 a FIFO that every master holds open, or nothing   $5 seconds without one   $6… the program
d=$1; c=$2; o=$3; m=$4; patience=$5; shift 5
[ -z "$c" ] || echo 0 >"$c/cgroup.procs" || exit 125
trap : INT TERM HUP
if [ -p "$d/control" ]; then
  # What is to be said stands in numbered files. Each is given once, by whoever reads along, master or not.
  while :; do
    e=; [ ! -e "$d/end" ] || e=1
    for f in "$d"/input/*; do
      [ ! -f "$f" ] || { command -p cat "$f" && command -p mv "$f" "$d/given/"; }
    done
    [ -z "$e" ] && read -r n || break
  done <>"$d/control" >"$d/stdin" 2>/dev/null &
  p=$!
  # Where no master comes back in time, nobody has anything to say: the input ends, and with it the program.
  e=
  while [ -p "$m" ]; do
    while read -r n; do :; done <"$m"
    command -p sleep "$patience" & t=$!
    { : <"$m"; kill "$t"; } & b=$!
    trap 'kill "$t" "$b"; exit' TERM
    wait "$t" && e=1
    trap - TERM
    [ -z "$e" ] || { kill "$b"; : >"$d/end"; echo >"$d/control"; break; }
    wait "$b"
  done 2>/dev/null &
  w=$!
  "$@" <"$d/stdin"; s=$?
  kill "$p" "$w" 2>/dev/null; wait "$p" "$w" 2>/dev/null
else
  "$@"; s=$?
fi
echo "$s" >"$d/exit"
# What the program left running: asked to end, and killed a second later.
left() {
  k=
  if [ -n "$c" ]; then
    while read -r x; do [ "$x" = "$$" ] || k="$k $x"; done <"$c/cgroup.procs"
  elif [ -n "$o" ]; then
    read -r k <"/proc/$$/task/$$/children"
  fi
}
i=0
while left; [ -n "$k" ] && [ $i -lt 80 ]; do
  [ $i -ne 1 ] || { set -- $k; echo $# >"$d/left"; kill -TERM $k; }
  [ $i -lt 20 ] || kill -KILL $k
  i=$((i + 1)); command -p sleep 0.05
done 2>/dev/null
exit "$s"
