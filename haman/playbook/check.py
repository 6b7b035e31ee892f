"""Connect and verify, and change nothing: what `haman playbook run --check` does."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from haman.api import schema
from haman.api.client import RefusedError
from haman.playbook.cluster import Cluster, SilentError
from haman.playbook.guards import may_leave, stranded
from haman.playbook.hosts import CutError, HostError, Hosts
from haman.playbook.inventory import Chosen
from haman.playbook.model import AnyStep, Download, Playbook, Reload, Restart, Run, Upload
from haman.playbook.parameters import render
from haman.playbook.prepare import COMMAND_S, UnpreparedError, reach
from haman.playbook.runner import facts_of
from haman.playbook.script import Guard, script
from haman.playbook.shell import Place
from haman.playbook.words import title


@dataclass(frozen=True, slots=True)
class Checked:
    """What was verified, line by line.

    Attributes:
        lines: node, what was looked at, and "" or what is wrong.
        unreachable: nodes could not be reached.
    """

    lines: tuple[tuple[str, str, str], ...]
    unreachable: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(problem for _, _, problem in self.lines)

    def text(self) -> str:
        """For people."""
        width = max([4, *(len(node) for node, _, _ in self.lines)])
        rows = [
            f"{'FAIL' if problem else 'ok  '}  {node:<{width}}  {what}{f': {problem}' if problem else ''}"
            for node, what, problem in self.lines
        ]
        verdict = "nothing was changed" if self.ok else "it would not work; nothing was changed"
        return "\n".join([*rows, verdict])


def check(playbook: Playbook, chosen: Chosen, hosts: Hosts, *, force: bool) -> Checked:
    """Verify what can be verified in advance; `force`: of a run that may go below N−1."""
    try:
        reach(hosts, chosen.hosts, chosen.nodes, agents=playbook.agents)
    except UnpreparedError as error:
        return Checked(tuple(("-", "reached", p) for p in error.problems), unreachable=True)
    lines = [(node, "reached", "") for node in chosen.hosts]
    lines += [(n, "free of other runs", _locked(hosts, n, playbook)) for n in chosen.hosts]
    place = Place(playbook.inventory.directory, "check")
    facts = facts_of(chosen.hosts.values(), chosen.nodes, place, "/nonexistent")
    steps = [s for s in playbook.before if s.at == "every"] + [
        s for s in playbook.step if s.at != "here"
    ]
    for node in chosen.nodes:
        for step in steps:
            lines += [(node, what, why) for what, why in _step(hosts, node, step, facts[node])]
    if playbook.agents:
        lines += _guards(Cluster(hosts, chosen.hosts), playbook, chosen, force=force)
    return Checked(tuple(lines))


def _guards(
    cluster: Cluster, playbook: Playbook, chosen: Chosen, *, force: bool
) -> Iterator[tuple[str, str, str]]:
    now: schema.Status | None = None
    guards = (t for t in script(playbook, chosen.nodes).tasks if isinstance(t.work, Guard))
    for task in guards:
        assert isinstance(task.work, Guard)
        try:
            now = cluster.status()
            bad = may_leave(
                now, task.node, cluster.loss(task.work.asked), task.work.meant_out, force=force
            )
        except (SilentError, RefusedError) as error:
            bad = [str(error)]
            now = None
        yield task.node, "may leave now", "; ".join(bad)
    if now is not None and force:
        yield from ((node, what, "") for node, what in staying(playbook, chosen, now))


def staying(playbook: Playbook, chosen: Chosen, now: schema.Status) -> Iterator[tuple[str, str]]:
    """Nodes that will go on to serve, though they are drained, and what: whoever is drained last."""
    if playbook.leaves != "drained":
        return
    for vip in stranded(now, chosen.nodes):
        members = {m.node for s in now.services if s.name == vip for m in s.members}
        node = next(name for name in reversed(chosen.nodes) if name in members)
        yield node, f"will go on to serve {vip} as the last resort: no other node has it"


def _locked(hosts: Hosts, node: str, playbook: Playbook) -> str:
    path = shlex.quote(f"{playbook.inventory.directory}/lock")
    return _run(hosts, node, f"! cat {path} 2>/dev/null", "is locked by")


def _step(
    hosts: Hosts, node: str, step: AnyStep, facts: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Look at what one step needs; steps that other steps make ready may fail here."""
    quote = shlex.quote
    match step:
        case Upload():
            source = Path(render(step.source, facts, quoted=False))
            if "‹" not in step.source:
                yield f"{source} is there", "" if source.is_file() else "no such file here"
            to = render(step.to, facts, quoted=False)
            folder = quote(str(Path(to).parent))
            yield f"{to} can be written", _run(hosts, node, f"test -w {folder}", "")
        case Download():
            source_text = quote(render(step.source, facts, quoted=False))
            yield f"{step.source} is there", _run(hosts, node, f"test -r {source_text}", "")
        case Run(changes=False):
            text = render(step.command, facts, quoted=True)
            yield title(step), _run(hosts, node, text, "")
        case Reload(unit=unit) | Restart(unit=unit) if unit:
            text = f"systemctl cat {quote(unit)} >/dev/null"
            yield f"unit {unit} is there", _run(hosts, node, text, "")
        case Run(command=command) | Reload(command=command) | Restart(command=command):
            text = render(command, facts, quoted=True)
            yield f"{title(step)} is shell text", _run(hosts, node, f"sh -n -c {quote(text)}", "")
        case _:
            pass


def _run(hosts: Hosts, node: str, text: str, lead: str) -> str:
    try:
        done = hosts.run(node, text, COMMAND_S)
    except (HostError, CutError) as error:
        return str(error)
    if done.status == 0:
        return ""
    said = " ".join(done.output.split()) or f"status {done.status}"
    return f"{lead} {said}".strip()
