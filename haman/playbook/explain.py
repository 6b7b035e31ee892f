"""What a playbook would do, in words. Pure."""

from collections.abc import Iterator

from haman.playbook.model import AnyStep, Playbook
from haman.playbook.rules import TAKE_OUT
from haman.playbook.words import condition, told

DEFAULT_TIMEOUT_S = 60

ON_FAILURE = {
    "stop": "it stops, and everything stays as it is",
    "roll-back": "it takes back what was done on that node and on all before it, last one first",
    "continue": "it goes on with the next node",
}


def explain(playbook: Playbook) -> str:
    """Tell it, in the order in which it would be done."""
    head = f"{playbook.name}: {playbook.about}".rstrip(": ")
    return "\n".join([head, *_parameters(playbook), "", *what_happens(playbook)]) + "\n"


def _parameters(playbook: Playbook) -> Iterator[str]:
    if playbook.parameter:
        yield ""
        yield "Parameters (--set NAME=VALUE):"
        for name, parameter in playbook.parameter.items():
            default = parameter.default
            has = (
                "must be given" if default is None else f"[{default}]" if default != "" else '[""]'
            )
            about = f"  {parameter.about}" if parameter.about else ""
            choices = f", one of {', '.join(parameter.choices)}" if parameter.choices else ""
            yield f"  {name} ({parameter.type}{choices}) {has}{about}"


def what_happens(playbook: Playbook) -> Iterator[str]:
    """Tell the steps alone, line by line."""
    if playbook.before:
        yield "Once, before the first node:"
        yield from _steps(playbook.before)
        yield ""
    if playbook.step:
        yield f"{_whom(playbook)}:"
        yield from _steps(playbook.step, guarded=playbook.agents)
        if playbook.agents:
            yield from _soak(playbook)
        yield ""
    if playbook.after:
        yield "Once, after the last node:"
        yield from _steps(playbook.after)
        yield ""
    yield f"If a step fails, {ON_FAILURE[playbook.on_failure]}."
    if playbook.agents:
        yield "If the cluster gets worse than it was at the start, what was done is taken back."


def _whom(playbook: Playbook) -> str:
    inventory = playbook.inventory
    nodes = ", ".join(inventory.nodes) or "each node"
    pace = "one at a time" if playbook.batch == 1 else f"{playbook.batch} at once"
    order = ""
    if playbook.batch == 1 and inventory.order == "holders-last" and playbook.agents:
        order = ", those that hold a VIP last"
    return f"On {nodes}, {pace}{order}"


def _steps(steps: tuple[AnyStep, ...], *, guarded: bool = False) -> Iterator[str]:
    seen = False
    for place, step in enumerate(steps, 1):
        if guarded and not seen and isinstance(step, TAKE_OUT):
            seen = True
            yield "      (only if all others are in service, and N−1 holds without it)"
        yield f"  {place:2}. {_step(step)}"


def _step(step: AnyStep) -> str:
    parts = [f"{step.name}: {told(step)}" if step.name else told(step)]
    if step.at == "every":
        parts.append("on each node")
    if step.at == "here":
        parts.append("on this machine")
    if step.when is not None:
        parts.append(f"only if {condition(step.when)}")
    if step.retries:
        parts.append(f"up to {step.retries + 1} times")
    if step.timeout_s != DEFAULT_TIMEOUT_S:
        parts.append(f"within {step.timeout_s:g} s")
    if step.on_failure == "continue":
        parts.append("a failure is passed over")
    elif step.on_failure:
        parts.append(f"if it fails: {step.on_failure}")
    return ", ".join(parts)


def _soak(playbook: Playbook) -> Iterator[str]:
    guards = playbook.guards
    if playbook.leaves == "drained":
        yield f"      (nothing may get worse for {guards.soak_s:g} s; the node stays drained)"
        return
    yield (
        f"      (it must serve again as before within {guards.come_back_s:g} s, and nothing may get "
        f"worse for {guards.soak_s:g} s)"
    )
    if guards.canary_soak_s > guards.soak_s:
        yield f"      (the first node is watched for {guards.canary_soak_s:g} s)"
    if guards.confirm_after_canary:
        yield "      (a person is asked after the first node)"
