"""Before a run: its parameters, then its consequences; during it: its questions, and leaving it."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Button, Input, Label

from haman.api import runs
from tui.programs import ProgramError
from tui.run_plans import RunPlan
from tui.runs import Order, Run
from tui.screens.dialog import Dialog
from tui.views.dialogs import TEXT_W
from tui.views.marks import BAD, QUIET
from tui.views.runs import parameter_told, run_plan_view
from tui.views.type import paragraph
from tui.widgets.line import Line

NODES = "nodes-only"
Settle = Callable[[Order], Awaitable[runs.Offer]]


class ParametersDialog(Dialog[Order | None]):
    """One line for each parameter; the program itself checks them, and says what is wrong."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("ctrl+n", "go_on", "Next", priority=True),
    ]
    AUTO_FOCUS = "Input"

    def __init__(self, offer: runs.Offer, settle: Settle) -> None:
        hint = "Enter: next line · Ctrl-N goes on · Esc cancels"
        super().__init__(offer.name, Content(offer.about), hint)
        self._offer = offer
        self._settle = settle

    def compose_text(self) -> ComposeResult:
        """The lines."""
        yield Label(self._offer.about, markup=False)
        for place, one in enumerate(self._offer.parameters):
            yield from _field(f"field-{place}", one.name, parameter_told(one), one.default or "")
        yield from _field(
            NODES, "nodes", "[all]  only these, in this order; names with blanks between", ""
        )
        yield Line(id="problems")

    def compose_foot(self) -> ComposeResult:
        """Go on or not."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("Next", id="next", compact=True)

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        """To the next line; from the last one, on."""
        fields = list(self.query(Input))
        place = fields.index(event.input)
        if place + 1 < len(fields):
            self.set_focus(fields[place + 1])  # at once: what is typed next belongs there
        else:
            self.settle()

    @on(Button.Pressed)
    def press(self, event: Button.Pressed) -> None:
        """By button."""
        if event.button.id == "next":
            self.settle()
        else:
            self.dismiss(None)

    def action_go_on(self) -> None:
        """By key, from any line."""
        self.settle()

    def action_leave(self) -> None:
        """Leave things as they are."""
        self.dismiss(None)

    @work(exclusive=True, group="settle")
    async def settle(self) -> None:
        """Have the program look at the values; go on if nothing is wrong with them."""
        values = []
        for place, one in enumerate(self._offer.parameters):
            typed = self.query_one(f"#field-{place}", Input).value
            if typed != (one.default or "") or (typed and one.default is None):
                values.append((one.name, typed))
        names = self.query_one(f"#{NODES}", Input).value.replace(",", " ").split()
        order = Order(self._offer, tuple(values), tuple(names))
        problems = self.query_one("#problems", Line)
        problems.show(Content.styled("◌ checking", QUIET))
        try:
            found = await self._settle(order)
        except ProgramError as error:
            problems.show(_wrong((str(error),)))
            return
        if found.problems:
            problems.show(_wrong(found.problems))
            problems.scroll_visible(animate=False)
            self._to_first(found.problems)
            return
        self.dismiss(Order(found, order.values, order.nodes))

    def _to_first(self, problems: tuple[str, ...]) -> None:
        for place, one in enumerate(self._offer.parameters):
            if any(p.startswith(f"parameter.{one.name}:") for p in problems):
                self.query_one(f"#field-{place}", Input).focus()
                return


def _field(name: str, title: str, told: str, value: str) -> ComposeResult:
    with Vertical(classes="field"):
        lead = Content.styled(f"{title}  ", "bold $foreground")
        yield Label(paragraph(lead, told, TEXT_W), markup=False)
        line = Input(value=value, id=name, compact=True, select_on_focus=False)
        line.cursor_blink = False
        yield line


def _wrong(problems: tuple[str, ...]) -> Content:
    lead = Content.styled("✖ ", f"bold {BAD}")
    told = (
        p.removeprefix("parameter.").replace(f": give it with --set {_name(p)}=…", "")
        for p in problems
    )
    return Content("\n").join([paragraph(lead, p, TEXT_W) for p in told])


def _name(problem: str) -> str:
    return problem.removeprefix("parameter.").partition(":")[0]


class ConfirmRunDialog(Dialog[str]):
    """States headroom and every step; answers "", "check" or "run". Cancel has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('run')", "Run"),
        Binding("c", "answer('check')", "Check"),
        Binding("n,escape", "answer('')", "No"),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]
    AUTO_FOCUS = "#cancel"

    def __init__(self, plan: RunPlan) -> None:
        self._checkable = plan.order.offer.kind == "playbook"
        check = " · c only checks" if self._checkable else ""
        super().__init__(
            f"{plan.title}?", run_plan_view(plan, TEXT_W), f"y runs it{check} · Esc cancels"
        )

    def compose_foot(self) -> ComposeResult:
        """The answers."""
        yield Button("Cancel", id="cancel", compact=True)
        if self._checkable:
            yield Button("Only check", id="check", compact=True)
        yield Button("Run", id="run-it", variant="warning", compact=True)

    def action_answer(self, answer: str) -> None:
        """Answer by key."""
        if answer != "check" or self._checkable:
            self.dismiss(answer)

    @on(Button.Pressed)
    def press(self, event: Button.Pressed) -> None:
        """Answer by button."""
        self.dismiss({"run-it": "run", "check": "check"}.get(event.button.id or "", ""))


class YesNoDialog(Dialog[bool]):
    """A question; no has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]
    AUTO_FOCUS = "#no"

    def __init__(self, title: str, text: Content, hint: str, yes: str, no: str) -> None:
        super().__init__(title, text, hint)
        self._yes, self._no = yes, no

    def compose_foot(self) -> ComposeResult:
        """Both answers."""
        yield Button(self._no, id="no", compact=True)
        yield Button(self._yes, id="yes", variant="warning", compact=True)

    def action_answer(self, yes: bool) -> None:
        """Answer by key."""
        self.dismiss(yes)

    @on(Button.Pressed)
    def press(self, event: Button.Pressed) -> None:
        """Answer by button."""
        self.dismiss(event.button.id == "yes")


class QuestionDialog(YesNoDialog):
    """What a run asks."""

    def __init__(self, run: Run, asked: runs.Asked) -> None:
        self.id_asked = asked.id
        text = paragraph(Content(""), asked.question, TEXT_W, indent=0)
        hint = "y says yes · n, Esc say no"
        super().__init__(f"{run.order.offer.name} asks", text, hint, "Yes", "No")


class StopDialog(YesNoDialog):
    """Stop a run, or leave while one goes on: what becomes of it."""

    def __init__(self, run: Run, *, leaving: bool) -> None:
        verb = "Stop and leave" if leaving else "Stop"
        title = (
            f"{verb}: {run.order.offer.name} goes on"
            if leaving
            else f"Stop {run.order.offer.name}?"
        )
        rows = [paragraph(Content(""), line, TEXT_W, indent=0) for line in stopping_told(run)]
        hint = f"y {'leaves' if leaving else 'stops it'} · Esc goes on"
        super().__init__(title, Content("\n").join(rows), hint, verb, "Go on")


def stopping_told(run: Run) -> tuple[str, ...]:
    """What becomes of a run that is stopped."""
    if run.order.offer.kind == "drill":
        return ("The drill ends now, and the lab is healed.",)
    if run.order.only_check or not run.name:
        return ("It ends; nothing was changed yet.",)
    return (
        "It ends after the step that is under way; a node that is out of service stays out.",
        f"haman playbook resume {run.name} goes on with it; with --roll-back it takes everything back.",
    )
