"""Running playbooks and drills: choose, see what it means, confirm, watch, answer, stop, keep the report."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
from textual import on, work
from textual.command import Hit, Hits, Provider

from haman.api import runs
from haman.api.client import RefusedError, UnreachableError
from tui.feed import Pace
from tui.messages import (
    OffersFiltered,
    OffersTold,
    RunForgotten,
    RunOver,
    RunStarted,
    RunStopped,
    RunTold,
)
from tui.operating import FIGURES_MAX_S
from tui.paging import PagingApp
from tui.programs import Child, ProgramError, Programs
from tui.run_plans import RunPlan, run_plan, with_figures
from tui.runs import Order, Run
from tui.screens.dialog import ReportDialog
from tui.screens.ordering import (
    ConfirmRunDialog,
    ParametersDialog,
    QuestionDialog,
    StopDialog,
    stopping_told,
)
from tui.screens.runs import RunPage, RunsPage
from tui.source import Source
from tui.state import FleetState
from tui.widgets.prompt import Prompt
from tui.widgets.runs import OfferRows, TaskRows


class RunningApp(PagingApp):
    """One run at a time; its child ends with this screen, after what is under way."""

    def __init__(
        self,
        source: Source,
        place: str,
        clock: Callable[[], float],
        pace: Pace,
        programs: Programs | None,
    ) -> None:
        super().__init__(source, place, clock, pace)
        self.programs = programs
        self._child: Child | None = None

    async def offers(self) -> tuple[runs.Offer, ...]:
        """What can be run; asked once, for files do not change much. () where that is not known."""
        if self.fleet.offers_problem is not None:
            try:
                self.tell(OffersTold(await self.programs.offers() if self.programs else ()))
            except ProgramError as error:
                self.tell(OffersTold(problem=str(error)))
            await asyncio.sleep(0)  # the message first
        return self.fleet.offers

    @work(exclusive=True, group="offers")
    async def _fetch_offers(self) -> None:
        await self.offers()

    def action_runs(self) -> None:
        """The run that goes on or has ended, else what can be run."""
        self._turn_to(RunPage(self._place) if self.fleet.run else RunsPage(self._place))
        if self.fleet.run is None:
            self._fetch_offers()

    def action_another(self) -> None:
        """What can be run, once a run has ended."""
        self.tell(RunForgotten())
        self._turn_to(RunsPage(self._place))
        self._fetch_offers()

    def action_pick(self) -> None:
        """Ask which playbooks and drills are to be seen."""
        self.page.query_one(Prompt).ask("offers", "Playbooks and drills: ", self.fleet.offers_query)

    @on(Prompt.Typed)
    def picked(self, event: Prompt.Typed) -> None:
        """The filter is being typed, or a report's file was named."""
        if event.purpose == "offers":
            self.tell(OffersFiltered(event.text))
        elif event.purpose == "report" and event.kept and not event.cancelled:
            self._write_report(event.text)

    @on(OfferRows.Chosen)
    def action_order(self) -> None:
        """Run what is under the cursor, once its parameters and consequences are agreed to."""
        offer = self.page.query_one(OfferRows).offer
        if offer is not None:
            self.order(offer)

    @work(exclusive=True, group="order")
    async def order(self, offer: runs.Offer) -> None:
        """Parameters, consequences, and then the run."""
        state, programs = self.fleet, self.programs
        if programs is None or state.status is None or state.read_only:
            return
        if state.run is not None and state.run.goes_on:
            self.notify("One run goes on already; 6 shows it.", severity="warning")
            return
        if offer.problems:
            self.notify(offer.problems[0], title=offer.name, severity="error", markup=False)
            return
        order: Order | None = Order(offer)
        if offer.kind == "playbook":
            order = await self.push_screen_wait(ParametersDialog(offer, programs.settled))
        if order is None or self.fleet.status is None:
            return
        plan = await self._figured(run_plan(self.fleet.status, order))
        answer = await self.push_screen_wait(ConfirmRunDialog(plan))
        if answer:
            check = answer == "check"
            await self._start(Order(order.offer, order.values, order.nodes, only_check=check))

    async def _figured(self, plan: RunPlan) -> RunPlan:
        if not plan.loss:
            return plan
        try:
            async with asyncio.timeout(FIGURES_MAX_S):
                return with_figures(plan, await self._source.scenario(plan.loss))
        except (UnreachableError, RefusedError, TimeoutError):
            return plan

    async def _start(self, order: Order) -> None:
        assert self.programs is not None
        try:
            child = await self.programs.start(order)
        except ProgramError as error:
            self.notify(str(error), title=order.offer.name, severity="error", markup=False)
            return
        self._child = child
        self.tell(RunStarted(order, self._clock()))
        self._attend(child)
        self.call_after_refresh(self.action_runs)

    @work(group="run")
    async def _attend(self, child: Child) -> None:
        """Listen until the child ends."""
        async for line in child.lines():
            self.tell(RunTold(line, self._clock()))
        status, complaint = await child.end()
        self.tell(RunOver(status, complaint, self._clock()))

    def follow_run(self, old: FleetState, new: FleetState) -> None:
        """Ask what the run asks; take a question away that is no longer open."""
        before = old.run.question if old.run else None
        now = new.run.question if new.run else None
        if before is now:
            return
        if isinstance(self.screen, QuestionDialog) and (
            now is None or self.screen.id_asked != now.id
        ):
            self.screen.dismiss(None)
        if now is not None and new.run is not None:
            self.ask(new.run, now)

    def ask(self, run: Run, asked: runs.Asked) -> None:
        """Put a question of the run to the operator."""

        def answered(yes: bool | None) -> None:
            if yes is not None and self._child is not None:
                self._child.say(runs.Answer(asked.id, yes))

        self.push_screen(QuestionDialog(run, asked), answered)

    @work(exclusive=True, group="stop")
    async def action_stop(self) -> None:
        """Ask, then stop the run after what is under way."""
        run = self.fleet.run
        if run is None or not run.goes_on:
            return
        if await self.push_screen_wait(StopDialog(run, leaving=False)):
            self._stop_run()

    def _stop_run(self) -> None:
        if self._child is not None:
            self._child.say(runs.Stop())
        self.tell(RunStopped())

    @work(exclusive=True, group="quit")
    async def action_quit(self) -> None:  # type: ignore[override]
        """Leave; while a run goes on, ask first, and say afterwards what becomes of it."""
        run = self.fleet.run
        if run is not None and run.goes_on:
            if not await self.push_screen_wait(StopDialog(run, leaving=True)):
                return
            self._stop_run()
        self.exit(message=self.farewell())

    def farewell(self) -> str | None:
        """What the terminal says once the screen is gone, if a run has not ended."""
        run = self.fleet.run
        if run is None or not run.goes_on:
            return None
        return " ".join((f"{run.order.offer.name} was told to stop.", *stopping_told(run)))

    def action_output(self) -> None:
        """Show what steps say, or hide it."""
        if isinstance(self.page, RunPage):
            self.page.toggle_output()

    def action_unfold(self) -> None:
        """Open or close the lane under the cursor."""
        self.page.query_one(TaskRows).toggle()

    def action_report(self) -> None:
        """The report of the run that has ended."""
        run = self.fleet.run
        if run is not None and run.report is not None:
            self.push_screen(ReportDialog(run.order.offer.name, run.report.text))

    def action_save(self) -> None:
        """Ask where to write the report."""
        if run := self.fleet.run:
            name = f"{run.name or run.order.offer.name}.md"
            self.page.query_one(Prompt).ask("report", "Write to (.json, else text): ", name)

    def _write_report(self, name: str) -> None:
        run = self.fleet.run
        if run is None or run.report is None or not name.strip():
            return
        path = Path(name.strip()).expanduser()
        text = run.report.text + "\n"
        if path.suffix == ".json":
            text = msgspec.json.format(msgspec.json.encode(run.report.data), indent=2).decode()
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            said, well = f"{path} is there already; nothing was written", False
        except OSError as error:
            said, well = f"{path}: {error.strerror}", False
        else:
            said, well = f"the report is in {path}", True
        self.notify(said, severity="information" if well else "error", markup=False)


class RunCommands(Provider):
    """Every playbook and drill by name, in the command palette."""

    async def search(self, query: str) -> Hits:
        """Those whose names match."""
        app = self.app
        if not isinstance(app, RunningApp) or app.programs is None or app.fleet.read_only:
            return
        if app.fleet.status is None or app.fleet.moment is not None:
            return
        matcher = self.matcher(query)
        for offer in await app.offers():
            title = f"Run {offer.kind} {offer.name}"
            if (score := matcher.match(title)) > 0:
                shown = matcher.highlight(title)
                yield Hit(score, shown, lambda o=offer: app.order(o), help=offer.about)
