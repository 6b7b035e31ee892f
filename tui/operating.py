"""Acting on the cluster: consequences, confirmation, the agent's word, and how it goes then."""

import asyncio
from collections.abc import Callable

from textual import work
from textual.app import App

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Done, Intent, Problem, Why
from tui.clean import Cleaned
from tui.messages import ActsForbidden, Fact, Happened, WishAnswered, WishForgotten, WishSent
from tui.plans import (
    Plan,
    drain_plan,
    failover_plan,
    pause_plan,
    resume_plan,
    undrain_plan,
    with_scenario,
)
from tui.screens.confirm import ConfirmDialog, RefusedDialog
from tui.screens.dialog import WhyDialog
from tui.screens.progress import ProgressDialog
from tui.source import Source, problem_of
from tui.state import FleetState
from tui.views.dialogs import is_done

FIGURES_MAX_S = 1.0
"""Fresh figures that take longer are done without: the status has some, too."""
FORBIDDEN = "forbidden"


class OperatingApp(App[None]):
    """The verbs; `fleet` is the state, `tell` the only way to change it."""

    fleet: FleetState

    def __init__(self, source: Source, clock: Callable[[], float]) -> None:
        super().__init__()
        self._source = Cleaned(source)
        self._clock = clock

    def tell(self, fact: Fact) -> None:
        """Say what happened; safe from any worker."""
        self.post_message(Happened(fact))

    def action_drain(self) -> None:
        """Ask, then drain the node under the cursor."""
        state = self.fleet
        if state.status and (node := state.detailed_node or state.focused_node):
            self._confirm(drain_plan(state.status, node.name))

    def action_undrain(self) -> None:
        """Ask, then put the node under the cursor back into service."""
        state = self.fleet
        if state.status and (node := state.detailed_node or state.focused_node):
            self._confirm(undrain_plan(state.status, node.name))

    def action_pause(self) -> None:
        """Ask, then hold automatic moves."""
        if self.fleet.status:
            self._confirm(pause_plan(self.fleet.status))

    def action_resume(self) -> None:
        """Ask, then end the pause."""
        if self.fleet.status:
            self._confirm(resume_plan(self.fleet.status))

    def action_failover(self) -> None:
        """Ask, then move the VIP under the cursor."""
        state = self.fleet
        service, node = state.detailed_service or state.focused_service, state.focused_node
        if not state.status or not node:
            return
        if service is None:
            self.notify("Move to the column of a VIP first.", severity="warning")
        elif service.kind != "vip":
            text = f"{service.name} is anycast: nothing to fail over; drain a node instead."
            self.notify(text, severity="warning", markup=False)
        else:
            to = "" if state.detailed_service else node.name
            self._confirm(failover_plan(state.status, service, to))

    @work(exclusive=True, group="why")
    async def action_why(self) -> None:
        """The story of the service under the cursor."""
        state = self.fleet
        service = state.detailed_service or state.focused_service
        if state.status and service is None and len(state.status.services) == 1:
            service = state.status.services[0]
        if service is None:
            self.notify("Move to the column of a service first.", severity="warning")
            return
        try:
            answer: Why | Problem = await self._source.why(service.name)
        except (UnreachableError, RefusedError) as error:
            answer = problem_of(error)
        self.push_screen(WhyDialog(service.name, answer))

    def action_progress(self) -> None:
        """How the last act goes."""
        if doing := self.fleet.undertaking:
            self._follow(doing.plan)

    @work(exclusive=True, group="act")
    async def _confirm(self, plan: Plan) -> None:
        """Confirm, act, and after a refusal for safety offer to force it."""
        plan = await self._with_fresh_figures(plan)
        if not await self.push_screen_wait(ConfirmDialog(plan)):
            return
        answer = await self._ask(plan, plan.intent)
        if isinstance(answer, Problem):
            if answer.code == FORBIDDEN:
                self.tell(ActsForbidden(answer.message))
            if not await self.push_screen_wait(RefusedDialog(plan, answer)):
                return
            intent = plan.intent
            forced = Intent(node=intent.node, vip=intent.vip, to=intent.to, force=True)
            answer = await self._ask(plan, forced)
        self._report(plan, answer)

    async def _with_fresh_figures(self, plan: Plan) -> Plan:
        if not plan.loss:
            return plan
        try:
            async with asyncio.timeout(FIGURES_MAX_S):
                return with_scenario(plan, await self._source.scenario(plan.loss))
        except (UnreachableError, RefusedError, TimeoutError):
            return plan

    async def _ask(self, plan: Plan, intent: Intent) -> Done | Problem:
        self.tell(WishSent(plan, self._clock()))
        answer: Done | Problem = Problem("cancelled", "the answer was not waited for")
        try:
            answer = await self._source.act(plan.verb, intent)
        except (UnreachableError, RefusedError) as error:
            answer = problem_of(error)
        finally:
            self.tell(WishAnswered(answer))
        return answer

    def _report(self, plan: Plan, answer: Done | Problem) -> None:
        if isinstance(answer, Done):
            self._follow(plan)
            return
        why = "; ".join(r.text for r in answer.reasons)
        text = f"{answer.message}: {why}" if why else answer.message
        self.notify(text, title=f"{plan.verb} refused", severity="error", markup=False)

    def _follow(self, plan: Plan) -> None:
        """Show how it goes; once it is done and seen, it is forgotten."""

        def seen(_: None) -> None:
            if is_done(self.fleet):
                self.tell(WishForgotten())

        dialog = ProgressDialog(plan.title)
        self.push_screen(dialog, seen)
        self.call_after_refresh(lambda: dialog.show(self.fleet))
