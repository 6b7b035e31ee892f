"""A playbook as types: field for field what its TOML file may say, defaults included.

`reader` reads a file and reports all problems at once; what must hold between fields is in `rules`.
Text may hold `{{name}}`: a parameter of the playbook, filled in by `parameters` before the types are
built, or one of the `FACTS` of the node that a step runs for, filled in when it runs.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from haman.config.model import Name

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Timeout = Annotated[float, Meta(gt=0, le=86_400)]
Count = Annotated[int, Meta(ge=0, le=100_000_000)]
OnFailure = Literal["stop", "roll-back", "continue"]
Condition = Literal[
    "starting", "in-service", "saturated", "drained", "fault", "isolated", "stale", ""
]
Verdict = Literal["ok", "tight", ""]

FACTS = (
    "node",
    "node.address",
    "node.site",
    "node.folder",
    "nodes.addresses",
    "run",
    "run.folder",
    "file",
)
"""What a step knows when it runs: its node, the run's folder there (which outlives some later runs), the
addresses of all nodes that the playbook is run on (separated by spaces), the run's name, its folder on this
machine (which is removed when it has ended well), and `file`: an uploaded file while it is checked, before
it takes its place."""


class Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """What a run may be given; without a default it must be.

    Attributes:
        type: `command` is text that stands in shell commands as it is; any other value stands there as
            one quoted word.
        pattern: regular expression that the whole text must match.
    """

    type: Literal["text", "command", "path", "whole", "number", "flag"] = "text"
    default: Any = None
    about: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    min: float | None = None
    max: float | None = None


class Inventory(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a playbook works on, and how to log in there.

    Attributes:
        host: node to [USER@]HOST[:PORT]; for the others the cluster's own view says it.
        nodes: only these [all nodes of the cluster's own view, or all of `host`].
        site: only nodes of this site.
        user: who logs in, where the host does not say.
        sudo: commands run through `sudo -n`.
        jump: [USER@]HOST[:PORT] that leads there.
        order: holders-last does the nodes that hold no VIP first; given: as they are listed.
        directory: on the nodes: the lock, what was done, and what uploads replaced.
    """

    host: dict[str, str] = field(default_factory=dict)
    nodes: tuple[Name, ...] = ()
    site: str = ""
    user: str = ""
    sudo: bool = False
    jump: str = ""
    order: Literal["holders-last", "given"] = "holders-last"
    directory: str = "/var/lib/haman/playbook"


class Guards(Struct, frozen=True, forbid_unknown_fields=True):
    """How long is looked; that it is looked cannot be switched off.

    Attributes:
        come_back_s: for a node to serve again as before, after its steps.
        soak_s: without anything worse, before the next node.
        canary_soak_s: the same after the first node, if longer.
        confirm_after_canary: ask a person before the second node.
    """

    come_back_s: Timeout = 60
    soak_s: Seconds = 5
    canary_soak_s: Seconds = 0
    confirm_after_canary: bool = False


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """What must all hold for a step to be done; else it is skipped.

    Attributes:
        set: text that is not empty, or true.
        nodes: the step's node is one of them.
        site: of the node.
        condition: of the node.
        holds: a VIP or anycast service that the node served when the run began.
        command: ends with status 0 on the node, and changes nothing.
    """

    set: Any = None
    nodes: tuple[Name, ...] = ()
    site: str = ""
    condition: Condition = ""
    holds: str = ""
    command: str = ""


