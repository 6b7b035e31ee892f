"""ExaBGP under the engine, the real one: started, told to read again, killed, hung, and ended in order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.core.announcements import ExabgpReport
from haman.engine.parting import ANSWER_NS
from tests.engine.conftest import Agents
from tests.engine.net import HERE, Agent, Host, Lan, anycast_toml, toml, vip_toml, wait
from tests.engine.test_election import VIP

pytestmark = pytest.mark.privileged
EDGE = "192.0.2.100/32"
NEIGHBOR = """
neighbor {address} {{
    router-id 10.77.0.11;
    local-address 10.77.0.11;
    local-as 65001;
    peer-as 65000;
    hold-time 90;
    family {{ ipv4 unicast; }}
}}
"""


class Router:
    """A speaker on the other host."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.log = directory / "router.log"
        self.log.touch()
        program = [sys.executable, str(HERE / "speaker.py"), host.address, str(self.log)]
        self.process = subprocess.Popen(host.command(*program))

    def told(self) -> list[str]:
        return self.log.read_text().split()[::2]

    @property
    def closed_at(self) -> float:
        """When the last session did."""
        return float(self.log.read_text().split()[-1])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def router(lan: Lan, tmp_path: Path) -> Iterator[Router]:
    made = Router(lan.hosts[1], tmp_path)
    yield made
    made.close()


@pytest.fixture
def agent(lan: Lan, agents: Agents, tmp_path: Path, router: Router) -> Agent:
    """One whose service is held and whose session with the router is up."""
    (tmp_path / "exabgp.conf").write_text(NEIGHBOR.format(address=lan.hosts[1].address))
    text = toml(vip_toml(), anycast_toml(EDGE), state=tmp_path)
    started = agents.start(lan.hosts[0], text)
    started.contend()
    started.announce("edge", exabgp="first")
    wait(lambda: started.service().complete and started.vip().held == (VIP,))
    wait(lambda: running(started) and router.told() == ["up"], 30, "the session")
    return started


def report(agent: Agent) -> ExabgpReport | None:
    agent.poll()
    return agent.report.exabgp if agent.report else None


def running(agent: Agent) -> int:
    """Its pid; 0 = it does not run."""
    found = report(agent)
    return found.pid if found is not None and found.running else 0


