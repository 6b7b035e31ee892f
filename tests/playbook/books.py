"""Playbooks for tests, and a fake of the machines that they work on."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from haman.api import schema
from haman.api.client import Client, UnreachableError
from haman.playbook.facts import Act, Began, Ended, Fact, Finish, Outcome
from haman.playbook.hosts import CutError, Done, HostError, Tell
from haman.playbook.model import Playbook
from haman.playbook.plan import Plan
from haman.playbook.reader import read
from haman.playbook.script import Script, script
from haman.playbook.undo import MARK

ROLLING = """
name = "rolling"
on_failure = "roll-back"
[[step]]
do = "drain"
[[step]]
do = "upload"
source = "x.cfg"
to = "/etc/x.cfg"
[[step]]
do = "restart"
unit = "x"
retries = 1
[[step]]
do = "undrain"
[[step]]
do = "wait-for"
serving = true
"""


def book(folder: Path, text: str, name: str = "book", **given: str) -> Playbook:
    path = folder / f"{name}.toml"
    path.write_text(text)
    found, problems = read(path, given)
    assert found is not None, "\n".join(map(str, problems))
    return found


def problems_of(folder: Path, text: str, name: str = "book", **given: str) -> list[str]:
    """What is wrong with a playbook, without the file's name."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    found, problems = read(path, given)
    assert (found is None) == bool(problems)
    return [str(p).removeprefix(f"{path}: ") for p in problems]


Judge = Callable[[Act], Outcome]


def well(_: Act) -> Outcome:
    return Outcome.DONE


def failing(*keys: str) -> Judge:
    """Every attempt of these tasks fails."""
    return lambda act: Outcome.FAILED if act.task.key in keys else Outcome.DONE


@dataclass
class Played:
    """A run of a plan without anything real: facts in, keys of acts out."""

    plan: Plan
    facts: list[Fact] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    finish: Finish | None = None
    wide: int = 0

    def play(self, judge: Judge, first: Fact | None = None) -> Finish:
        """Do what the plan says until it ends; tasks end in the order in which they began."""
        waiting = [*self.take(first if first is not None else Began())]
        while waiting:
            self.wide = max(self.wide, len(waiting))
            act = waiting.pop(0)
            self.given.append(act.task.key)
            waiting += self.take(Ended(act.task.key, act.attempt, judge(act), "as told"))
        assert self.finish is not None
        return self.finish

    def take(self, fact: Fact) -> list[Act]:
        acts = self.plan.step(fact)
        self.facts.append(fact)
        for act in acts:
            if isinstance(act, Finish):
                self.finish = act
        return [act for act in acts if isinstance(act, Act)]


def played(found: Playbook, nodes: tuple[str, ...], judge: Judge = well) -> Played:
    run = Played(Plan(script(found, nodes)))
    run.play(judge)
    return run


def undone(keys: list[str]) -> list[str]:
    return [key.removeprefix(MARK) for key in keys if key.startswith(MARK)]


def laid_out(found: Playbook, *nodes: str) -> Script:
    return script(found, nodes)


@dataclass
class FakeHosts:
    """Machines that say yes to every command, unless told otherwise.

    `answer` decides about a command by its node and text. `ran` has all that ran, in order.
    """

    answer: Callable[[str, str], Done | HostError | CutError | None] = lambda _node, _text: None
    agents: Callable[[str], Client] | None = None
    ran: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self,
        node: str,
        text: str,
        timeout_s: float,
        *,
        given: bytes = b"",
        tell: Tell | None = None,
    ) -> Done:
        del timeout_s, given
        with self.lock:
            self.ran.append((node, text))
        told = self.answer(node, text)
        if isinstance(told, Exception):
            raise told
        if tell is not None and told is not None:
            tell(told.output)
        return told or Done(0, "")

    def fetch(self, node: str, text: str, timeout_s: float, bytes_max: int) -> tuple[int, bytes]:
        del bytes_max
        done = self.run(node, text, timeout_s)
        return done.status, done.output.encode()

    def probe(self, node: str, address: str, port: int, timeout_s: float) -> str:
        del node, address, port, timeout_s
        return ""

    def agent(self, node: str) -> Client:
        if self.agents is None:
            raise UnreachableError(f"{node}: no agent")
        return self.agents(node)

    def close(self) -> None:
        return None


