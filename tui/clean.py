"""What an agent says, made harmless before anything is drawn of it.

Names and reasons come from other machines: an escape sequence in one must not reach the terminal, and
a character that takes no cell or two must not shift a column. What is left takes one cell each.
"""

import re
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from unicodedata import normalize

import msgspec
from rich.cells import cell_len

from haman.api.client import RefusedError, UnreachableError
from haman.api.schema import Done, Event, Intent, Scenario, Status, Why
from tui.source import Source

ODD = "\N{REPLACEMENT CHARACTER}"
_PLAIN_BYTES = bytes(range(0x20, 0x7F))
_OWN = frozenset("·→←−–—×µ≤≥±…≈°’“”")
"""What haman itself writes beside ASCII."""
_ESCAPE = re.compile(rb'\\[^"\\]')
"""In JSON: a character that does not stand there as itself."""

T = TypeVar("T", bound=msgspec.Struct)


def text(said: str) -> str:
    """`said`, every character of it printable and one cell wide."""
    if said.isascii() and said.isprintable():
        return said
    return "".join(map(_character, normalize("NFC", said)))


def lines_of(said: str) -> str:
    """As `text`, line by line."""
    return "\n".join(text(line) for line in said.splitlines())


def answer(found: T) -> T:
    """The same answer with all of its texts clean; the very same object if they are."""
    encoded = msgspec.json.encode(found)
    odd = encoded.translate(None, _PLAIN_BYTES).decode()  # a fleet's answer is long: this is quick
    if _OWN.issuperset(odd) and not (b"\\" in encoded and _ESCAPE.search(encoded)):
        return found
    return msgspec.convert(_cleaned(msgspec.to_builtins(found)), type(found))


class Cleaned:
    """A source whose every answer and problem is clean."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def place(self) -> str:
        """Where the answers come from."""
        return text(self._source.place)

    async def status(self) -> Status:
        """Ask for the whole cluster as this agent knows it now."""
        try:
            return answer(await self._source.status())
        except (UnreachableError, RefusedError) as error:
            raise _problem(error) from error

    async def follow(self, since: int | None = None) -> AsyncIterator[Event]:
        """Yield journal lines after `since`, then live ones, until it fails."""
        try:
            async for event in self._source.follow(since):
                yield answer(event)
        except (UnreachableError, RefusedError) as error:
            raise _problem(error) from error

    async def why(self, service: str) -> Why:
        """Ask who serves, since when, because of what."""
        try:
            return answer(await self._source.why(service))
        except (UnreachableError, RefusedError) as error:
            raise _problem(error) from error

    async def scenario(self, without: tuple[str, ...]) -> Scenario:
        """Ask what the loss of these nodes would do."""
        try:
            return answer(await self._source.scenario(without))
        except (UnreachableError, RefusedError) as error:
            raise _problem(error) from error

    async def act(self, verb: str, wish: Intent) -> Done:
        """Have a verb done."""
        try:
            return answer(await self._source.act(verb, wish))
        except (UnreachableError, RefusedError) as error:
            raise _problem(error) from error


def _problem(error: UnreachableError | RefusedError) -> UnreachableError | RefusedError:
    if isinstance(error, RefusedError):
        return RefusedError(error.status, answer(error.problem))
    return UnreachableError(text(str(error)))


def _character(one: str) -> str:
    if one in "\n\t\r":
        return " "
    return one if one.isprintable() and cell_len(one) == 1 else ODD


def _cleaned(found: Any) -> Any:
    if isinstance(found, str):
        return text(found)
    if isinstance(found, dict):
        return {_cleaned(key): _cleaned(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_cleaned(each) for each in found]
    return found
