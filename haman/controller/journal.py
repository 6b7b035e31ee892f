"""Events, on disk and in order.

`append` gives the next number, keeps the entry in memory and returns at once; one thread writes to
SQLite (WAL) in the background. What cannot be written stays queued, up to a bound, and is
tried again; meanwhile `problem` says why the journal is not durable. A file that is no database
any more is moved aside to `<name>.corrupt` and a new one begun: the journal serves the agent,
never the other way round.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from haman.controller.surface import JournalEntry
from haman.core.words import Event

ROWS_MAX = 100_000
ROWS_SLACK = 1_000
"""Trimming waits until so many rows are too many: it costs a scan each time."""
RECENT_MAX = 1_000
WAITING_MAX = 10_000
FOLLOWED_MAX = 1_000
RETRY_S = 2.0
CLOSE_S = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY, node TEXT NOT NULL, event BLOB NOT NULL
) STRICT
"""

log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

Connect = Callable[[Path], sqlite3.Connection]


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at `path` for one thread at a time; a lock is waited for 2 s at most."""
    return sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)


class Journal:
    """The journal of this node.

    Args:
        path: of the database; its directory must exist, or `problem` says that it does not.
        node: name of this node.
        connect: opens the database; a test's may fail like a full disk.
    """

    def __init__(self, path: Path, node: str, connect: Connect = connect) -> None:
        self._path = path
        self._node = node
        self._connect = connect
        self._recent: deque[JournalEntry] = deque(maxlen=RECENT_MAX)
        self._waiting: deque[JournalEntry] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._followers: set[_Follower] = set()
        self._writer: sqlite3.Connection | None = None
        self.problem = ""
        """Why what is appended now would not survive a restart; "" = it would."""
        self.dropped = 0
        """Entries that were never written because too many waited."""
        self._seq = 0
        self._numbered = False
        self._open()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def append(self, event: Event) -> JournalEntry:
        """Note an event; from the event loop only. Never blocks, never fails."""
        with self._wake:
            self._seq += 1
            entry = JournalEntry(self._seq, self._node, event)
            self._recent.append(entry)
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(entry)
            self._wake.notify()
        for follower in self._followers:
            follower.offer(entry)
        return entry

    def since(self, seq: int, limit: int) -> tuple[JournalEntry, ...]:
        """Entries with a number above `seq`, oldest first, at most `limit`; -10 = the last ten."""
        with self._wake:
            recent = list(self._recent)
            if seq < 0:
                seq = max(0, self._seq + seq)
        older: list[JournalEntry] = []
        if recent and recent[0].seq > seq + 1:
            older = self._read(seq, recent[0].seq, limit)
        newer = [entry for entry in recent if entry.seq > seq]
        return tuple([*older, *newer][:limit])

    async def follow(self) -> AsyncIterator[JournalEntry]:
        """Entries from now on; a reader that is 1,000 behind loses the oldest."""
        follower = _Follower()
        self._followers.add(follower)
        try:
            while True:
                yield await follower.take()
        finally:
            self._followers.discard(follower)

    def close(self) -> None:
        """Write what waits, for 2 s at most, and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("journal: the disk did not take the last entries in %g s", CLOSE_S)

    def _open(self) -> None:
        """Open the database; on failure `_writer` stays None and `problem` says why."""
        for attempt in ("first", "after the corrupt file was moved aside"):
            try:
                self._open_once()
            except sqlite3.Error as error:
                self._drop_writer()
                self.problem = f"journal {self._path}: {error} ({attempt} attempt)"
                if not is_corrupt(error):
                    return
                move_aside(self._path, str(error))
            else:
                self.problem = ""
                return

    def _open_once(self) -> None:
        writer = self._writer = self._connect(self._path)
        writer.execute("PRAGMA journal_mode = WAL").fetchone()
        writer.execute("PRAGMA synchronous = NORMAL")
        writer.execute("PRAGMA journal_size_limit = 4194304")
        writer.execute(_SCHEMA)
        if not self._numbered:
            (last,) = writer.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
            self._number_from(int(last))

    def _number_from(self, last: int) -> None:
        """Go on after the last number on disk, also with what was appended before it was known."""
        stored = self._read(last - RECENT_MAX, last + 1, RECENT_MAX)
        with self._wake:
            self._seq += last
            newer = [JournalEntry(e.seq + last, e.node, e.event) for e in self._recent]
            self._recent = deque([*stored, *newer], maxlen=RECENT_MAX)
            waiting = (JournalEntry(e.seq + last, e.node, e.event) for e in self._waiting)
            self._waiting = deque(waiting)
            self._numbered = True

    def _read(self, above: int, below: int, limit: int) -> list[JournalEntry]:
        query = "SELECT seq, node, event FROM events WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?"
        try:
            with closing(self._connect(self._path)) as reader:
                rows = reader.execute(query, (above, below, limit)).fetchall()
            return [JournalEntry(seq, node, _decoder.decode(event)) for seq, node, event in rows]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            log.warning("journal %s: cannot be read: %s", self._path, error)
            return []

    def _work(self) -> None:
        try:
            self._write_until_closed()
        except Exception as error:
            self.problem = f"journal {self._path}: the writer failed: {error!r}; restart the agent"
            log.exception("journal %s: the writer failed", self._path)

    def _write_until_closed(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                last_turn = self._closing
            written = self._write()
            if not written and not last_turn:
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, RETRY_S)
            if last_turn:
                self._drop_writer()
                return

    def _write(self) -> bool:
        """Write everything that waits; False = it still waits."""
        if self._writer is None:
            self._open()
        writer = self._writer
        if writer is None:
            return False
        with self._wake:
            batch = list(self._waiting)
        if not batch:
            return True
        rows = [(entry.seq, entry.node, _encoder.encode(entry.event)) for entry in batch]
        try:
            writer.execute("BEGIN IMMEDIATE")
            writer.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", rows)
            trim(writer)
            writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed(error)
            return False
        if self.problem:
            log.info("journal %s: writable again", self._path)
        self.problem = ""
        with self._wake:
            while self._waiting and self._waiting[0].seq <= batch[-1].seq:
                self._waiting.popleft()
        return True

    def _failed(self, error: sqlite3.Error) -> None:
        if not self.problem:
            log.error("journal %s: %s; entries wait in memory", self._path, error)
        self.problem = f"journal {self._path}: {error}"
        writer = self._writer
        if writer is not None and writer.in_transaction:
            with suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
        if is_corrupt(error):
            self._drop_writer()
            move_aside(self._path, str(error))

    def _drop_writer(self) -> None:
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None


