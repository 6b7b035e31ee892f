#!/bin/sh
# The demo: the pair lab comes up, the active node's proxy is killed under load, and what clients saw
# is judged. On a terminal the TUI then opens on the live lab, as the fault left it.
#
#   lab/demo.sh HAMAN
#
# Exit status: 0 only if every expectation of the drill held.
set -eu

haman=$1

case ${DEMO:-pair} in
    pair) ;;
    anycast)
        echo "DEMO=anycast: the anycast lab is not part of this version yet; DEMO=pair is" >&2
        exit 2
        ;;
    *)
        echo "DEMO=$DEMO: there is no such demo; DEMO=pair is" >&2
        exit 2
        ;;
esac

"$haman" lab up lab/pair.clab.yml --runtime netns
trap '"$haman" lab down' EXIT
trap 'exit 130' INT TERM

status=0
"$haman" lab drill lab/drills/proxy-crash.toml --runtime netns --no-heal || status=$?

if [ -t 0 ] && [ -t 1 ]; then
    printf '\nThe lab is as the fault left it: the proxy of lb1 is dead. Enter opens the TUI on lb2; q ends it. '
    read -r _
    "$haman" lab exec lb2 -- haman tui || status=$?
fi
exit $status
