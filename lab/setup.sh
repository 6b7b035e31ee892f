#!/bin/sh
# Sets a fresh Debian or Ubuntu up for haman: system packages (as root), then .venv with the pins.
#
#   lab/setup.sh VENV PROGRAM:PACKAGE…
#
# Services that come with the packages are not started: a lab starts its own, in its namespaces.
# Without root it says which packages are missing and goes on where it can: what needs them says so.
set -eu

venv=$1
shift

missing=
for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done

python=
for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] && "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing:$missing"
        # Debian starts what it installs, unless this file says that it must not (invoke-rc.d(8)).
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            trap 'exit 130' INT TERM
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        apt-get update -qq
        # shellcheck disable=SC2086 # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
        python=${python:-python3}
    else
        echo "missing system packages; as root: apt-get install$missing" >&2
        case $missing in *python3-venv*) exit 1 ;; esac
    fi
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "haman needs Python 3.11 or newer" >&2
    exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
# Or the agents of the first lab would all do it at once.
"$venv/bin/python" -m compileall -q haman tui
