"""What a step costs beside its SSH round trips: `python -m tests.playbook.bench`, as root.

A playbook of commands that do nothing runs through a real sshd on loopback; the same commands run over
the same connection without the runner: the difference is plan, journal (two fsyncs), marks and threads.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from haman.playbook import session, shell
from haman.playbook.events import Event, TaskBegun, TaskEnded
from haman.playbook.hosts import Host
from haman.playbook.inventory import Chosen
from haman.playbook.reader import read
from haman.playbook.runner import Surroundings
from haman.playbook.ssh import Access, SshHosts
from tests.sshd import running_sshd

STEPS = 200


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="haman-bench-"))
    try:
        with running_sshd(folder) as sshd:
            os.environ["HOME"] = str(sshd.home)
            os.environ.pop("SSH_AUTH_SOCK", None)
            sshd.trust(sshd.host_key)
            measure(folder, Host("lb1", "127.0.0.1", "root", sshd.port))
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, host: Host) -> None:
    step = '[[step]]\ndo = "run"\ncommand = "true"\n'
    file = folder / "bench.toml"
    directory = f'[inventory]\ndirectory = "{folder}/state"\n'
    file.write_text(f'name = "bench"\nagents = false\n{directory}{step * STEPS}')
    playbook, problems = read(file, {})
    assert playbook is not None, problems
    hosts = SshHosts({"lb1": host}, Access())
    place = shell.Place(f"{folder}/state", "bare")
    marked, plain = [], []
    for number in range(STEPS):
        plain.append(timed(lambda: hosts.run("lb1", "true", 10)))
        text = shell.marked(place, "x", number, "true", 10)
        marked.append(timed(lambda text=text: hosts.run("lb1", text, 10)))  # type: ignore[misc]
    instants: list[float] = []

    def tell(event: Event) -> None:
        if isinstance(event, TaskBegun | TaskEnded):
            instants.append(time.monotonic())

    order = session.Order(playbook, {}, Chosen({"lb1": host}, ("lb1",)), "bench")
    around = Surroundings(hosts, tell, lambda _q, _s: True, str(folder / "here"))
    session.begin(order, around, folder / "runs", lambda _: None)
    hosts.close()
    whole = [b - a for a, b in zip(instants[::2], instants[2::2], strict=False)]
    beside = statistics.median(whole) - statistics.median(plain)
    say("a command through SSH, and nothing else", plain)
    say("the same with its marks", marked)
    say("a step of a run", whole)
    sys.stdout.write(f"a step beside its SSH round trips: {1000 * beside:.1f} ms\n")


def timed(do: object) -> float:
    began = time.monotonic()
    do()  # type: ignore[operator]
    return time.monotonic() - began


def say(what: str, seconds: list[float]) -> None:
    ranked = sorted(1000 * s for s in seconds)
    median, high = statistics.median(ranked), ranked[int(0.95 * len(ranked))]
    sys.stdout.write(f"{what:<40} median {median:6.1f} ms, 95 % within {high:6.1f} ms\n")


if __name__ == "__main__":
    main()
