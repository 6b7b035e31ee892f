"""The journal and the intent: durable, numbered, and never in the way of the agent."""

import asyncio
import contextlib
import resource
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from haman.controller import journal as journal_module
from haman.controller.intent import IntentKeeper, IntentStore, NotDurableError
from haman.controller.journal import RECENT_MAX, Journal, connect
from haman.controller.surface import Refused
from haman.core.situation import OperatorIntent
from haman.core.words import Event, Reason
from tests.cluster.pair import until
from tests.controller.rig import config, node

REASON = Reason("proxy-died", "proxy haproxy pid 123 died", {"pid": 123})


def event(n: int) -> Event:
    return Event("role-changed", n, f"event {n}", "web", (REASON,), {"n": n, "of": "x", "f": 0.5})


def stored(path: Path) -> list[int]:
    with closing(connect(path)) as reader:
        return [row[0] for row in reader.execute("SELECT seq FROM events ORDER BY seq")]


class Disk:
    """A disk that can be full: new connections and writes fail as SQLite's do."""

    def __init__(self) -> None:
        self.full = False

    def connect(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=self._connection()
        )

    def _connection(self) -> type[sqlite3.Connection]:
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *rest):
                if disk.full and not sql.startswith(("SELECT", "ROLLBACK")):
                    raise sqlite3.OperationalError("database or disk is full")
                return super().execute(sql, *rest)

        return Connection


def test_entries_are_on_disk_and_numbering_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(Journal(path, "lb1")) as journal:
        assert [journal.append(event(n)).seq for n in range(5)] == [1, 2, 3, 4, 5]
    with closing(Journal(path, "lb1")) as journal:
        assert [e.event for e in journal.since(0, 100)] == [event(n) for n in range(5)]
        assert journal.append(event(5)).seq == 6
        assert [e.seq for e in journal.since(3, 2)] == [4, 5]
        assert journal.since(6, 10) == ()
        assert [e.seq for e in journal.since(-2, 10)] == [5, 6]
        assert [e.seq for e in journal.since(-100, 10)] == [1, 2, 3, 4, 5, 6]
        assert journal.problem == ""


def test_reader_reaches_what_is_not_in_memory_any_more(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.db", "lb1")) as journal:
        for n in range(RECENT_MAX + 50):
            journal.append(event(n))
    with closing(Journal(tmp_path / "journal.db", "lb1")) as journal:
        assert [e.seq for e in journal.since(0, 60)] == list(range(1, 61))
        assert [e.seq for e in journal.since(45, 10)] == list(range(46, 56))


def test_oldest_rows_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "ROWS_MAX", 100)
    monkeypatch.setattr(journal_module, "ROWS_SLACK", 10)
    path = tmp_path / "journal.db"
    for _ in range(4):
        with closing(Journal(path, "lb1")) as journal:
            for n in range(50):
                journal.append(event(n))
    assert 100 <= len(stored(path)) <= 111
    assert stored(path)[-1] == 200


@pytest.mark.parametrize(
    "content", [b"this is no database " * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_corrupt_file_is_moved_aside_and_a_new_one_begun(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with closing(Journal(path, "lb1")) as journal:
        journal.append(event(1))
        assert journal.problem == ""
    assert stored(path) == [1]
    assert (tmp_path / "journal.db.corrupt").read_bytes() == content


async def test_file_that_is_corrupted_meanwhile_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(Journal(path, "lb1")) as journal:
        journal.append(event(1))
        await until(lambda: stored(path) == [1])
        with closing(connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
        for n in range(2, 30):
            journal.append(event(n))
        await until((tmp_path / "journal.db.corrupt").exists)
        await until(lambda: journal.problem == "")
        assert [e.seq for e in journal.since(0, 100)] == list(range(1, 30))
    assert stored(path)[-1] == 29


async def test_missing_directory_is_a_problem_until_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    path = tmp_path / "state" / "journal.db"
    with closing(Journal(path, "lb1")) as journal:
        assert "unable to open database file" in journal.problem
        assert journal.append(event(1)).seq == 1
        path.parent.mkdir()
        await until(lambda: journal.problem == "")
    assert stored(path) == [1]


async def test_numbering_goes_on_when_the_disk_comes_back_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    path, disk = tmp_path / "journal.db", Disk()
    with closing(Journal(path, "lb1")) as journal:
        for n in range(3):
            journal.append(event(n))
    disk.full = True
    with closing(Journal(path, "lb1", disk.connect)) as journal:
        journal.append(event(3))
        assert journal.problem
        disk.full = False
        await until(lambda: journal.problem == "")
        assert journal.append(event(4)).seq == 5
        assert [e.event.at_ns for e in journal.since(0, 10)] == [0, 1, 2, 3, 4]
    assert stored(path) == [1, 2, 3, 4, 5]


# ---- a full disk: the fake, and a real one ---------------------------------------------------


@contextmanager
def fake_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[bool], None], object]]:
    disk = Disk()

    def fill(full: bool) -> None:
        disk.full = full

    yield tmp_path, fill, disk.connect


@contextmanager
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[bool], None], object]]:
    """A real file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
    ballast = place / "ballast"

    def fill(full: bool) -> None:
        ballast.unlink(missing_ok=True)
        if full:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    try:
        yield place, fill, connect
    finally:
        subprocess.run(["umount", place], check=True)


@contextmanager
def file_size_limit(tmp_path: Path) -> Iterator[tuple[Path, Callable[[bool], None], object]]:
    """No file of this process may grow: EFBIG, which SQLite shows as an I/O error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(full: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0 if full else before[0], before[1]))

    try:
        yield tmp_path, fill, connect
    finally:
        fill(False)


