"""A systemd of its own: booted in namespaces, with the files of this machine beneath and none of its units."""

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
BOOT_S, WAIT_S = 30.0, 30.0
BEFORE = r"""
set -eu
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs tmp /tmp
for each in etc var; do
    mkdir -p "/run/over/$each/up" "/run/over/$each/work"
    mount -t overlay -o "lowerdir=/$each,upperdir=/run/over/$each/up,workdir=/run/over/$each/work" \
        over "/$each"
done
mount -t sysfs sys /sys
mount -t tmpfs cgroup /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd 2>/dev/null ||
    { rmdir /sys/fs/cgroup/systemd; umount /sys/fs/cgroup; mount -t cgroup2 cgroup /sys/fs/cgroup; }
rm -rf /etc/systemd/system/*
for each in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-udev-trigger.service systemd-modules-load.service systemd-sysctl.service \
    kmod-static-nodes.service systemd-tmpfiles-setup-dev.service dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount tmp.mount \
    systemd-logind.service systemd-timesyncd.service systemd-random-seed.service getty.target
do ln -sf /dev/null "/etc/systemd/system/$each"; done
ip link set lo up
ip link add name eth1 type veth peer name eth2
ip link set eth1 up
ip link set eth2 up
ip address add 10.79.0.11/24 dev eth1
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal
"""
JOIN = 'for group in "$@"; do echo $$ >"$group/cgroup.procs"; done; '
UNSHARE = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"]
UNSHARE += ["--mount-proc", "--kill-child", "--propagation", "private"]


class NotBootedError(Exception):
    """There is no systemd that could be booted here; the text says why."""


class Booted:
    """It runs until `close`, or until this process ends."""

    def __init__(self) -> None:
        if not SYSTEMD.exists():
            raise NotBootedError("there is no systemd")
        self._groups = [root / f"haman-test-{os.getpid()}" for root in _roots()]
        for group in self._groups:
            group.mkdir(exist_ok=True)
        boot = JOIN + "exec " + shlex.join([*UNSHARE, "sh", "-c", BEFORE])
        self._unshare = subprocess.Popen(
            ["sh", "-ec", boot, "sh", *map(str, self._groups)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._pid = 0
        until_s = time.monotonic() + BOOT_S
        while self.run("systemctl", "is-system-running", check=False).strip() != "running":
            if self._unshare.poll() is not None or time.monotonic() > until_s:
                raise NotBootedError(f"systemd does not boot in namespaces here: {self.close()}")
            time.sleep(0.05)

    def close(self) -> str:
        """End all of it; what it had to complain about."""
        self._unshare.kill()
        told = self._unshare.communicate()[1].strip()
        until_s = time.monotonic() + BOOT_S
        while any(group.exists() for group in self._groups) and time.monotonic() < until_s:
            for group in self._groups:
                for inner in sorted(group.glob("**/"), key=lambda p: -len(p.parts)):
                    with contextlib.suppress(OSError):  # its last process is about to be gone
                        inner.rmdir()
        return told

    def run(self, *words: str, check: bool = True) -> str:
        """What a command says in there."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        if not self._pid and not (told := children.read_text().split()):
            return ""
        self._pid = self._pid or int(told[0])
        nsenter = ["nsenter", "--target", str(self._pid), "--all", "--"]
        done = subprocess.run([*nsenter, *words], capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}: {done.stderr}")
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """A file in there."""
        shell = f"mkdir -p {Path(path).parent} && cat > {path}"
        nsenter = ["nsenter", "--target", str(self._pid), "--all", "--", "sh", "-c", shell]
        subprocess.run(nsenter, input=text, text=True, check=True)

    def show(self, unit: str, what: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--property", what, "--value", unit).strip()

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
        """Until the condition holds."""
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until_s, f"not within {timeout_s} s: {what}\n{self.log()}"
            time.sleep(0.02)

    def log(self) -> str:
        """What was logged, for a test that fails."""
        words = ("journalctl", "--no-pager", "--output", "cat", "--lines", "40", "--unit", "haman")
        return self.run(*words, check=False)


def _roots() -> list[Path]:
    """Where systemd makes its control groups: version 1 with or without 2 beside it, or 2 alone."""
    root = Path("/sys/fs/cgroup")
    beside = [root / name for name in ("systemd", "unified") if (root / name).exists()]
    return beside or [root]


def hides_home() -> bool:
    """Whether the interpreter lives where `ProtectHome=` hides it; a packaged one does not."""
    return any(
        str(Path(p).resolve()).startswith(("/root", "/home")) for p in (sys.base_prefix, ROOT)
    )
