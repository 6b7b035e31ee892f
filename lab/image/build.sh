#!/bin/sh
# Builds the image that the lab's topologies name, from this checkout.
#
#   lab/image/build.sh [IMAGE]          haman-lab, if no other name is given
#
# The base is debian:bookworm-slim; where no registry is reachable, one made by debootstrap (base.sh).
set -eu

cd "$(dirname "$0")/../.."
image=${1:-haman-lab}
base=debian:bookworm-slim

if ! docker version >/dev/null 2>&1; then
    echo "lab/image/build.sh: no Docker daemon answers; start one, or name it in DOCKER_HOST" >&2
    exit 1
fi
if ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull --quiet "$base"; then
    base=haman-lab-base:bookworm
    docker image inspect "$base" >/dev/null 2>&1 || lab/image/base.sh "$base"
fi

# The context: what the Dockerfile copies, and no more.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 130' INT TERM
mkdir "$context/ca" "$context/source"
find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$context/ca/" ';' 2>/dev/null || :
cp requirements.txt "$context"
cp -r pyproject.toml README.md LICENSE haman playbooks tui "$context/source"
find "$context" -name __pycache__ -prune -exec rm -rf {} +

# The daemon's default bridge may be off; the host's own network always reaches Debian and PyPI.
docker build --network host --build-arg BASE="$base" -t "$image" -f lab/image/Dockerfile "$context"