disks = pytest.mark.parametrize(
    "disk",
    [fake_disk, file_size_limit, pytest.param(small_disk, marks=pytest.mark.privileged)],
)


@disks
async def test_full_disk_under_the_journal_keeps_events_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)
    with disk(tmp_path) as (place, fill, connects):
        path = place / "journal.db"
        with closing(Journal(path, "lb1", connects)) as journal:
            journal.append(event(0))
            await until(lambda: stored(path) == [1])
            fill(True)
            for n in range(1, 400):
                journal.append(event(n))
            await until(lambda: journal.problem)
            assert "journal.db" in journal.problem
            assert [e.event.at_ns for e in journal.since(0, 1000)] == list(range(400))
            fill(False)
            await until(lambda: journal.problem == "")
        assert stored(path) == list(range(1, 401))


@disks
async def test_full_disk_under_the_intent_refuses_the_operator(tmp_path: Path, disk) -> None:
    with disk(tmp_path) as (place, fill, connects):
        (place / "lb1").mkdir()
        settings = config(place, "lb1")
        async with node(settings, alone=True, intent_connect=connects) as lb1:
            await until(lb1.engine.stance)
            fill(True)
            refused = await lb1.controller.drain("", force=True)
            assert isinstance(refused, Refused)
            assert refused.code == "not-durable"
            assert not lb1.controller.snapshot().own.drained
            assert (s := lb1.engine.stance()) is not None
            assert s.reasons[0].code == "starting"
            fill(False)
            assert not isinstance(await lb1.controller.drain("", force=True), Refused)


async def test_full_disk_is_an_alert_and_the_agent_goes_on(tmp_path: Path) -> None:
    disk = Disk()
    async with node(config(tmp_path, "lb1"), alone=True, journal_connect=disk.connect) as lb1:
        disk.full = True
        lb1.controller.note(event(1))
        await until(lambda: "journal-not-durable" in lb1.alert_codes())
        declared = len(lb1.engine.stances)
        await until(lambda: len(lb1.engine.stances) > declared)
        assert event(1) in lb1.events()
        disk.full = False


def test_what_waits_is_bounded_and_the_newest_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "WAITING_MAX", 10)
    disk = Disk()
    disk.full = True
    with closing(Journal(tmp_path / "journal.db", "lb1", disk.connect)) as journal:
        for n in range(25):
            journal.append(event(n))
        assert journal.dropped == 15
        disk.full = False
    assert stored(tmp_path / "journal.db") == list(range(16, 26))


def test_what_is_appended_during_a_write_is_written_by_the_next(tmp_path: Path) -> None:
    committing, appended = threading.Event(), threading.Event()

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *rest):
            if sql == "COMMIT":
                committing.set()
                assert appended.wait(5)
            return super().execute(sql, *rest)

    def connect_slow(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Slow)

    path = tmp_path / "journal.db"
    with closing(Journal(path, "lb1", connect_slow)) as journal:
        journal.append(event(1))
        assert committing.wait(5)
        journal.append(event(2))
        appended.set()
    assert stored(path) == [1, 2]


