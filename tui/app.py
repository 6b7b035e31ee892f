"""The terminal UI: one agent's view of the whole cluster, live.

Workers listen to the agent and tell facts (`Happened`); `reduce` turns them into a new state; the
widgets render from that state alone and draw only what differs.
"""

import time
from collections.abc import Callable
from typing import ClassVar

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.markup import escape
from textual.reactive import var
from textual.widgets import Footer

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Done, Intent, Problem, Why
from tui.feed import Pace, follow_events, watch_status
from tui.fleet import FleetState, Link, reduce
from tui.messages import (
    DetailClosed,
    DetailOpened,
    Fact,
    Happened,
    Ticked,
    WishAnswered,
    WishSent,
)
from tui.plans import Plan, drain_plan, failover_plan
from tui.screens.confirm import ConfirmDialog, RefusedDialog
from tui.screens.dialog import DetailDialog, HelpDialog, WhyDialog
from tui.source import Source, Verb, problem_of
from tui.theme import DARK, LIGHT
from tui.views import heading
from tui.views.dialogs import absent_view
from tui.views.lists import alerts_view
from tui.views.node import node_detail, node_title, node_view
from tui.views.service import service_title, service_view
from tui.widgets.events import EventTail
from tui.widgets.fleet import FleetMatrix, Rows
from tui.widgets.line import Line
from tui.widgets.pane import TextPane

TICK_S = 1.0


