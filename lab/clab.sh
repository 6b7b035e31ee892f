#!/bin/sh
# The drills on real containerlab: checks what is needed and says what is missing, then builds the image,
# deploys each topology, runs its drills, destroys it. Installs nothing.
#
#   lab/clab.sh HAMAN [DRILL…]        DRILL: files; none = all of lab/drills
#
# SLACK widens bounds of time [3]: containers get no real-time scheduling from every Docker.
# Exit status: 0 every expectation held, 1 one did not, 3 something is missing.
set -eu

haman=$1
shift

missing=
for program in docker containerlab; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "make lab-clab: not here:$missing" >&2
    echo "  docker        Debian's package docker.io, or https://docs.docker.com/engine/install/" >&2
    echo "  containerlab  https://containerlab.dev/install/, or with Go 1.26:" >&2
    echo "                go install github.com/srl-labs/containerlab@v0.79.0" >&2
    exit 3
fi
if ! docker version >/dev/null 2>&1; then
    echo "make lab-clab: no Docker daemon answers; start one, or name it in DOCKER_HOST" >&2
    exit 3
fi

lab/image/build.sh
[ $# -gt 0 ] || set -- --all
"$haman" lab drill "$@" --runtime containerlab --slack "${SLACK:-3}" --report .lab/containerlab
