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

# The distribution's own first: it is built with profile-guided optimization, which Pythons that somebody
# compiled often are not, and what agents load takes a quarter less processor time with it.
# Any that can make environments goes before one that cannot yet.
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
python=
able='import ensurepip, venv'
for wanted in "$able" pass; do
    for candidate in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c "$new_enough" 2>/dev/null && "$candidate" -c "$wanted" 2>/dev/null; then
            python=$candidate
            break 2
        fi
    done
done
[ -n "$python" ] && "$python" -c "$able" 2>/dev/null || missing="$missing python3-venv"

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

if ! "$python" -c "$new_enough" 2>/dev/null; then
    echo "haman needs Python 3.11 or newer" >&2
    exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
# Or the agents of the first lab would all do it at once.
"$venv/bin/python" -m compileall -q haman tui
