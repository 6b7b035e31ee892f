"""The operator's wishes, on disk before they are acknowledged.

SQLite with synchronous=FULL: `save` returns only when the disk has it. Calls block, so the caller
uses a thread.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from haman.controller.journal import connect, is_corrupt, move_aside
from haman.core.situation import OperatorIntent

RETRY_S = 2.0

log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[OperatorIntent] = msgspec.json.Decoder(OperatorIntent)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS intent (
  id INTEGER PRIMARY KEY CHECK (id = 1), intent BLOB NOT NULL
) STRICT
"""

Connect = Callable[[Path], sqlite3.Connection]


Change = Callable[[OperatorIntent], OperatorIntent]


class NotDurableError(Exception):
    """The intent could not be written; nothing has changed."""


class IntentStore:
    """Where operator intent lives.

    Args:
        path: of the database.
        connect: opens it; a test's may fail like a full disk.
    """

    def __init__(self, path: Path, connect: Connect = connect) -> None:
        self._path = path
        self._connect = connect

    def load(self) -> tuple[OperatorIntent, str]:
        """The intent, and what is wrong with where it was: "" if nothing.

        A node whose intent cannot be read serves as if there were none, and says so: refusing to
        start would turn a broken file into an outage.
        """
        if not self._path.exists():
            return OperatorIntent(), ""
        try:
            with closing(self._connect(self._path)) as connection:
                connection.execute(_SCHEMA)
                row = connection.execute("SELECT intent FROM intent").fetchone()
            return (OperatorIntent() if row is None else _decoder.decode(row[0])), ""
        except msgspec.MsgspecError as error:
            return OperatorIntent(), self._lost(f"unreadable: {error}")
        except sqlite3.Error as error:
            if is_corrupt(error):
                move_aside(self._path, str(error))
            return OperatorIntent(), self._lost(str(error))

    def save(self, intent: OperatorIntent) -> None:
        """Write the whole intent.

        Raises:
            NotDurableError: it is not on disk.
        """
        try:
            with closing(self._connect(self._path)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(_SCHEMA)
                connection.execute(
                    "INSERT OR REPLACE INTO intent VALUES (1, ?)", (_encoder.encode(intent),)
                )
        except sqlite3.Error as error:
            if is_corrupt(error):
                move_aside(self._path, str(error))
            raise NotDurableError(f"{self._path}: {error}") from error

    def _lost(self, why: str) -> str:
        text = f"operator intent {self._path}: {why}; drain and pause are forgotten"
        log.error("%s", text)
        return text


class IntentKeeper:
    """The intent in force.

    Args:
        store: where it is kept.
        retry_s: how long to wait after the disk refused.
    """

    def __init__(self, store: IntentStore, retry_s: float = RETRY_S) -> None:
        self._store = store
        self._retry_s = retry_s
        self._lock = asyncio.Lock()
        self._noting: asyncio.Task[None] | None = None
        self._noted = False
        self._closing = False
        self.current, self.problem = store.load()
        """The intent; and what is wrong with where it is kept, "" if nothing."""

    async def change(self, change: Change) -> None:
        """Apply an operator's wish once it is on disk.

        Raises:
            NotDurableError: it is not, and nothing changed.
        """
        async with self._lock:
            try:
                await asyncio.to_thread(self._store.save, change(self.current))
            except NotDurableError as error:
                self._failed(error, "drain and pause are refused")
                self._write_soon()  # what is in force, so that `problem` ends when the disk is well
                raise
            self.current = change(self.current)
            self.problem = ""

    def note(self, change: Change) -> None:
        """Apply what follows from events, and write it down soon; nobody waits for it."""
        self.current = change(self.current)
        self._write_soon()

    def _write_soon(self) -> None:
        self._noted = True
        if self._noting is None or self._noting.done():
            self._noting = asyncio.get_running_loop().create_task(self._write_noted())

    async def _write_noted(self) -> None:
        """Write what is in force until it is on disk."""
        while self._noted:
            if self.problem:
                await asyncio.sleep(self._retry_s)
            self._noted = False
            async with self._lock:
                try:
                    await asyncio.to_thread(self._store.save, self.current)
                    self.problem = ""
                except NotDurableError as error:
                    self._failed(error, "a restart forgets what changed")
                    self._noted = not self._closing

    def _failed(self, error: NotDurableError, result: str) -> None:
        if not self.problem:
            log.error("operator intent %s", error)
        self.problem = f"operator intent {error}; {result}"

    async def close(self) -> None:
        """Wait for what is being written; not for a disk that refuses it."""
        self._closing = True
        if self._noting is None:
            return
        if self.problem:
            self._noting.cancel()
        await asyncio.wait({self._noting})
