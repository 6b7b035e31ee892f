"""The shipped labs with a playbook running on them, and clients whose connections end by themselves."""

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from haman.cli.lab import make_cluster_key
from haman.lab import agent, kernel, lab
from haman.lab.probe import Order, Result
from haman.lab.run import Client
from tests.lab.labs import quiet

SHIPPED = Path(__file__).parents[2] / "lab"
RESTART = "command=/etc/lab/service.sh restart haproxy"
ECHO_PORT = 7000
STAY_S = 1.0
"""How long clients stay after their node was drained."""


@contextmanager
def brought_up(tree: Path, name: str) -> Iterator[lab.Lab]:
    """The shipped lab in a checkout of its own."""
    (tree / ".git").mkdir(parents=True)
    path = Path(shutil.copytree(SHIPPED, tree / "lab")) / f"{name}.clab.yml"
    try:
        yield lab.up(path, make_cluster_key, say=quiet)
    finally:
        lab.down(path)


def playbook(
    running: lab.Lab,
    folder: Path,
    *words: str,
    timeout_s: float = 100,
    ssh: str = "root@10.77.0.11",
) -> subprocess.CompletedProcess[str]:
    """Run `haman playbook` on the client's node, the way an operator would."""
    verb, *rest = words
    command = ["haman", "playbook", verb, *rest, "-i", "/etc/lab/ssh/client_key"]
    if verb == "run":
        command += ["--ssh", ssh]
    return running.runtime.exec(
        "client", [*command, "--journal", str(folder / "runs")], timeout_s=timeout_s
    )


def quick(folder: Path, name: str) -> str:
    """A shipped playbook that watches each node for half a second only."""
    text = (SHIPPED.parent / "playbooks" / f"{name}.toml").read_text()
    path = folder / f"{name}.toml"
    soak = "soak_s = 0.5"
    text, had = re.subn(r"^soak_s = .*$", soak, text, flags=re.MULTILINE)
    if not had and "[guards]" in text:
        text = text.replace("[guards]", f"[guards]\n{soak}", 1)
    elif not had:
        text = text.replace("[[step]]", f"[guards]\n{soak}\n\n[[step]]", 1)
    path.write_text(text)
    return str(path)


def proxy_pid(running: lab.Lab, node: str) -> str:
    return running.runtime.exec(node, ["cat", "/run/haproxy/haproxy.pid"]).stdout


class Guests:
    """Connections to the nodes' own addresses that talk on, and leave when their node is drained."""

    def __init__(self, running: lab.Lab, addresses: dict[str, str], each: int = 10) -> None:
        self.lost: list[str] = []
        self.left: set[str] = set()
        self._running = running
        self._stop = threading.Event()
        pid = running.runtime.pids["client"]

        def connect(address: str) -> list[socket.socket]:
            return [socket.create_connection((address, ECHO_PORT), timeout=5) for _ in range(each)]

        self._guests = {
            node: kernel.in_netns(pid, lambda a=address: connect(a))  # type: ignore[misc]
            for node, address in addresses.items()
        }
        self._thread = threading.Thread(target=self._talk, name="guests")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for guests in self._guests.values():
            for guest in guests:
                guest.close()

    def _talk(self) -> None:
        drained_at: dict[str, float] = {}
        while not self._stop.wait(0.1):
            for node, guests in self._guests.items():
                for guest in list(guests):
                    if not self._answers(guest):
                        self.lost.append(node)
                        guests.remove(guest)
                        guest.close()
                if node not in drained_at and agent.drained(self._running.runtime, node):
                    drained_at[node] = time.monotonic()
                if node in drained_at and time.monotonic() - drained_at[node] > STAY_S:
                    self.left.add(node)
                    while guests:
                        guests.pop().close()

    def _answers(self, guest: socket.socket) -> bool:
        with contextlib.suppress(OSError):
            guest.sendall(b"hello")
            return guest.recv(16) == b"hello"
        return False


@contextmanager
def asking(running: lab.Lab, address: str, duration_s: float) -> Iterator[list[Result]]:
    """New connections to a service meanwhile; the list has what they saw when the context ends."""
    order = Order(address=address, duration_s=duration_s, mode="connect", new_per_s=200)
    seen: list[Result] = []
    with Client(running, order) as client:
        yield seen
        seen.append(client.result())
