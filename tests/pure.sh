#!/bin/sh
# The pure crates decide, so they may see no clock, socket, task or engine: neither as a dependency nor by name.
set -eu
cd "$(dirname "$0")/.."
status=0
for crate in prost-kbr prost-package prost-manager prost-contract; do
    tree=$(cargo tree --locked --edges normal --prefix none --package "$crate")
    for forbidden in tokio quinn wasmtime socket2 mio; do
        if printf '%s\n' "$tree" | grep -q "^$forbidden v"; then
            echo "$crate depends on $forbidden" >&2
            status=1
        fi
    done
done
if grep -rnE 'std::(time::(Instant|SystemTime)|net::(Tcp|Udp)|thread)' node/kbr/src node/package/src node/manager/src wit/src; then
    echo "a pure crate names std's clocks, sockets or threads" >&2
    status=1
fi
[ "$status" = 0 ] && echo "the pure crates are pure"
exit "$status"
