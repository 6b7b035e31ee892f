"""The keys in the footer: those that fit, with room between them."""

from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

DISPENSABLE = ("open", "filter", "pick", "home", "why", "export", "headroom", "events")
"""Actions that are left out first where the line is too short; help has them all."""


class Keys(Footer):
    """As Textual's, but nothing in it is cut off."""

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)

    def compose(self) -> ComposeResult:
        """The keys of what can be done now."""
        keys = list(super().compose())
        room = self.app.size.width - 1
        for name in DISPENSABLE:
            if sum(map(_cells, keys)) <= room:
                break
            keys = [k for k in keys if not (isinstance(k, FooterKey) and k.action == name)]
        yield from keys

    async def on_resize(self) -> None:
        """There is room for more, or for less."""
        await self.recompose()


def _cells(key: object) -> int:
    return len(key.key_display) + len(key.description) + 2 if isinstance(key, FooterKey) else 0