async def test_follower_sees_what_is_appended_and_loses_the_oldest_when_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "FOLLOWED_MAX", 5)
    with closing(Journal(tmp_path / "journal.db", "lb1")) as journal:
        journal.append(event(0))
        following = journal.follow()
        first = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        for n in range(1, 21):
            journal.append(event(n))
        seen = [(await first).seq] + [(await anext(following)).seq for _ in range(4)]
        assert seen == [17, 18, 19, 20, 21]
        await following.aclose()  # type: ignore[attr-defined]  # an async generator


# ---- intent ------------------------------------------------------------------------------------


def test_intent_is_read_back(tmp_path: Path) -> None:
    store = IntentStore(tmp_path / "intent.db")
    assert store.load() == (OperatorIntent(), "")
    intent = OperatorIntent(drained=True, paused=True, yielded=frozenset({"web", "mail"}))
    store.save(intent)
    assert IntentStore(tmp_path / "intent.db").load() == (intent, "")


def test_intent_that_cannot_be_read_is_told_and_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "intent.db"
    path.write_bytes(b"rubbish" * 1000)
    intent, problem = IntentStore(path).load()
    assert intent == OperatorIntent()
    assert "drain and pause are forgotten" in problem
    assert (tmp_path / "intent.db.corrupt").exists()
    IntentStore(path).save(OperatorIntent(drained=True))
    assert IntentStore(path).load()[0].drained


def test_intent_of_another_shape_is_told(tmp_path: Path) -> None:
    store = IntentStore(tmp_path / "intent.db")
    store.save(OperatorIntent())
    with closing(connect(tmp_path / "intent.db")) as connection:
        connection.execute("UPDATE intent SET intent = ?", (b'{"drained": 7}',))
    intent, problem = store.load()
    assert intent == OperatorIntent()
    assert "unreadable" in problem


async def test_change_is_nothing_unless_it_is_on_disk(tmp_path: Path) -> None:
    disk = Disk()
    keeper = IntentKeeper(IntentStore(tmp_path / "intent.db", disk.connect))
    disk.full = True
    with pytest.raises(NotDurableError, match="full"):
        await keeper.change(lambda _: OperatorIntent(drained=True))
    assert keeper.current == OperatorIntent()


async def test_noted_change_counts_at_once_and_is_written(tmp_path: Path) -> None:
    disk = Disk()
    keeper = IntentKeeper(IntentStore(tmp_path / "intent.db", disk.connect))
    keeper.note(lambda _: OperatorIntent(yielded=frozenset({"web"})))
    assert keeper.current.yielded == {"web"}
    await keeper.close()
    assert IntentStore(tmp_path / "intent.db").load()[0].yielded == {"web"}
    disk.full = True
    keeper.note(lambda _: OperatorIntent())
    await keeper.close()
    assert "a restart forgets" in keeper.problem


async def test_change_that_was_refused_is_told_until_the_disk_is_well(tmp_path: Path) -> None:
    disk = Disk()
    keeper = IntentKeeper(IntentStore(tmp_path / "intent.db", disk.connect), retry_s=0.01)
    disk.full = True
    with pytest.raises(NotDurableError):
        await keeper.change(lambda _: OperatorIntent(drained=True))
    assert "drain and pause are refused" in keeper.problem
    disk.full = False
    await until(lambda: not keeper.problem)
    assert IntentStore(tmp_path / "intent.db").load()[0] == OperatorIntent()
    await keeper.close()


async def test_noted_change_is_tried_again_until_it_is_on_disk(tmp_path: Path) -> None:
    disk = Disk()
    keeper = IntentKeeper(IntentStore(tmp_path / "intent.db", disk.connect), retry_s=0.01)
    disk.full = True
    keeper.note(lambda _: OperatorIntent(yielded=frozenset({"web"})))
    await until(lambda: keeper.problem)
    disk.full = False
    await until(lambda: not keeper.problem)
    assert IntentStore(tmp_path / "intent.db").load()[0].yielded == {"web"}
    await keeper.close()


async def test_intent_that_cannot_be_written_does_not_hold_the_end_up(tmp_path: Path) -> None:
    disk = Disk()
    keeper = IntentKeeper(IntentStore(tmp_path / "intent.db", disk.connect), retry_s=60)
    disk.full = True
    keeper.note(lambda _: OperatorIntent(yielded=frozenset({"web"})))
    await until(lambda: keeper.problem)
    await asyncio.wait_for(keeper.close(), 5)
