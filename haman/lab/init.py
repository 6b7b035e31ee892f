"""Process 1 of a lab node: starts what the node's list names, reaps, and restarts like systemd.

`/etc/lab/processes.toml`:

    [[process]]
    name = "agent"
    command = ["haman", "agent", "-c", "/etc/haman/haman.toml"]
    runtime_directory = "haman"   # made below /run first [""]
    restart_delay_s = 1           # restarted this long after it ended [absent: it stays down]
    needs = "/usr/sbin/sshd"      # not started where this program is not installed [""]

SIGHUP starts everything on the list that is not running; a topology's last `exec` sends it, so
that namespaces and containerlab start a node the same way. While the file `/run/lab/held` exists
nothing is restarted, as after `systemctl stop`; SIGHUP removes it.

Output of each process goes to `/run/lab/logs/NODE-PROCESS.log`. The loop waits for signals and for
the next restart, nothing else. Every node of a lab starts one: it loads the standard library alone, and
little of that.
"""

import os
import signal
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

LIST = Path("/etc/lab/processes.toml")
HELD = Path("/run/lab/held")
LOGS = Path("/run/lab/logs")
SIGNALS = {signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM}
IDLE_S = 3600.0


class Entry(NamedTuple):
    """One process of the list."""

    name: str
    command: tuple[str, ...]
    runtime_directory: str = ""
    restart_delay_s: float | None = None
    needs: str = ""


def read_list(path: Path) -> tuple[Entry, ...]:
    """The start list of a node; a node without one starts nothing.

    Raises:
        ValueError: the file is not a list of processes; the text says where.
    """
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    entries = []
    for i, item in enumerate(document.get("process", ())):
        unknown = set(item) - set(Entry._fields)
        if unknown or not item.get("name") or not item.get("command"):
            what = f"unknown keys {sorted(unknown)}" if unknown else "name and command are needed"
            raise ValueError(f"{path}: process[{i}]: {what}")
        entries.append(Entry(**{**item, "command": tuple(item["command"])}))
    return tuple(entries)


class Init:
    """The running and the waiting processes of this node."""

    def __init__(self) -> None:
        self.running: dict[int, Entry] = {}
        self.restart_at: dict[Entry, float] = {}
        self.node = os.uname().nodename

    def run(self) -> int:
        """Serve until SIGTERM; everything inside dies with process 1."""
        while True:
            due = min(self.restart_at.values(), default=time.monotonic() + IDLE_S)
            got = signal.sigtimedwait(SIGNALS, max(0.0, due - time.monotonic()))
            if got and got.si_signo == signal.SIGTERM:
                return 0
            if got and got.si_signo == signal.SIGHUP:
                self.start_all()
            self.reap()
            self.restart_due()

    def start_all(self) -> None:
        """Start what the list names and does not run."""
        HELD.unlink(missing_ok=True)
        self.restart_at.clear()
        try:
            entries = read_list(LIST)
        except ValueError as error:
            say(str(error))
            return
        up = {entry.name for entry in self.running.values()}
        for entry in entries:
            absent = entry.needs and not os.access(entry.needs, os.X_OK)
            if entry.name not in up and not absent:
                self.start(entry)

    def start(self, entry: Entry) -> None:
        """Spawn one process, its output into its log."""
        if entry.runtime_directory:
            (Path("/run") / entry.runtime_directory).mkdir(parents=True, exist_ok=True)
        log = os.open(
            LOGS / f"{self.node}-{entry.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
        )
        try:
            pid = os.posix_spawnp(
                entry.command[0],
                entry.command,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
                setsigmask=(),
                setsid=True,
            )
        except OSError as error:
            say(f"{entry.name}: cannot start {entry.command[0]}: {error.strerror}")
        else:
            self.running[pid] = entry
            say(f"{entry.name}: started, pid {pid}")
        finally:
            os.close(log)

    def reap(self) -> None:
        """Collect every child that ended, orphans of the node included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            entry = self.running.pop(pid, None)
            if entry is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            say(f"{entry.name}: ended, {f'signal {-code}' if code < 0 else f'status {code}'}")
            if entry.restart_delay_s is not None:
                self.restart_at[entry] = time.monotonic() + entry.restart_delay_s

    def restart_due(self) -> None:
        """Start what has waited long enough, unless this node is held."""
        now = time.monotonic()
        for entry in [entry for entry, due in self.restart_at.items() if due <= now]:
            del self.restart_at[entry]
            if not HELD.exists():
                self.start(entry)


def say(text: str) -> None:
    """One line of this node's own log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def serve(ready_fd: int | None = None) -> int:
    """Be process 1 of this node; `ready_fd` is told when it listens."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    LOGS.mkdir(parents=True, exist_ok=True)
    init = Init()
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    return init.run()


def main() -> int:
    """Run as a program, as containers do."""
    return serve()


if __name__ == "__main__":
    sys.exit(main())
