"""Everything an operator can do, once: footer, help, command palette and keys are made of this.

Each action is `action_<name>` of the app; navigation inside of a list belongs to its widget.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from textual.binding import Binding

from tui.state import FleetState

FLEET, NODE, SERVICE, HEADROOM, EVENTS = "fleet", "node", "service", "headroom", "events"
RUNS, RUN = "runs", "run"
"""What can be run, and a run."""
EVERYWHERE = frozenset({FLEET, NODE, SERVICE, HEADROOM, EVENTS, RUNS, RUN})
THINGS = frozenset({FLEET, NODE, SERVICE})
ON_FLEET, ON_EVENTS = frozenset({FLEET}), frozenset({EVENTS})
ON_RUNS, ON_RUN = frozenset({RUNS}), frozenset({RUN})


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        name: of the app's method, without "action_".
        key: as Textual names it; several are separated by commas, help shows the first.
        label: for the footer.
        help: a sentence for help and palette.
        pages: where it makes sense.
        writes: it changes the cluster: not while only watching, not in the past.
        shown: in the footer.
    """

    name: str
    key: str
    label: str
    help: str
    pages: frozenset[str] = EVERYWHERE
    writes: bool = False
    shown: bool = True

    @property
    def key_shown(self) -> str:
        """The key as people know it."""
        first = self.key.partition(",")[0]
        return _KEYS.get(first, first)


_KEYS = {
    "enter": "⏎",
    "escape": "Esc",
    "colon": ":",
    "question_mark": "?",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "space": "Space",
}

ACTIONS = (
    Action("home", "escape", "Back", "back to the whole fleet as it is now"),
    Action("matrix", "escape", "Matrix", "back to the matrix", ON_FLEET, shown=False),
    Action(
        "open",
        "enter",
        "Open",
        "all about the node or service under the cursor",
        ON_FLEET,
    ),
    Action(
        "jump",
        "enter",
        "Jump there",
        "the fleet as it stood after this event",
        ON_EVENTS,
    ),
    Action("fleet", "1", "Fleet", "the fleet: nodes × services", shown=False),
    Action("node", "2", "Node", "the node under the cursor in full", shown=False),
    Action(
        "headroom",
        "3",
        "Headroom",
        "lose any nodes on paper: does the rest carry the load",
        EVERYWHERE - {HEADROOM},
    ),
    Action("service", "4", "Service", "the service under the cursor in full", shown=False),
    Action(
        "events",
        "5,e",
        "Events",
        "the journal: filter, search, jump, export",
        EVERYWHERE - {EVENTS},
    ),
    Action(
        "runs",
        "6,r",
        "Run",
        "run a playbook or a drill, or see how one goes",
        EVERYWHERE - {RUNS, RUN},
        writes=True,
    ),
    Action(
        "lose", "space", "Lose or keep", "count the node as lost, or not", frozenset({HEADROOM})
    ),
    Action(
        "drain", "d", "Drain", "take the node out of service, until undrain", THINGS, writes=True
    ),
    Action("undrain", "u", "Undrain", "put the node back into service", THINGS, writes=True),
    Action(
        "failover",
        "f",
        "Failover",
        "move the VIP off its holder, or to the node chosen",
        frozenset({FLEET, SERVICE}),
        writes=True,
    ),
    Action(
        "pause",
        "p",
        "Pause",
        "hold automatic moves; faults always move",
        THINGS,
        writes=True,
        shown=False,
    ),
    Action("resume", "p", "Resume", "let automatic moves go on", THINGS, writes=True),
    Action("why", "w", "Why", "who serves it, since when, and why not the others", THINGS),
    Action(
        "earlier",
        "left_square_bracket",
        "Earlier",
        "in the past: one event back",
        ON_FLEET,
    ),
    Action(
        "later", "right_square_bracket", "Later", "in the past: one event on", frozenset({FLEET})
    ),
    Action(
        "filter", "slash", "Filter", "show only what matches: words, -words", frozenset({FLEET})
    ),
    Action("search", "slash", "Search", "look for words in the events shown", ON_EVENTS),
    Action("next", "n", "Next", "the next event found", ON_EVENTS, shown=False),
    Action("previous", "N", "Previous", "the event found before", ON_EVENTS, shown=False),
    Action(
        "narrow",
        "f",
        "Filter",
        "show only events that match: words, -words, node: service: type:",
        ON_EVENTS,
    ),
    Action("export", "x", "Export", "write the events shown to a file", ON_EVENTS),
    Action(
        "order", "enter", "Run", "run it: parameters and consequences first", ON_RUNS, writes=True
    ),
    Action("pick", "slash", "Filter", "show only what matches: words, -words", ON_RUNS),
    Action("unfold", "enter", "Open", "open or close the steps of a node", ON_RUN, shown=False),
    Action("output", "o", "Output", "what the step under the cursor says", ON_RUN),
    Action("stop", "s", "Stop", "stop the run after what is under way", ON_RUN),
    Action("report", "v", "Report", "how the run went, in full", ON_RUN),
    Action("save", "x", "Write", "write the report to a file", ON_RUN),
    Action("another", "r", "Another", "choose something else to run", ON_RUN, writes=True),
    Action("progress", "g", "Progress", "how the last act goes", shown=False),
    Action("copy", "c", "Copy", "this page as text, to the clipboard", shown=False),
    Action("theme", "t", "Theme", "dark, light, high contrast", shown=False),
    Action("palette", "colon,ctrl+p", "Commands", "everything, by name", shown=False),
    Action("help", "question_mark", "Help", "these keys"),
    Action("quit", "q", "Quit", "leave; haman goes on without this screen"),
)


