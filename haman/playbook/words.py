"""What a step does, in a few words. Pure."""

from haman.playbook.model import (
    AnyStep,
    Assert,
    Call,
    Confirm,
    Download,
    Drain,
    Failover,
    Pause,
    Reload,
    Restart,
    Run,
    Undrain,
    Upload,
    WaitFor,
    When,
)

COMMAND_W = 60


def title(step: AnyStep) -> str:
    """Its name, else what it does."""
    return step.name or told(step)


def told(step: AnyStep) -> str:
    """What a step does, as an imperative."""
    match step:
        case Run() | Upload() | Download() | Reload() | Restart():
            text = _command(step)
        case Drain():
            text = "drain, until it serves nothing"
        case Undrain():
            text = "undrain"
        case Failover():
            text = f"move {step.vip} to {step.to or 'the best peer'}"
        case WaitFor():
            text = f"wait for {state(step)}"
        case Assert():
            text = f"demand {state(step)}"
        case Confirm() | Pause() | Call():
            text = _other(step)
    return text


def _command(step: Run | Upload | Download | Reload | Restart) -> str:
    match step:
        case Run():
            return f"run {short(step.command)}"
        case Upload():
            checked = ", once it is accepted" if step.validate else ""
            return f"put {step.source} at {step.to}{checked}"
        case Download():
            return f"fetch {step.source} as {step.to}"
        case Reload() | Restart():
            what = f"unit {step.unit}" if step.unit else f"by {short(step.command)}"
            return f"{'reload' if isinstance(step, Reload) else 'restart'} {what}"


def _other(step: Confirm | Pause | Call) -> str:
    match step:
        case Confirm():
            return f'ask "{step.question}"'
        case Pause():
            return f"wait {step.seconds:g} s"
        case Call():
            return f"the steps of {step.playbook}"


def state(step: WaitFor | Assert) -> str:
    """What is waited for or demanded."""
    parts = []
    if step.condition:
        parts.append(f"the node to be {step.condition}")
    if step.serving is not None:
        parts.append("it to serve as before" if step.serving else "it to serve nothing")
    if step.proxy_up is not None:
        parts.append(f"its proxy to be {'up' if step.proxy_up else 'down'}")
    if step.connections_max is not None:
        parts.append(f"at most {step.connections_max} connections")
    if step.probe:
        parts.append(f"{step.probe} to accept connections")
    if step.headroom:
        parts.append(f"N−1 to be {step.headroom}")
    parts += [f"{name} to be {wanted}" for name, wanted in step.service.items()]
    parts += [f"{name} to be on {node}" for name, node in step.holder.items()]
    if step.command:
        parts.append(f"{short(step.command)} to succeed")
    return ", ".join(parts)


def condition(when: When) -> str:
    """When a step is done."""
    parts = []
    if when.set is not None:
        parts.append("it was asked for")
    if when.nodes:
        parts.append(f"the node is {' or '.join(when.nodes)}")
    if when.site:
        parts.append(f"the node is in {when.site}")
    if when.condition:
        parts.append(f"the node is {when.condition}")
    if when.holds:
        parts.append(f"the node serves {when.holds}")
    if when.command:
        parts.append(f"{short(when.command)} succeeds")
    return " and ".join(parts)


def short(command: str) -> str:
    """A command in one line."""
    line = " ".join(command.split())
    return f"`{line if len(line) <= COMMAND_W else line[: COMMAND_W - 1] + '…'}`"
