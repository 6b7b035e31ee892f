#!/bin/sh
# What systemctl is on a real node: process 1 of a lab's node starts what has ended when it gets HUP.
#
#   service.sh restart|reload haproxy
#   service.sh restart haman
set -eu

pidfile=/run/haproxy/haproxy.pid

alive() {
    kill -0 "$(cat $pidfile)" 2>/dev/null
}

case "$1 $2" in
    "restart haproxy")
        if alive; then
            old=$(cat $pidfile)
            kill -TERM "$old"
            while kill -0 "$old" 2>/dev/null; do sleep 0.02; done
        fi
        rm -f $pidfile
        tries=0
        until [ -s $pidfile ] && alive; do
            kill -HUP 1
            tries=$((tries + 1))
            [ $tries -le 100 ] || { echo "haproxy does not come up" >&2; exit 1; }
            sleep 0.1
        done
        ;;
    "reload haproxy")
        haproxy -c -q -f /etc/haproxy/haproxy.cfg
        kill -USR2 "$(cat $pidfile)"
        ;;
    "restart haman")
        # Process 1 starts it again after a second, as systemd would.
        old=$(pgrep -o -f 'haman agent -c')
        kill -TERM "$old"
        tries=0
        until new=$(pgrep -o -f 'haman agent -c') && [ "$new" != "$old" ] && haman status >/dev/null 2>&1; do
            tries=$((tries + 1))
            [ $tries -le 100 ] || { echo "the agent does not come up" >&2; exit 1; }
            sleep 0.1
        done
        ;;
    *)
        echo "there is no $2 to $1" >&2
        exit 2
        ;;
esac
