"""The terminal UI: one agent's view of the whole cluster, live.

Workers listen to the agent and tell facts (`Happened`); `reduce` turns them into a new state; the page
on top renders from that state alone and draws only what differs.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.reactive import var
from textual.screen import ModalScreen, Screen

from tui.actions import ACTIONS, available, bindings, named, offered
from tui.export import export
from tui.feed import Pace, follow_events, watch_status
from tui.fleet import reduce
from tui.messages import (
    ActsForbidden,
    EventsFiltered,
    EventsSearched,
    FleetFiltered,
    Happened,
    Ticked,
)
from tui.programs import Programs
from tui.running import RunCommands, RunningApp
from tui.screens.dialog import HelpDialog
from tui.screens.fleet import FleetPage
from tui.screens.headroom import HeadroomPage
from tui.screens.progress import ProgressDialog
from tui.screens.runs import RunPage
from tui.source import Source
from tui.state import FleetState
from tui.theme import DARK, THEMES
from tui.widgets.events import EventRows
from tui.widgets.prompt import Prompt

COPIED_W = 160


class FleetApp(RunningApp):
    """The fleet on one page, and more behind it."""

    TITLE = "haman"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (58, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (14, "-low"), (30, "-high")]  # noqa: RUF012 - as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    COMMANDS = RunningApp.COMMANDS | {RunCommands}

    fleet: var[FleetState] = var(FleetState, init=False)

    def __init__(
        self,
        source: Source,
        place: str,
        *,
        theme: str = DARK.name,
        read_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
        programs: Programs | None = None,
    ) -> None:
        super().__init__(source, place, clock, pace or Pace(), programs)
        self._watches_only = read_only
        self._first_theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own variables, for any theme that does not set them."""
        return DARK.variables

    def get_default_screen(self) -> Screen[None]:
        """The fleet."""
        return FleetPage(self._place)

    def on_mount(self) -> None:
        """Start listening."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._first_theme
        if self._watches_only:
            self.tell(ActsForbidden())
        self.set_interval(self._pace.tick_s, lambda: self.tell(Ticked(self._clock())))
        self.run_worker(watch_status(self._source, self.tell, self._clock, self._pace))
        self.run_worker(follow_events(self._source, self.tell, self._pace))

    @on(Happened)
    def take(self, message: Happened) -> None:
        """The one place where the state changes."""
        self.fleet = reduce(self.fleet, message.fact)

    def watch_fleet(self, old: FleetState, new: FleetState) -> None:
        """Draw what changed."""
        if not self.is_open:
            return
        page = self.page
        if page.NAME in {"node", "service"} and new.detail is None:
            self._turn_to(None)
        elif page.is_attached:
            page.show(new)
        if isinstance(self.screen, ProgressDialog):
            self.screen.show(new)
        if isinstance(page, RunPage) and new.run is None:
            self._turn_to(None)
        self.follow_run(old, new)
        if (why := new.read_only_because) and not old.read_only_because:
            self.notify(
                f"{why}; nothing can be changed from here.", title="Read-only", markup=False
            )
        if new.loss.nodes != old.loss.nodes and isinstance(page, HeadroomPage):
            self._ask_loss(new.loss.nodes)
        if _keys_of(old, page.NAME) != _keys_of(new, page.NAME):
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what makes sense now."""
        del parameters
        ours = named(action)
        if ours is None:
            return True
        if not self.is_open or isinstance(self.screen, ModalScreen):
            return False
        return offered(ours, self.page.NAME, self.fleet)

    def get_system_commands(self, screen: Screen[None]) -> Iterable[SystemCommand]:
        """Everything that can be done now, and every node and service, for the palette."""
        del screen
        for action in available(self.page.NAME, self.fleet):
            if action.name != "palette":
                run = getattr(self, f"action_{action.name}")
                yield SystemCommand(action.label, f"{action.key_shown}: {action.help}", run)
        for node in self.fleet.nodes:
            yield SystemCommand(
                f"Node {node.name}", node.condition, lambda n=node.name: self._open(node=n)
            )
        for service in self.fleet.services:
            yield SystemCommand(
                f"Service {service.name}",
                service.state,
                lambda s=service.name: self._open(service=s),
            )

    def action_filter(self) -> None:
        """Ask what nodes and services are to be seen."""
        self.page.query_one(Prompt).ask("filter", "Nodes and services: ", self.fleet.query)

    def action_narrow(self) -> None:
        """Ask which events are to be seen."""
        self.page.query_one(Prompt).ask("narrow", "Only events: ", self.fleet.events_query)

    def action_search(self) -> None:
        """Ask what to look for."""
        self.page.query_one(Prompt).ask("search", "Search: ", self.fleet.events_search)

    def action_next(self) -> None:
        """To the next event that is searched for."""
        self._find(1)

    def action_previous(self) -> None:
        """To the one before."""
        self._find(-1)

    def _find(self, way: int) -> None:
        rows = self.page.query_one(EventRows)
        if not self.fleet.events_search or not rows.find(way):
            self.notify("Nothing to be found; / searches.", severity="warning")

    def action_export(self) -> None:
        """Ask where to."""
        name = f"haman-events-{time.strftime('%Y%m%dT%H%M%S')}.jsonl"
        self.page.query_one(Prompt).ask("export", "Write to (.jsonl, .csv or text): ", name)

    @on(Prompt.Typed)
    def typed(self, event: Prompt.Typed) -> None:
        """What was asked for is being typed, or is complete."""
        if event.purpose == "filter":
            self.tell(FleetFiltered(event.text))
        elif event.purpose == "narrow":
            self.tell(EventsFiltered(event.text))
        elif event.purpose == "search":
            self.tell(EventsSearched(event.text))
            if event.kept and event.text and not event.cancelled:
                self.call_after_refresh(lambda: self._find(-1))
        elif event.purpose == "export" and event.kept and not event.cancelled:
            said, well = export(self.fleet.shown_events, event.text)
            self.notify(said, severity="information" if well else "error", markup=False)
        if event.kept:
            self.page.set_focus(self.page.query_one(self.page.AUTO_FOCUS or "*"))

    def action_copy(self) -> None:
        """The page as text."""
        self.copy_to_clipboard(self.page.text(self.fleet, COPIED_W))
        self.notify("The page is in the clipboard, if this terminal takes it (OSC 52).")

    def action_help(self) -> None:
        """Every key."""
        here = [a for a in ACTIONS if self.page.NAME in a.pages]
        ours = (a for a in here if not (a.writes and self.fleet.read_only))
        self.push_screen(HelpDialog(ours, _watching(self.fleet)))

    def action_palette(self) -> None:
        """Everything by name."""
        self.action_command_palette()

    def action_theme(self) -> None:
        """The next theme."""
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]

    def stop(self, signal: int) -> None:
        """End as a signal wants it, and leave the terminal as it was."""
        self.exit(return_code=128 + signal, message=self.farewell())


def _watching(state: FleetState) -> str:
    """Why nothing can be changed from here; "" = things can be."""
    if not state.read_only:
        return ""
    return f"Read-only: {state.read_only_because or 'by --read-only'}. Nothing can be changed from here."


def _keys_of(state: FleetState, page: str) -> tuple[str, ...]:
    return tuple(a.name for a in available(page, state))
