"""What is run on a node, as shell text. Pure; POSIX sh, coreutils, and nothing else.

Each attempt of a task leaves marks below DIRECTORY/RUN: `MARK.begun` with the number of its shell
before it begins, `MARK.status` when it has ended. A connection that is cut in the middle cuts nothing
off: the command goes on, and its marks tell afterwards what became of it. An attempt that has marks is
never begun a second time.
"""

import shlex
from dataclasses import dataclass

KILL_AFTER_S = 5
TIMED_OUT, KILLED = 124, 137
"""Statuses of timeout(1): ended by TERM, and by KILL."""
NO_DIRECTORY, BEGUN, LOCKED = 200, 201, 202
"""Statuses of what is written here."""
RUNS_KEPT = 5
NEVER, RUNNING, LOST, ENDED = "never", "running", "lost", "ended"
"""What `look` says."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the marks of a run are on a node."""

    directory: str
    run: str

    @property
    def folder(self) -> str:
        """Of the run."""
        return f"{self.directory}/{self.run}"

    def mark(self, key: str, attempt: int) -> str:
        """Path of an attempt's marks, without their endings."""
        return f"{self.folder}/{key.replace('/', '=')}.{attempt}"

    def kept(self, key: str) -> str:
        """Path of what an upload replaced."""
        return f"{self.folder}/{key.replace('/', '=')}.replaced"


def marked(place: Place, key: str, attempt: int, command: str, timeout_s: float) -> str:
    """Run a command once, with marks and a deadline of its own.

    The reader at the end swallows what nobody listens to any more: a command must not die of a cut
    connection. Nor of the hang-up, where sudo gives it a terminal of its own.
    """
    mark = shlex.quote(place.mark(key, attempt))
    limited = f"timeout -k {KILL_AFTER_S} {timeout_s:g} sh -c {shlex.quote(command)}"
    # Few processes: builtins where they do, for this stands around every step.
    return f"""m={mark} d={shlex.quote(place.folder)}
[ -d "$d" ] || (umask 077; mkdir -p "$d") || exit {NO_DIRECTORY}
if [ -s "$m.status" ]; then read -r s <"$m.status"; exit "$s"; fi
set -C
if ! echo $$ 2>/dev/null >"$m.begun"; then
    [ -e "$m.begun" ] && exit {BEGUN}
    echo "$m.begun cannot be written"; exit {NO_DIRECTORY}
fi 2>/dev/null
set +C
trap '' HUP
{{ {limited} </dev/null 2>&1; echo $? >"$m.status"; }} | {{ cat 2>/dev/null || cat >/dev/null; }}
read -r s <"$m.status"; exit "$s"
"""


def look(place: Place, key: str, attempt: int) -> str:
    """Tell what became of an attempt: one of the four words, and the status after `ended`."""
    mark = shlex.quote(place.mark(key, attempt))
    return f"""m={mark}
told() {{ [ -s "$m.status" ] && read -r s <"$m.status" && echo {ENDED} "$s"; }}
if told; then :
elif [ ! -e "$m.begun" ]; then echo {NEVER}
elif kill -0 "$(cat "$m.begun")" 2>/dev/null; then echo {RUNNING}
elif told; then :
else echo {LOST}
fi
"""


def receive(temporary: str) -> str:
    """Take a file on standard input; print its checksum. Half a file never stays."""
    path = shlex.quote(temporary)
    return f"""umask 077
if cat >{path}; then sha256sum <{path}; else s=$?; rm -f {path}; exit $s; fi
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A received file, and where it belongs.

    Attributes:
        kept: where what it replaces is kept.
        mode: "" = that of the file that it replaces, else 0644.
        owner: "" = that of the file that it replaces, else whoever writes.
        validate: shell text that must succeed first; "" = nothing is asked.
    """

    temporary: str
    target: str
    kept: str
    mode: str = ""
    owner: str = ""
    validate: str = ""


def put(arrival: Arrival) -> str:
    """Put a received file in its place, at once, once it is accepted; keep what it replaces.

    A symbolic link is followed: what it leads to is replaced, and the link stays.
    """
    new, kept = shlex.quote(arrival.temporary), shlex.quote(arrival.kept)
    to, mode, owner, validate = (
        shlex.quote(arrival.target),
        arrival.mode,
        arrival.owner,
        arrival.validate,
    )
    lines = ["set -e", f"t={new}", "trap 'rm -f \"$t\"' EXIT", f"to=$(readlink -f {to})"]
    like = 'if [ -e "$to" ]; then chmod --reference="$to" "$t"; else chmod 0644 "$t"; fi'
    owned = 'if [ -e "$to" ] && [ "$(id -u)" = 0 ]; then chown --reference="$to" "$t"; fi'
    lines.append(f'chown {shlex.quote(owner)} "$t"' if owner else owned)
    lines.append(f'chmod {mode} "$t"' if mode else like)
    if validate:
        lines.append(validate)
    lines.append(
        f'if [ -e "$to" ]; then [ -e {kept} ] || {{ cp -p "$to" {kept}.new; mv {kept}.new {kept}; }}; '
        f"else : >{kept}.absent; fi"
    )
    lines.append('sync "$t"')
    lines.append('mv "$t" "$to"')
    return "\n".join(lines) + "\n"


def restore(kept_at: str, target: str) -> str:
    """Put back what an upload replaced; nothing where it replaced nothing yet."""
    kept, to = shlex.quote(kept_at), shlex.quote(target)
    return f"""set -e
to=$(readlink -f {to})
if [ -e {kept} ]; then cp -p {kept} "$to.haman-restored"; mv "$to.haman-restored" "$to"
elif [ -e {kept}.absent ]; then rm -f "$to"
fi
"""


def lock(place: Place, holder: str) -> str:
    """Take a node for a run; `holder` tells people who has it. Its own lock is taken again."""
    directory, run = shlex.quote(place.directory), shlex.quote(place.run)
    text = shlex.quote(f"{place.run}\n{holder}")
    return f"""(umask 077; mkdir -p {directory}) || exit {NO_DIRECTORY}
l={directory}/lock
(set -C; echo {text} >"$l") 2>/dev/null && exit 0
[ -e "$l" ] || {{ echo "$l cannot be written" >&2; exit {NO_DIRECTORY}; }}
[ "$(head -n 1 "$l")" = {run} ] && exit 0
cat "$l"
exit {LOCKED}
"""


def unlock(place: Place) -> str:
    """Let a node go, and forget all but the last runs."""
    directory, run = shlex.quote(place.directory), shlex.quote(place.run)
    return f"""cd {directory} 2>/dev/null || exit 0
[ "$(head -n 1 lock 2>/dev/null)" != {run} ] || rm -f lock
ls -1td -- */ 2>/dev/null | tail -n +{RUNS_KEPT + 1} | while read -r d; do rm -rf -- "$d"; done
"""
