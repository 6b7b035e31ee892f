"""What must hold between the fields of a playbook; a breach makes it unusable. Pure."""

import re
from collections.abc import Callable, Iterator

from haman.api.targets import parse_target
from haman.config.forms import FORMS
from haman.config.walk import Findings, labels
from haman.playbook.model import (
    AnyStep,
    Assert,
    Call,
    Download,
    Drain,
    Failover,
    Playbook,
    Reload,
    Restart,
    Undrain,
    Upload,
    WaitFor,
)

ON_NODES = (Upload, Download, Drain, Undrain, Failover, Reload, Restart)
"""Steps that only make sense on a node of the cluster."""
TAKE_OUT = (Drain, Failover, Reload, Restart)
"""Steps that a node's clients may notice: before the first of them its guard looks."""
ASK_AGENT = ("condition", "serving", "proxy_up", "connections_max", "headroom", "service", "holder")

_MODE = re.compile(r"0?[0-7]{3,4}")
_OWNER = re.compile(r"[a-z_][a-z0-9_.-]*(:[a-z_][a-z0-9_.-]*)?")


def check_rules(playbook: Playbook, findings: Findings) -> None:
    """Note every breach in `playbook`."""
    if not playbook.step and not playbook.before and not playbook.after:
        findings.add_rule("a playbook needs at least one [[step]]", "step")
    _check_inventory(playbook, findings)
    for key, step in placed(playbook):
        for rule in (_check_place, _check_kind, _check_agents):
            rule(playbook, key, step, findings)
    _check_whole(playbook, findings)


def placed(playbook: Playbook) -> Iterator[tuple[str, AnyStep]]:
    """Every step with its key; one that is none, as its `do` is wrong, is left out."""
    for phase in ("before", "step", "after"):
        steps = getattr(playbook, phase)
        keys = labels(phase, [{"name": s.name} if s else {} for s in steps])
        yield from ((k, s) for k, s in zip(keys, steps, strict=True) if s is not None)


def _check_inventory(playbook: Playbook, findings: Findings) -> None:
    inventory = playbook.inventory
    targets = {f"inventory.host.{name}": host for name, host in inventory.host.items()}
    if inventory.jump:
        targets["inventory.jump"] = inventory.jump
    for key, text in targets.items():
        try:
            parse_target(text)
        except ValueError as error:
            findings.add_rule(str(error), key)
    if not inventory.directory.startswith("/"):
        findings.add_rule("is not an absolute path", "inventory.directory")


def _check_place(_: Playbook, key: str, step: AnyStep, findings: Findings) -> None:
    once = not key.startswith("step[")
    if once and step.at == "node":
        findings.add_rule("is every, first or here: what is done once has no node", f"{key}.at")
    if not once and step.at in {"every", "first"}:
        findings.add_rule(
            "belongs in [[before]] or [[after]]: a step runs on each node", f"{key}.at"
        )
    if isinstance(step, ON_NODES) and (step.at == "here" or (once and step.at == "")):
        findings.add_rule('runs on nodes: at = "every" or "first", or [[step]]', f"{key}.at")
    if once and isinstance(step, (*TAKE_OUT, Undrain, Call)):
        findings.add_rule("belongs in [[step]], where each node is guarded", f"{key}.do")


def _check_kind(_: Playbook, key: str, step: AnyStep, findings: Findings) -> None:
    match step:
        case Reload() | Restart():
            if bool(step.unit) == bool(step.command):
                findings.add_rule("give a unit or a command, one of them", key)
        case WaitFor() | Assert():
            if not _says_something(step):
                findings.add_rule("says nothing that must hold", key)
            _form("host-port", step.probe, f"{key}.probe", findings)
        case Upload():
            _check_upload(step, key, findings)
        case Download():
            _form("file-path", step.source, f"{key}.source", findings)
            if "{{node}}" not in step.to.replace(" ", "") and key.startswith("step["):
                findings.add_rule("needs {{node}}: each node's file has its own name", f"{key}.to")
        case Drain() | Undrain() if step.on_failure == "continue":
            findings.add_rule("must not be passed over", f"{key}.on_failure")
        case _:
            pass


def _says_something(step: WaitFor | Assert) -> bool:
    texts = (step.condition, step.probe, step.headroom, step.command)
    wanted = (step.serving, step.proxy_up, step.connections_max)
    named = step.service or step.holder
    return any(texts) or bool(named) or any(value is not None for value in wanted)


def _check_upload(step: Upload, key: str, findings: Findings) -> None:
    _form("file-path", step.to, f"{key}.to", findings)
    if step.mode and not _MODE.fullmatch(step.mode):
        findings.add_rule(f'"{step.mode}" is no mode, as in "0644"', f"{key}.mode")
    if step.owner and not _OWNER.fullmatch(step.owner):
        findings.add_rule(f'"{step.owner}" is not USER or USER:GROUP', f"{key}.owner")


def _form(form: str, text: str, key: str, findings: Findings) -> None:
    check: Callable[[str], str | None] = FORMS[form]
    if text and "{{" not in text and "‹" not in text and (problem := check(text)):
        findings.add_rule(problem, key)


def _check_agents(playbook: Playbook, key: str, step: AnyStep, findings: Findings) -> None:
    if playbook.agents:
        return
    asked = isinstance(step, (Drain, Undrain, Failover))
    if isinstance(step, (WaitFor, Assert)):
        asked = any(getattr(step, name) not in (None, "", {}) for name in ASK_AGENT)
    if step.when and (step.when.condition or step.when.holds):
        asked = True
    if asked:
        findings.add_rule("asks the node's agent, and agents = false says that there is none", key)


def _check_whole(playbook: Playbook, findings: Findings) -> None:
    out = [(key, step) for key, step in placed(playbook) if isinstance(step, TAKE_OUT)]
    if playbook.batch > 1 and out:
        findings.add_rule(
            f"must be 1: {out[0][0]} may take its node out of service, and never two are out at once",
            "batch",
            out[0][0],
        )
    if not playbook.exclusive and (playbook.agents or out):
        findings.add_rule(
            "false is for playbooks with agents = false, that take no node out of service",
            "exclusive",
        )
    drained = ""
    for key, step in placed(playbook):
        if isinstance(step, Drain):
            drained = key
        elif isinstance(step, Undrain):
            if playbook.leaves == "drained":
                findings.add_rule('leaves = "drained" says that nodes stay out', key, "leaves")
            drained = ""
    if drained and playbook.leaves == "in-service":
        findings.add_rule(
            'is never undrained; say leaves = "drained" if the nodes shall stay out', drained
        )