class _Follower:
    """What one reader has not taken yet."""

    def __init__(self) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=FOLLOWED_MAX)
        self._ready = asyncio.Event()

    def offer(self, entry: JournalEntry) -> None:
        self._entries.append(entry)
        self._ready.set()

    async def take(self) -> JournalEntry:
        while not self._entries:
            self._ready.clear()
            await self._ready.wait()
        return self._entries.popleft()


def trim(connection: sqlite3.Connection) -> None:
    """Keep the newest 100,000 rows."""
    first, last = connection.execute("SELECT min(seq), max(seq) FROM events").fetchone()
    if first is not None and last - first >= ROWS_MAX + ROWS_SLACK:
        connection.execute("DELETE FROM events WHERE seq <= ?", (last - ROWS_MAX,))


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, so that trying again is pointless."""
    return getattr(error, "sqlite_errorcode", None) in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }


def move_aside(path: Path, why: str) -> None:
    """Rename a corrupt database, replacing one that was moved aside before."""
    aside = path.with_name(f"{path.name}.corrupt")
    log.error("%s: %s; moved aside to %s", path, why, aside.name)
    for suffix in ("-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink()
    try:
        path.replace(aside)
    except OSError as error:
        log.error("%s: cannot be moved aside: %s", path, error.strerror)  # noqa: TRY400 - expected