class FakeAgent(Client):
    """An agent of a cluster that is well, and that does as it is told."""

    def __init__(self, node: str, cluster: "FakeCluster") -> None:
        super().__init__("fake")
        self.node = node
        self.cluster = cluster

    def status(self) -> schema.Status:
        if self.node in self.cluster.dead:
            raise UnreachableError(f"{self.node}: the agent does not answer")
        return self.cluster.status(self.node)

    def scenario(self, without: tuple[str, ...]) -> schema.Scenario:
        self.status()
        return schema.Scenario(without, self.cluster.verdict)

    def act(self, verb: str, wish: schema.Intent) -> schema.Done:
        del wish
        self.status()
        self.cluster.wishes.append((verb, self.node))
        if verb == "drain":
            self.cluster.drained.add(self.node)
        if verb == "undrain" and self.node not in self.cluster.lost:
            self.cluster.drained.discard(self.node)
        return schema.Done(f"{self.node}: {verb}")


@dataclass
class FakeCluster:
    """Nodes that announce one anycast service together, and some of which may share a VIP."""

    nodes: tuple[str, ...]
    drained: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    faulty: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """These never come back from a drain."""
    verdict: str = "ok"
    connections: int = 0
    vip: tuple[str, ...] = ()
    """Nodes that have the VIP web, best first; whoever is drained last serves on."""
    wishes: list[tuple[str, str]] = field(default_factory=list)

    def hosts(self, **more: object) -> FakeHosts:
        return FakeHosts(agents=lambda node: FakeAgent(node, self), **more)  # type: ignore[arg-type]

    def status(self, asked: str) -> schema.Status:
        out = self.drained | self.faulty
        serving = tuple(n for n in self.nodes if n not in out)
        service = schema.Service(
            name="edge",
            kind="anycast",
            mode="active-active",
            state="down" if not serving else "degraded" if self.faulty else "ok",
            holders=serving,
            expected=len(self.nodes) - len(self.drained),
            members=tuple(
                schema.Member(n, stance="withdrawn" if n in out else "full") for n in self.nodes
            ),
        )
        return schema.Status(
            schema=1,
            cluster="edge",
            node=asked,
            at="2026-11-20T12:00:00Z",
            paused=False,
            nodes=tuple(self.node(n) for n in self.nodes),
            services=(service, self.web()) if self.vip else (service,),
            headroom=schema.Headroom(self.verdict),
            alerts=(),
        )

    def web(self) -> schema.Service:
        fit = [n for n in self.vip if n not in self.drained | self.faulty]
        left = [n for verb, n in self.wishes if verb == "drain" and n in self.vip]
        holder = (fit or left[-1:] or [self.vip[0]])[0]
        why = () if fit else (schema.Reason("last-resort", "nobody else can"),)
        return schema.Service(
            name="web",
            kind="vip",
            mode="active-passive",
            state="ok",
            holders=(holder,),
            expected=1,
            members=tuple(
                schema.Member(n, role="active", reasons=why)
                if n == holder
                else schema.Member(n, role="backup" if n in fit else "released")
                for n in self.vip
            ),
        )

    def node(self, name: str) -> schema.Node:
        drained, faulty = name in self.drained, name in self.faulty
        return schema.Node(
            name=name,
            site="ams1",
            condition="fault" if faulty else "drained" if drained else "in-service",
            reasons=(),
            age_ms=0,
            version="",
            proxy=schema.Proxy("haproxy", up=not faulty),
            resources=(),
            binding="",
            connections=self.connections,
            engine=schema.Engine(),
            drained=drained,
            address=f"10.0.0.{self.nodes.index(name) + 1}",
        )
