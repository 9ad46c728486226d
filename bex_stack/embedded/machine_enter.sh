#!/bin/sh
# Runs a program inside a machine, waiting for the machine to be up.
# Usage: machine_enter.sh MACHINE_DIR NETNS_FILE PROGRAM ARGUMENT...; BEX_NEEDS names a socket inside the
# machine without which the program would only start, fail and be started again a second later.
set -eu
disk=$1 netns=$2
shift 2

is_up() { # the id may have been reused: it must be the first process of its namespace, in our network
  [ -s "$disk/run/init.pid" ] && read -r pid < "$disk/run/init.pid" &&
    [ "$(stat -Lc %i "/proc/$pid/ns/net" 2> /dev/null)" = "$(stat -Lc %i "$netns" 2> /dev/null)" ] &&
    grep -q '^NSpid:[[:space:]]*[0-9]*[[:space:]]*1$' "/proc/$pid/status" 2> /dev/null
}
has_needed() {
  [ -z "${BEX_NEEDS:-}" ] || [ -S "/proc/$pid/root$BEX_NEEDS" ]
}
tries=0
until is_up && has_needed; do
  tries=$((tries + 1))
  if [ "$tries" -gt 400 ]; then
    echo "the machine${BEX_NEEDS:+ or its $BEX_NEEDS} did not come up within 20 s" >&2
    exit 1
  fi
  sleep 0.05
done
export PATH="/opt/bex/machine:/opt/bex/kubernetes:$PATH"
# nsenter stays outside as the parent. Should it be killed, the program must not live on unseen.
exec nsenter --target "$pid" --net --uts --ipc --mount --pid -- setpriv --pdeathsig KILL -- "$@"
