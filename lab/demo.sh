#!/bin/sh
# The demo: a lab comes up, a node's proxy is killed under load, and what clients saw is judged. On a
# terminal the TUI then opens on the live lab, as the fault left it.
#
#   lab/demo.sh HAMAN
#
# DEMO=pair (the default): the active node of two that share a floating address. DEMO=anycast: one of
# three nodes that a router spreads the clients over. Exit status: 0 only if every expectation held.
set -eu

haman=$1

case ${DEMO:-pair} in
    pair) drill=proxy-crash ;;
    anycast) drill=anycast-proxy-crash ;;
    *)
        echo "DEMO=$DEMO: there is no such demo; DEMO=pair and DEMO=anycast are" >&2
        exit 2
        ;;
esac

"$haman" lab up "lab/${DEMO:-pair}.clab.yml" --runtime netns
trap '"$haman" lab down' EXIT
trap 'exit 130' INT TERM

status=0
"$haman" lab drill "lab/drills/$drill.toml" --runtime netns --no-heal || status=$?

if [ "$drill" = anycast-proxy-crash ]; then
    printf '\nWhere the router sends new connections now:\n'
    "$haman" lab exec router -- ip route show 192.0.2.100 || status=$?
    "$haman" lab exec router -- ip -6 route show 2001:db8::100 || status=$?
fi

if [ -t 0 ] && [ -t 1 ]; then
    printf '\nThe lab is as the fault left it: the proxy of lb1 is dead. Enter opens the TUI on lb2; q ends it. '
    read -r _
    "$haman" lab exec lb2 -- haman tui || status=$?
fi
exit $status
