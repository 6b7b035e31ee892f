#!/bin/bash
# FRR on the lab's router, as Debian's own start script does it: the daemons, then /etc/frr/frr.conf through
# vtysh. They end together: process 1 starts all of them again, and the configuration with them.
#
# `vtysh -b` says where the configuration begins and ends, and FRR 8 then holds every session back for 4 s more. So
# does a router that is restarted here; the first time the same lines are typed, for nobody wants to wait for a lab.
set -euo pipefail

start() {
    local daemon=$1 socket=/run/frr/$2
    shift 2
    "/usr/lib/frr/$daemon" "$@" &
    for _ in {1..200}; do
        [ ! -S "$socket" ] || return 0
        sleep 0.05
    done
    echo "$daemon does not come up" >&2
    return 1
}

# FRR keeps crash logs below /var/tmp; those of a node in namespaces stay in it.
mount -t tmpfs lab /var/tmp
install -d -o frr -g frr /run/frr
rm -f /run/frr/*.vty /run/frr/*.api
trap 'kill $(jobs -p) 2>/dev/null' EXIT
# The others look for zebra once, and then not again for ten seconds.
# Without the option FRR deletes an IPv6 route and adds it again to change its next hops.
start zebra zserv.api --v6-rr-semantics
# From FRR 9 on static routes are configured through one more daemon.
[ ! -x /usr/lib/frr/mgmtd ] || start mgmtd mgmtd.vty
for daemon in staticd bgpd bfdd; do
    start "$daemon" "$daemon.vty"
done
# What the routers of the lab say to each other, where there are several.
files=(/etc/frr/frr.conf)
[ ! -e /etc/lab/fabric.conf ] || files+=(/etc/lab/fabric.conf)
if [ -e /run/lab/frr-ran ]; then
    vtysh -b
    for file in "${files[@]:1}"; do vtysh -f "$file"; done
else
    (echo "configure terminal"; cat "${files[@]}") | vtysh >/run/lab/frr-typed
    ! grep '^%' /run/lab/frr-typed >&2
    touch /run/lab/frr-ran
fi
wait -n