class Step(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", kw_only=True):
    """What every step has.

    Attributes:
        timeout_s: for one attempt.
        retries: further attempts after one that failed.
        on_failure: instead of the playbook's own; continue = with the next step.
        at: node; in `before` and `after` every = each node in turn, first = the first one; here = this
            machine.
    """

    name: str = ""
    when: When | None = None
    timeout_s: Timeout = 60
    retries: Annotated[int, Meta(ge=0, le=100)] = 0
    retry_delay_s: Seconds = 1
    on_failure: Literal["stop", "roll-back", "continue", ""] = ""
    at: Literal["node", "every", "first", "here", ""] = ""


class Run(Step, frozen=True, tag="run"):
    """A shell command.

    Attributes:
        undo: takes its effect back.
        changes: false: `--check` runs it too, and there is nothing to take back.
        show: people are to see what it says.
    """

    command: str
    undo: str = ""
    changes: bool = True
    show: bool = False


class Upload(Step, frozen=True, tag="upload"):
    """A file, put in place at once and whole; what it replaces is kept until the run has ended.

    Attributes:
        source: on this machine; relative to the playbook's file.
        mode: [of the file that it replaces, else 0644].
        owner: USER or USER:GROUP [of the file that it replaces, else who writes].
        validate: shell command that must accept `{{file}}` before it takes its place.
    """

    source: str
    to: str
    mode: str = ""
    owner: str = ""
    validate: str = ""


class Download(Step, frozen=True, tag="download"):
    """A file of the node's, to this machine; it must not be larger than `bytes_max`."""

    source: str
    to: str
    bytes_max: Annotated[int, Meta(ge=1, le=1 << 30)] = 64 << 20


class Drain(Step, frozen=True, tag="drain"):
    """Out of service, until the node serves and announces nothing any more."""


class Undrain(Step, frozen=True, tag="undrain"):
    """Back into service."""


class Failover(Step, frozen=True, tag="failover"):
    """Move a VIP, and wait until it has moved."""

    vip: str
    to: str = ""


class State(Step, frozen=True):
    """What a wait waits for and an assertion demands; everything given must hold.

    Attributes:
        condition: of the node.
        serving: the node serves what it served when the run began; false: it serves nothing.
        proxy_up: as the node's agent sees it.
        connections_max: clients connected to the node.
        probe: ADDRESS:PORT that accepts a TCP connection, tried from the node.
        headroom: N−1 of the cluster is at least so.
        service: state of services.
        holder: which node alone serves a service.
        command: ends with status 0 on the node.
    """

    condition: Condition = ""
    serving: bool | None = None
    proxy_up: bool | None = None
    connections_max: Count | None = None
    probe: str = ""
    headroom: Verdict = ""
    service: dict[str, str] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    command: str = ""


class WaitFor(State, frozen=True, tag="wait-for"):
    """Wait until it holds."""


class Assert(State, frozen=True, tag="assert"):
    """It holds now, or the step fails."""


class Reload(Step, frozen=True, tag="reload"):
    """Of a systemd unit, or by a command; connections stay."""

    unit: str = ""
    command: str = ""


class Restart(Step, frozen=True, tag="restart"):
    """Of a systemd unit, or by a command; connections are lost."""

    unit: str = ""
    command: str = ""


class Confirm(Step, frozen=True, tag="confirm", kw_only=True):
    """Ask a person; no answer within `timeout_s` is a no."""

    question: str
    timeout_s: Timeout = 3600


class Pause(Step, frozen=True, tag="pause"):
    """Wait."""

    seconds: Seconds


class Call(Step, frozen=True, tag="call"):
    """The steps of another playbook in this place; its inventory and guards do not count."""

    playbook: str
    parameters: dict[str, Any] = field(default_factory=dict)


AnyStep = (
    Run
    | Upload
    | Download
    | Drain
    | Undrain
    | Failover
    | WaitFor
    | Assert
    | Reload
    | Restart
    | Confirm
    | Pause
    | Call
)


class Playbook(Struct, frozen=True, forbid_unknown_fields=True):
    """A playbook, its parameters filled in.

    Attributes:
        agents: false: the nodes run no agent yet; there is nothing to watch and nobody to ask.
        exclusive: no other run may be under way; false for what only looks: it is done beside another
            one, and on those nodes that can be reached.
        leaves: how nodes are left; drained: those that are done stay out, and count as meant to.
        batch: nodes at once; more than one only where no step takes a node out of service.
        on_failure: stop leaves everything as it is, roll-back takes all nodes back, continue goes on
            with the next node.
        before: steps done once, before the first node.
        step: done on each node.
        after: done once, after the last node.
    """

    name: Name
    about: str = ""
    agents: bool = True
    exclusive: bool = True
    leaves: Literal["in-service", "drained"] = "in-service"
    batch: Annotated[int, Meta(ge=1, le=1000)] = 1
    on_failure: OnFailure = "stop"
    parameter: dict[str, Parameter] = field(default_factory=dict)
    inventory: Inventory = field(default_factory=Inventory)
    guards: Guards = field(default_factory=Guards)
    before: tuple[AnyStep, ...] = ()
    step: tuple[AnyStep, ...] = ()
    after: tuple[AnyStep, ...] = ()
