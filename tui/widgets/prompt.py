"""One line to type into, over the footer: a filter, a search, a file."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label


class Prompt(Horizontal):
    """Hidden until something is asked; tells every change, Enter keeps it, Escape takes it back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    class Typed(Message):
        """What stands there now. `kept`: it was confirmed, or taken back to what it was before."""

        def __init__(self, purpose: str, text: str, *, kept: bool, cancelled: bool = False) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text
            self.kept = kept
            self.cancelled = cancelled

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._purpose = ""
        self._before = ""

    def compose(self) -> ComposeResult:
        """What is asked, and the line."""
        yield Label(id="prompt-label", markup=False)
        line = Input(id="prompt-line", compact=True, select_on_focus=False)
        line.cursor_blink = False
        yield line

    @property
    def is_open(self) -> bool:
        """Whether something is asked."""
        return bool(self._purpose)

    def ask(self, purpose: str, label: str, text: str) -> None:
        """Ask; `text` is what stands there at first, and again if it is cancelled."""
        self._purpose, self._before = purpose, text
        self.query_one(Label).update(label)
        line = self.query_one(Input)
        with self.prevent(Input.Changed):
            line.value = text
        line.cursor_position = len(text)
        self.add_class("-open")
        # Not `focus`, which is a message: keys that wait already would be taken for acts.
        self.screen.set_focus(line)

    @on(Input.Changed)
    def change(self, event: Input.Changed) -> None:
        """Tell while it is typed."""
        event.stop()
        if self._purpose:
            self.post_message(self.Typed(self._purpose, event.value, kept=False))

    @on(Input.Submitted)
    def keep(self, event: Input.Submitted) -> None:
        """Take it."""
        event.stop()
        self._close(event.value, cancelled=False)

    def action_cancel(self) -> None:
        """Leave it as it was."""
        self._close(self._before, cancelled=True)

    def _close(self, text: str, *, cancelled: bool) -> None:
        purpose, self._purpose = self._purpose, ""
        self.remove_class("-open")
        self.post_message(self.Typed(purpose, text, kept=True, cancelled=cancelled))