def bindings() -> list[Binding]:
    """The keys of the app."""
    return [Binding(a.key, a.name, a.label, show=a.shown, key_display=a.key_shown) for a in ACTIONS]


def named(name: str) -> Action | None:
    """The action of this name; None for one that is not ours."""
    return next((a for a in ACTIONS if a.name == name), None)


def offered(action: Action, page: str, state: FleetState) -> bool:
    """Whether the action makes sense now, on this page."""
    if page not in action.pages:
        return False
    if action.writes and (state.read_only or state.moment is not None):
        # A run that goes on stays in sight, and may be stopped.
        return action.name == "runs" and state.run is not None
    when = _WHEN.get(action.name)
    if when is not None:
        return when(state, page)
    return state.status is not None or action.name in _ALWAYS


def _drained(state: FleetState) -> bool:
    node = state.detailed_node or state.focused_node
    return node is not None and node.drained


def _paused(state: FleetState) -> bool:
    return state.status is not None and state.status.paused


_ALWAYS = frozenset({"help", "quit", "theme", "palette", "copy"})
_WHEN: dict[str, Callable[[FleetState, str], bool]] = {
    "home": lambda state, page: page != FLEET or state.moment is not None or bool(state.query),
    "earlier": lambda state, _: state.moment is not None,
    "later": lambda state, _: state.moment is not None,
    "stop": lambda state, _: state.run is not None and state.run.goes_on,
    "report": lambda state, _: state.run is not None and state.run.report is not None,
    "save": lambda state, _: state.run is not None and state.run.report is not None,
    "another": lambda state, _: state.run is not None and not state.run.goes_on,
    # The agent answers these for now, not for then.
    "headroom": lambda state, _: state.status is not None and state.moment is None,
    "why": lambda state, _: state.status is not None and state.moment is None,
    "progress": lambda state, _: state.undertaking is not None,
    "drain": lambda state, _: state.status is not None and not _drained(state),
    "undrain": lambda state, _: state.status is not None and _drained(state),
    "pause": lambda state, _: state.status is not None and not _paused(state),
    "resume": lambda state, _: _paused(state),
}


def available(page: str, state: FleetState) -> Iterator[Action]:
    """What can be done now, for the palette."""
    return (a for a in ACTIONS if offered(a, page, state))