def dead(pid: int) -> bool:
    """Gone, or only waiting for its new parent's notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_it_runs_as_it_shall(agent: Agent) -> None:
    pid = running(agent)
    found = report(agent)
    assert found == ExabgpReport(running=True, configuration="first", pid=pid, starts=1)
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    assert [os.fsdecode(a) for a in arguments[1:4]] == ["-m", "exabgp", "server"]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    nothing = "0" * 16
    assert [status[f"Cap{each}"] for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [nothing] * 5
    assert status["NoNewPrivs"] == "1"
    assert status["VmLck"] == "0 kB"
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    assert os.getsid(pid) == pid
    assert str(Path(f"/proc/{pid}/fd/0").readlink()) == os.devnull
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = {os.fsdecode(each).partition("=")[0] for each in environment if each}
    assert not {n for n in names if not n.startswith("exabgp.")} - {
        "EXABGP_ENVFILE",
        "PATH",
        "PYTHONPATH",
        "LANG",
        "TZ",
    }


def test_another_configuration_is_read_without_losing_the_session(
    agent: Agent, router: Router, tmp_path: Path
) -> None:
    pid = running(agent)
    conf = tmp_path / "exabgp.conf"
    conf.write_text(conf.read_text() + NEIGHBOR.format(address="10.77.0.99"))
    agent.announce("edge", exabgp="second")
    wait(lambda: agent.told("exabgp-reloaded"))
    wait(lambda: (found := report(agent)) and found.configuration == "second")
    attempts = "10.77.0.99"
    wait(lambda: connecting(agent.host, attempts), what="a try to reach the new neighbour")
    assert running(agent) == pid
    assert router.told() == ["up"]


def connecting(host: Host, address: str) -> bool:
    return address in host.run("ss -tnH state syn-sent; ip neigh")


def test_a_reload_right_after_the_start_does_not_kill_it(agent: Agent) -> None:
    """USR1 ends a process that does not handle it yet."""
    os.kill(running(agent), signal.SIGKILL)
    wait(lambda: agent.told("exabgp-died"))
    number = 0
    while len(agent.told("exabgp-started")) < 2:
        number += 1
        agent.announce("edge", exabgp=f"digest {number}")
    agent.announce("edge", exabgp="last")
    wait(lambda: (found := report(agent)) and found.configuration == "last" and found.running)
    wait(lambda: agent.told("exabgp-reloaded"))
    assert len(agent.told("exabgp-died")) == 1


def test_it_is_started_again(agent: Agent, router: Router) -> None:
    first = running(agent)
    os.kill(first, signal.SIGKILL)
    wait(lambda: router.told() == ["up", "closed", "up"], what="another session")
    wait(lambda: running(agent) not in (0, first))
    assert "signal SIGKILL" in agent.told("exabgp-died")[0].text
    found = report(agent)
    assert found
    assert found.starts == 2
    assert "signal SIGKILL" in found.problem
    assert agent.service().addresses == (EDGE,)
    assert not agent.told("anycast-released")


def test_it_outlives_the_controller(agent: Agent, router: Router) -> None:
    pid = running(agent)
    os.kill(agent.controller_pid, signal.SIGKILL)
    wait(lambda: agent.told("controller-restarted") and agent.controllers == 2)
    wait(lambda: running(agent) == pid)
    assert router.told() == ["up"]


def test_one_that_hangs_holds_up_nothing(agent: Agent, lan: Lan) -> None:
    pid = running(agent)
    os.kill(pid, signal.SIGSTOP)
    late_before = agent.counter("advertisements_sent")
    agent.announce("edge", exabgp="second")
    wait(lambda: agent.counter("advertisements_sent") > late_before + 5)
    assert agent.role() == "active"
    agent.announce("edge")
    wait(lambda: agent.told("exabgp-hung"), what="killed, for it does not end")
    wait(lambda: dead(pid))
    wait(lambda: report(agent) is None)
    assert lan.hosts[0].holds(EDGE)


def test_no_digest_ends_it(agent: Agent, router: Router) -> None:
    agent.announce("edge")
    wait(lambda: router.told() == ["up", "closed"])
    wait(lambda: report(agent) is None and agent.told("exabgp-ended"))
    agent.announce("edge", exabgp="first")
    wait(lambda: running(agent))


def test_without_a_file_it_waits_for_one(agent: Agent, tmp_path: Path) -> None:
    conf = tmp_path / "exabgp.conf"
    text = conf.read_text()
    conf.unlink()
    os.kill(running(agent), signal.SIGKILL)
    wait(lambda: (found := report(agent)) and "No such file" in found.problem)
    conf.write_text(text)
    wait(lambda: running(agent))


def test_it_dies_with_the_engine_and_before_the_address(
    agent: Agent, lan: Lan, router: Router
) -> None:
    pid = running(agent)
    agent.send(signal.SIGKILL)
    wait(lambda: dead(pid), 5, "the end of ExaBGP")
    closed = wait(lambda: router.told() == ["up", "closed"], 5, "the session's end")
    assert lan.hosts[0].holds(EDGE)
    print(f"engine killed: session closed within {closed * 1e3:.0f} ms")  # noqa: T201 - a measurement, shown with -s


class Watch:
    """When each thing happened, looked at every 2 ms."""

    def __init__(self, agent: Agent, host: Host, router: Router) -> None:
        self.agent, self.host, self.router = agent, host, router
        self.at_ms: dict[str, float] = {}
        self.began = time.monotonic()

    def look(self) -> bool:
        """Whether the engine has ended."""
        assert self.agent.process
        # First, so that the look that finds the end sees what it left.
        ended = self.agent.process.poll() is not None
        held = self.host.addresses()
        self.agent.poll()
        self._note("vip off", VIP not in held)
        self._note("told", self.agent.report is not None and self.agent.report.ending)
        if self.router.told()[-1] == "closed":
            self.at_ms.setdefault("session closed", (self.router.closed_at - self.began) * 1e3)
        self._note("address off", EDGE not in held)
        self._note("end", ended)
        return ended

    def _note(self, what: str, happened: object) -> None:
        if happened:
            self.at_ms.setdefault(what, (time.monotonic() - self.began) * 1e3)

    def order(self) -> list[str]:
        return sorted(self.at_ms, key=lambda what: self.at_ms[what])


def test_an_ordered_end(agent: Agent, lan: Lan, router: Router) -> None:
    controller = agent.controller_pid
    watch = Watch(agent, lan.hosts[0], router)
    agent.send(signal.SIGTERM)
    wait(watch.look)
    print({what: round(ms) for what, ms in watch.at_ms.items()})  # noqa: T201 - as above
    at_ms = watch.at_ms
    announced = [what for what in watch.order() if what not in {"told", "vip off"}]
    assert announced == ["session closed", "address off", "end"]
    # The VIP waits for none of it, but for a controller that could hand it over: this one says nothing.
    assert at_ms["vip off"] < ANSWER_NS / 1e6 + 1000
    assert at_ms["session closed"] >= 300, "end_shut_ms"
    assert at_ms["address off"] - at_ms["session closed"] > 150, "the routers' time"
    assert not agent.told("controller-died"), "it lived until its work was done"
    assert dead(controller)
    assert agent.process
    assert agent.process.returncode == 0


def test_a_second_signal_ends_it_at_once(
    agent: Agent, lan: Lan, router: Router, tmp_path: Path
) -> None:
    slow = agent.config.read_text().replace("end_shut_ms = 300", "end_shut_ms = 60000")
    agent.config.write_text(slow)
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("reloaded"))
    agent.send(signal.SIGTERM)
    wait(lambda: agent.poll() or (agent.report and agent.report.ending))
    assert lan.hosts[0].holds(EDGE)
    assert agent.end(signal.SIGTERM, 5) == 0
    assert not lan.hosts[0].holds(EDGE)
    wait(lambda: router.told()[-1] == "closed")


def test_without_a_controller_nothing_is_waited_for(agent: Agent, lan: Lan, router: Router) -> None:
    """Nobody could shut: the sessions close at once, and then the addresses go."""
    slow = agent.config.read_text().replace("end_shut_ms = 300", "end_shut_ms = 60000")
    agent.config.write_text(slow)
    agent.send(signal.SIGHUP)
    wait(lambda: agent.told("reloaded"))
    os.kill(agent.controller_pid, signal.SIGKILL)
    wait(
        lambda: agent.told("controller-died") or not Path(f"/proc/{agent.controller_pid}").exists()
    )
    watch = Watch(agent, lan.hosts[0], router)
    agent.send(signal.SIGTERM)
    wait(watch.look)
    assert watch.at_ms["address off"] - watch.at_ms["session closed"] > 150


def test_a_hung_exabgp_does_not_hold_up_the_end(agent: Agent, lan: Lan) -> None:
    os.kill(running(agent), signal.SIGSTOP)
    assert agent.end(signal.SIGTERM, 8) == 0
    assert not lan.hosts[0].holds(EDGE)
