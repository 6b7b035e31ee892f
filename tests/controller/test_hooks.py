"""The operator's program: every event, in order, one at a time, bounded in time and number."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from haman.controller import hooks as hooks_module
from haman.controller.hooks import Hooks
from haman.controller.surface import JournalEntry
from haman.core.words import Event, Reason
from tests.cluster.pair import until
from tests.controller.rig import config, node


def entry(seq: int) -> JournalEntry:
    at_ns = 1_700_000_000_123_000_000
    reason = Reason("proxy-died", "died", {"pid": 1})
    return JournalEntry(
        seq, "lb1", Event("vip-released", at_ns, "web is off", "web", (reason,), {"n": seq})
    )


def script(directory: Path, body: str) -> str:
    path = directory / "hook"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@asynccontextmanager
async def running(
    command: str, told: Callable[[str], None], run_s: float = 5.0
) -> AsyncIterator[Hooks]:
    hooks = Hooks(command, told, run_s)
    task = asyncio.get_running_loop().create_task(hooks.run())
    try:
        yield hooks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def test_events_arrive_in_order_and_never_two_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Later ones are quicker: run at once, they would overtake.
    body = f"read line; echo begin >>{out}; sleep 0.0$((9 - ${{#line}} % 9)); echo $line >>{out}"
    async with running(script(tmp_path, body), lambda _: None) as hooks:
        for seq in range(1, 9):
            hooks.offer(entry(seq))
        await until(lambda: len(lines(out)) == 16)
    assert lines(out)[::2] == ["begin"] * 8
    assert [json.loads(line)["seq"] for line in lines(out)[1::2]] == list(range(1, 9))


async def test_event_looks_as_in_the_api(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with running(script(tmp_path, f"cat >{out}.new; mv {out}.new {out}"), print) as hooks:
        hooks.offer(entry(7))
        await until(out.exists)
    assert json.loads(out.read_text()) == {
        "seq": 7,
        "at": "2023-11-14T22:13:20.123Z",
        "node": "lb1",
        "type": "vip-released",
        "service": "web",
        "text": "web is off",
        "reasons": [{"code": "proxy-died", "text": "died", "data": {"pid": 1}}],
        "data": {"n": 7},
    }


async def test_failure_is_told_once_until_it_worked_again(tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[str]()
    fails = f'read line; case $line in *"seq\\":3"*) ;; *) echo oops >&2; echo >>{out}; exit 4;; esac; echo >>{out}'
    async with running(script(tmp_path, fails), told.append) as hooks:
        for seq in range(1, 6):
            hooks.offer(entry(seq))
        await until(lambda: len(lines(out)) == 5 and len(told) == 2)
    assert told == [f"hook {tmp_path}/hook: exit status 4 at vip-released: oops"] * 2


async def test_hung_program_is_killed_and_the_next_event_told(tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[str]()
    body = f'read line; case $line in *"seq\\":1"*) exec sleep 60;; esac; echo >>{out}'
    async with running(script(tmp_path, body), told.append, run_s=2) as hooks:
        hooks.offer(entry(1))
        hooks.offer(entry(2))
        await until(lambda: lines(out))
    # The second one may take a while to start, and is not killed for that.
    assert told == [f"hook {tmp_path}/hook: killed after 2 s at vip-released"]


async def test_children_of_a_killed_program_are_killed_with_it(tmp_path: Path) -> None:
    told, child = list[str](), tmp_path / "child"
    async with running(
        script(tmp_path, f"sleep 60 & echo $! >{child}; wait"), told.append, 2
    ) as it:
        it.offer(entry(1))
        await until(lambda: told)
    await until(lambda: not Path(f"/proc/{child.read_text().strip()}/fd").exists())


async def test_child_that_outlives_the_program_does_not_hold_the_next_event_up(
    tmp_path: Path,
) -> None:
    out, told = tmp_path / "out", list[str]()
    body = f"setsid sleep 30 & echo $! >>{out}; exit 1"
    async with running(script(tmp_path, body), told.append) as hooks:
        hooks.offer(entry(1))
        hooks.offer(entry(2))
        await until(lambda: len(lines(out)) == 2)
    for pid in lines(out):
        os.kill(int(pid), signal.SIGKILL)


async def test_missing_program_is_told(tmp_path: Path) -> None:
    told = list[str]()
    async with running(str(tmp_path / "none"), told.append) as hooks:
        hooks.offer(entry(1))
        await until(lambda: told)
    assert "cannot be started" in told[0]


async def test_queue_is_bounded_and_says_what_it_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks_module, "WAITING_MAX", 3)
    out, told = tmp_path / "out", list[str]()
    async with running(script(tmp_path, f"cat >>{out}; echo >>{out}"), told.append) as hooks:
        for seq in range(1, 11):
            hooks.offer(entry(seq))
        await until(lambda: len(lines(out)) == 3 and told)
    assert [json.loads(line)["seq"] for line in lines(out)] == [8, 9, 10]
    assert "7 events were not told" in told[0]


async def test_controller_tells_the_hook_and_notes_its_failure_once(tmp_path: Path) -> None:
    command = script(tmp_path, f"cat >/dev/null; echo >>{tmp_path}/out; exit 1")
    async with node(config(tmp_path, "lb1", on_event=command), alone=True) as lb1:
        await until(lambda: lb1.events("hook-failed"))
        count = len(lines(tmp_path / "out"))
        lb1.engine.tell("role-changed", "something")
        await until(lambda: len(lines(tmp_path / "out")) >= count + 2)
        assert len(lb1.events("hook-failed")) == 1
