"""A real sshd on loopback, with keys of its own, for whatever talks SSH."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from haman.api.targets import Target

SSHD = "/usr/sbin/sshd"
PRIVILEGES_FOLDER = Path("/run/sshd")
SETTINGS = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
PidFile none
UsePAM no
AuthorizedKeysFile {folder}/home/.ssh/id_ed25519.pub /mnt/authorized_keys
StrictModes no
PermitRootLogin yes
PasswordAuthentication {passwords}
AllowStreamLocalForwarding yes
SetEnv SHLVL=1 PATH={path}
"""
"""SHLVL: bash would read the ~/.bashrc of whoever runs the tests."""


@dataclass
class Sshd:
    """A running sshd, and the home of the one who may log in."""

    port: int
    home: Path
    host_key: str
    daemon: subprocess.Popen[bytes]

    @property
    def target(self) -> Target:
        return Target("root", "127.0.0.1", self.port)

    def trust(self, key: str) -> None:
        (self.home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}\n")

    def sessions(self) -> list[int]:
        """The processes that serve connections."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if entry.name.isdigit() and int(words[1]) == self.daemon.pid:
                found.append(int(entry.name))
        return found


@contextmanager
def running_sshd(folder: Path, *, passwords: bool = False, prepare: str = "") -> Iterator[Sshd]:
    """Start one.

    Args:
        folder: for its keys and the home.
        passwords: whether they are let in.
        prepare: shell text run before, in a mount namespace of its own.
    """
    if not shutil.which(SSHD):
        pytest.skip("needs openssh-server")
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    for path in (folder / "host", folder / "other", home / ".ssh/id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "config"
    settings.write_text(
        SETTINGS.format(
            port=port,
            folder=folder,
            passwords="yes" if passwords else "no",
            path=os.environ["PATH"],
        )
    )
    made = not PRIVILEGES_FOLDER.exists()
    PRIVILEGES_FOLDER.mkdir(exist_ok=True)
    command: list[str | Path] = [SSHD, "-D", "-e", "-f", settings]
    if prepare:
        script = f'set -e\n{prepare}\nexec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_for(port, daemon)
        yield Sshd(port, home, (folder / "host.pub").read_text().strip(), daemon)
    finally:
        daemon.terminate()
        daemon.communicate(timeout=10)
        if made and not any(PRIVILEGES_FOLDER.iterdir()):
            PRIVILEGES_FOLDER.rmdir()


def wait_for(port: int, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and daemon.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("sshd does not listen")