class FleetApp(App[None]):
    """The fleet on one screen."""

    TITLE = "haman"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012 - as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "drain", "Drain"),
        Binding("u", "undrain", "Undrain"),
        Binding("f", "failover", "Failover"),
        Binding("p", "pause", "Pause"),
        Binding("p", "resume", "Resume"),
        Binding("w", "why", "Why"),
        Binding("enter", "detail", "Detail"),
        Binding("e", "events", "Events"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("t", "theme", "Light or dark", show=False),
        Binding("escape", "fleet", "Fleet", show=False),
    ]

    fleet: var[FleetState] = var(FleetState, init=False)

    def __init__(
        self,
        source: Source,
        place: str,
        *,
        light: bool = False,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        super().__init__()
        self._source = source
        self._place = place
        self._light = light
        self._clock = clock
        self._pace = pace or Pace()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own variables, for any theme that does not set them."""
        return DARK.variables

    def compose(self) -> ComposeResult:
        """Two lines on top, the fleet, node and alerts, events, the keys."""
        yield Line(id="heading")
        yield Line(id="headroom")
        yield Line(id="absent")
        with Vertical(id="body"):
            yield FleetMatrix()
            with Horizontal(id="middle"):
                yield TextPane("Node", id="node")
                yield TextPane("Alerts", id="alerts")
            yield EventTail()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Start listening."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT.name if self._light else DARK.name
        self.query_one(Rows).focus()
        self._draw()
        self.set_interval(TICK_S, self._tick)
        self.run_worker(watch_status(self._source, self.tell, self._clock, self._pace))
        self.run_worker(follow_events(self._source, self.tell, self._pace))

    def tell(self, fact: Fact) -> None:
        """Say what happened; safe from any worker."""
        self.post_message(Happened(fact))

    def _tick(self) -> None:
        self.tell(Ticked(self._clock()))

    @on(Happened)
    def take(self, message: Happened) -> None:
        """The one place where the state changes."""
        self.fleet = reduce(self.fleet, message.fact)

    def watch_fleet(self, old: FleetState, new: FleetState) -> None:
        """Render what changed."""
        self._draw()
        paused = [s.status.paused for s in (old, new) if s.status]
        if len(set(paused)) > 1 or bool(old.status) != bool(new.status):
            self.refresh_bindings()

    def on_resize(self) -> None:
        """Lines are cut to the width; cut them anew."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        base = self.screen_stack[0]
        if not base.query("#heading"):
            return  # the app is closing, and a worker has told something all the same
        state = self.fleet
        width = self.size.width
        base.query_one("#heading", Line).show(heading.heading(state, self._place, width))
        base.query_one("#headroom", Line).show(heading.headroom(state, width))
        base.set_class(state.status is None, "-absent")
        base.set_class(state.link is Link.LOST, "-stale")
        status, node = state.status, state.focused_node
        if status is None:
            base.query_one("#absent", Line).show(absent_view(state, self._place))
            return
        self._draw_detail(state)
        base.query_one(FleetMatrix).show(state)
        base.query_one(EventTail).show(state)
        alerts = base.query_one("#alerts", TextPane)
        alerts.show(
            f"Alerts {len(status.alerts)}".removesuffix(" 0"), alerts_view(status, alerts.cells)
        )
        if node:
            pane = base.query_one("#node", TextPane)
            view = node_view(status, node, state.focused_service, pane.cells)
            pane.show(escape(node_title(node)), view)

    def _draw_detail(self, state: FleetState) -> None:
        """What is open in full; closed when it is no more."""
        dialog = next((s for s in self.screen_stack if isinstance(s, DetailDialog)), None)
        if dialog is None or not dialog.is_mounted or state.status is None:
            return
        if service := state.detailed_service:
            events = state.history(service=service.name)
            view = service_view(state.status, service, events, dialog.cells)
            dialog.show(service_title(service), view)
        elif node := state.detailed_node:
            events = state.history(node=node.name)
            dialog.show(node_title(node), node_detail(state.status, node, events, dialog.cells))
        elif dialog.is_current:
            dialog.dismiss()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what makes sense now."""
        del parameters
        if len(self.screen_stack) > 1 and action != "theme":
            return action == "why" and isinstance(self.screen, DetailDialog)
        status = self.fleet.status
        if action == "resume":
            return status is not None and status.paused
        if action == "pause" and status is not None and status.paused:
            return False
        if action in {"drain", "undrain", "failover", "pause", "why", "events", "detail"}:
            return True if status else None
        return True

    def action_drain(self) -> None:
        """Ask, then drain the node under the cursor."""
        if self.fleet.status and self.fleet.focused_node:
            self._confirm(drain_plan(self.fleet.status, self.fleet.focused_node.name))

    def action_failover(self) -> None:
        """Ask, then move the VIP under the cursor."""
        status, service, node = (
            self.fleet.status,
            self.fleet.focused_service,
            self.fleet.focused_node,
        )
        if not status or not node:
            return
        if service is None:
            self.notify("Move to the column of a VIP first.", severity="warning")
        elif service.kind != "vip":
            self.notify(
                f"{service.name} is anycast: nothing to fail over; drain a node instead.",
                severity="warning",
            )
        else:
            self._confirm(failover_plan(status, service, node.name))

    def action_undrain(self) -> None:
        """Put the node under the cursor back into service."""
        if self.fleet.focused_node:
            self._post("undrain", Intent(node=self.fleet.focused_node.name))

    def action_pause(self) -> None:
        """Hold automatic moves."""
        self._post("pause", Intent())

    def action_resume(self) -> None:
        """End the pause."""
        self._post("resume", Intent())

    def action_detail(self) -> None:
        """Everything about what the cursor is on."""
        self.tell(DetailOpened())
        dialog = DetailDialog()
        self.push_screen(dialog, lambda _: self.tell(DetailClosed()))
        self.call_after_refresh(self._draw)

    def action_events(self) -> None:
        """Give the events the keyboard."""
        self.query_one(EventTail).focus()

    def action_fleet(self) -> None:
        """Give the matrix the keyboard."""
        self.query_one(Rows).focus()

    def action_help(self) -> None:
        """Every key."""
        self.push_screen(HelpDialog())

    def action_theme(self) -> None:
        """Light or dark."""
        self.theme = DARK.name if self.theme == LIGHT.name else LIGHT.name

    @work(exclusive=True, group="why")
    async def action_why(self) -> None:
        """The story of the service under the cursor."""
        status, service = self.fleet.status, self.fleet.focused_service
        if not status:
            return
        if service is None and len(status.services) == 1:
            service = status.services[0]
        if service is None:
            self.notify("Move to the column of a service first.", severity="warning")
            return
        try:
            answer: Why | Problem = await self._source.why(service.name)
        except (UnreachableError, RefusedError) as error:
            answer = problem_of(error)
        self.push_screen(WhyDialog(service.name, answer))

    @work(exclusive=True, group="act")
    async def _confirm(self, plan: Plan) -> None:
        """Confirm, act, and after a refusal for safety offer to force it."""
        if not await self.push_screen_wait(ConfirmDialog(plan)):
            return
        answer = await self._ask(plan.verb, plan.intent)
        if isinstance(answer, Problem):
            if not await self.push_screen_wait(RefusedDialog(plan, answer)):
                return
            intent = plan.intent
            forced = Intent(node=intent.node, vip=intent.vip, to=intent.to, force=True)
            answer = await self._ask(plan.verb, forced)
        self._report(plan.verb, answer)

    @work(group="act")
    async def _post(self, verb: Verb, intent: Intent) -> None:
        self._report(verb, await self._ask(verb, intent))

    async def _ask(self, verb: Verb, intent: Intent) -> Done | Problem:
        self.tell(WishSent(f"{verb} {intent.vip or intent.node}".rstrip()))
        try:
            return await self._source.act(verb, intent)
        except (UnreachableError, RefusedError) as error:
            return problem_of(error)
        finally:
            self.tell(WishAnswered())

    def _report(self, verb: Verb, answer: Done | Problem) -> None:
        if isinstance(answer, Done):
            self.notify(answer.text, markup=False)
            return
        why = "; ".join(r.text for r in answer.reasons)
        text = f"{answer.message}: {why}" if why else answer.message
        self.notify(text, title=f"{verb} refused", severity="error", markup=False)
