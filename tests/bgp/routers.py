"""BGP routers in namespaces: FRR's daemons and BIRD, from Debian's packages.

    node, router = Namespace(), Namespace()
    connect(node, router, 1)            # 10.0.1.2 and 2001:db8:1::2, 10.0.1.1 and 2001:db8:1::1
    with Frr(router, BGP) as frr:       # zebra and bgpd; more by name
        wait(lambda: frr.established("10.0.1.2"))
        frr.kernel("192.0.2.100")       # next hops in the kernel's table

Whatever a router writes lies in a directory of its own under /tmp, which goes with it; nothing is
touched outside its namespace. Programs are started in a process group of their own, write to files
and not to pipes, and are killed as a group and waited for.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests import leash
from tests.engine.net import Namespace, wait

FRR_DAEMONS = Path("/usr/lib/frr")


def connect(node: Namespace, router: Namespace, number: int) -> None:
    """A cable: `toN` on the node with 10.0.N.2, `toN` on the router with 10.0.N.1; IPv6 likewise."""
    for space in (node, router):
        space.run(
            "ip link set lo up;"
            "for c in all default; do echo 0 > /proc/sys/net/ipv6/conf/$c/accept_dad; done"
        )
    node.run(f"ip link add to{number} type veth peer name to{number} netns {router.holder.pid}")
    for space, host in ((router, 1), (node, 2)):
        space.run(
            f"ip link set to{number} up;"
            f"ip addr add 10.0.{number}.{host}/24 dev to{number};"
            f"ip addr add 2001:db8:{number}::{host}/64 dev to{number} nodad"
        )


class Group:
    """A program in its own process group, logging to a file."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        leash.hold(self.pid)

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """To the whole group, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()
        self.signal(signal.SIGKILL)
        leash.give_back(self.pid)


class Router:
    """What FRR and BIRD have in common."""

    def __init__(self, space: Namespace) -> None:
        self.space = space
        self.directory = Path(tempfile.mkdtemp(prefix="router-"))
        self.directory.chmod(0o755)
        self.daemons: dict[str, Group] = {}

    def kernel(self, prefix: str) -> list[str]:
        """Next hops of a prefix in the kernel's table, sorted; none if the route is not there."""
        family = "-6" if ":" in prefix else "-4"
        text = self.space.run(f"ip {family} -j route show {prefix}")
        routes: list[dict[str, Any]] = json.loads(text or "[]")
        hops = [hop for route in routes for hop in route.get("nexthops", [route])]
        return sorted(hop["gateway"] for hop in hops if "gateway" in hop)

    def close(self) -> None:
        for daemon in reversed(self.daemons.values()):
            daemon.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for name, daemon in self.daemons.items():
                sys.stdout.write(f"--- {name}\n{daemon.said()}")
        self.close()


class Frr(Router):
    """zebra, bgpd and whatever else is named, with one integrated configuration."""

    def __init__(self, space: Namespace, configuration: str, *more: str) -> None:
        super().__init__(space)
        self.configuration = self.directory / "frr.conf"
        self.configuration.write_text(configuration)
        shutil.chown(self.directory, "frr", "frr")  # what the daemons become
        try:
            for name in ("zebra", "bgpd", *more):
                self.start(name)
        except BaseException:
            self.close()
            raise

    def start(self, name: str) -> None:
        """Start a daemon, or start it again after its end."""
        command = [str(FRR_DAEMONS / name), "--log", "stdout"]
        command += ["-f", str(self.configuration), "-i", str(self.directory / f"{name}.pid")]
        command += ["--vty_socket", str(self.directory), "-z", str(self.directory / "zserv.api")]
        if name == "bfdd":
            command += ["--bfdctl", str(self.directory / "bfdd.sock")]
        vty = self.directory / f"{name}.vty"
        vty.unlink(missing_ok=True)
        self.daemons[name] = Group(self.space.command(*command), self.directory / f"{name}.log")
        wait(vty.exists, 20, f"{name}: {self.daemons[name].said()}")

    def kill(self, name: str) -> None:
        """As when the router's process dies: no NOTIFICATION."""
        self.daemons[name].signal(signal.SIGKILL)
        self.daemons.pop(name).close()

    def vtysh(self, *commands: str) -> str:
        """What the commands print, one after the other."""
        line = ["vtysh", "--vty_socket", str(self.directory)]
        for command in commands:
            line += ["-c", command]
        done = subprocess.run(
            self.space.command(*line), capture_output=True, text=True, check=False, timeout=20
        )
        assert done.returncode == 0, f"{commands}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, command: str) -> dict[str, Any]:
        answer = json.loads(self.vtysh(f"{command} json") or "{}")
        assert isinstance(answer, dict)
        return answer

    def established(self, address: str) -> bool:
        neighbor = self.json(f"show bgp neighbors {address}").get(address, {})
        return neighbor.get("bgpState") == "Established"

    def paths(self, prefix: str) -> list[dict[str, Any]]:
        """What bgpd knows of a prefix: community, extendedCommunity, locPrf, metric, nexthops…"""
        family = "ipv6" if ":" in prefix else "ipv4"
        paths = self.json(f"show bgp {family} unicast {prefix}").get("paths", [])
        assert isinstance(paths, list)
        return paths

    def communities(self, prefix: str) -> list[str]:
        """Of the first path; none if there is no path."""
        path = next(iter(self.paths(prefix)), {})
        text: str = path.get("community", {}).get("string", "")
        return text.split()


class Bird(Router):
    """BIRD 2."""

    def __init__(self, space: Namespace, configuration: str) -> None:
        super().__init__(space)
        self.configuration = self.directory / "bird.conf"
        self.configuration.write_text(configuration)
        self.control = self.directory / "bird.ctl"
        command = ["bird", "-f", "-c", str(self.configuration), "-s", str(self.control)]
        command += ["-P", str(self.directory / "bird.pid")]
        self.daemons["bird"] = Group(space.command(*command), self.directory / "bird.log")
        try:
            wait(self.control.exists, 20, f"bird: {self.daemons['bird'].said()}")
        except BaseException:
            self.close()
            raise

    def birdc(self, *words: str) -> str:
        done = subprocess.run(
            ["birdc", "-s", str(self.control), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def established(self, protocol: str) -> bool:
        return "Established" in self.birdc("show", "protocols", protocol)

    def route(self, prefix: str) -> str:
        """Everything of a prefix, as text; its attributes are named BGP.…"""
        return self.birdc("show", "route", "for", prefix, "all")
