#!/bin/sh
# Makes a Debian base image without any registry of images: debootstrap, then `docker import`.
#
#   lab/image/base.sh IMAGE             as root; MIRROR and SUITE say where from and which Debian; by
#                                       default where this machine's own packages come from
set -eu

image=$1
suite=${SUITE:-bookworm}
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)}

if ! command -v debootstrap >/dev/null; then
    echo "lab/image/base.sh: needs debootstrap; as root: apt-get install debootstrap" >&2
    exit 1
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$root"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >&2
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar --numeric-owner -C "$root" -c . | docker import - "$image"
