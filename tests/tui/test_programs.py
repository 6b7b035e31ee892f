"""The programs behind the screen: what they write is hostile, what they are told, and how they end."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from haman.api import runs
from tests.tui.run_samples import CRASH, RESTART
from tui.programs import Children, ProgramError
from tui.runs import Order

DEADLINE_S = 60.0
HEAD = """
import json, os, sys, time
def tell(**line):
    os.write(1, json.dumps(line).encode() + b"\\n")
"""


def children(folder: Path, code: str) -> Children:
    """A program that does this instead of the command line's work; its words are in `sys.argv`."""
    path = folder / "program.py"
    path.write_text(HEAD + textwrap.dedent(code))
    return Children((sys.executable, str(path)), lambda: ("--ssh", "ops@lb1"))


async def all_of(child) -> list[runs.Line]:
    async with asyncio.timeout(DEADLINE_S):
        return [line async for line in child.lines()]


async def test_what_a_program_writes_is_made_harmless(tmp_path):
    made = children(
        tmp_path,
        r"""
        tell(type="prepared", text="\x1b[31mred\x1b]0;title\x07")
        tell(type="said", key="lb1/1", line="a\tb\x9b2J")
        os.write(1, b"not \x1b[2J JSON\n")
        tell(type="reported", text="one\ntwo\x1b[0m", data={"k": "\x1b"})
        tell(type="of a later version", more=1)
        sys.exit("no \x1b[1m more")
        """,
    )
    child = await made.start(Order(RESTART))
    told = await all_of(child)
    assert told[0] == runs.Prepared("�[31mred�]0;title�")
    assert told[1] == runs.Said("lb1/1", "a b�2J")
    assert told[2] == runs.Said("", "not �[2J JSON")
    assert told[3] == runs.Reported("one\ntwo�[0m", {"k": "�"})
    assert isinstance(told[4], runs.Said)
    assert await child.end() == (1, "no �[1m more")


async def test_what_is_asked_of_the_command_line(tmp_path):
    made = children(tmp_path, 'tell(type="prepared", text=" ".join(sys.argv[1:]))')
    order = Order(RESTART, (("drain_s", "7"),), ("lb2", "lb1"), only_check=True)
    words = []
    for each in (order, Order(CRASH)):
        child = await made.start(each)
        words += [line.text for line in await all_of(child)]
        assert await child.end() == (0, "")
    assert words == [
        (
            "playbook run rolling-restart --events --set drain_s=7 --node lb2 --node lb1 --check "
            "--ssh ops@lb1"
        ),
        "lab drill lab/drills/proxy-crash.toml --events",
    ]


async def test_answers_reach_it(tmp_path):
    made = children(tmp_path, 'tell(type="prepared", text=sys.stdin.readline().strip())')
    child = await made.start(Order(RESTART))
    child.say(runs.Answer(3, yes=True))
    assert await all_of(child) == [runs.Prepared('{"type":"answer","id":3,"yes":true}')]
    await child.end()
    child.say(runs.Stop())  # to nobody


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('sys.exit("haman: broken")', "haman: broken"),
        ('print("no JSON")', "haman playbook list"),
        ("print('{}' * 3)", "haman playbook list"),
    ],
)
async def test_a_list_that_is_none_is_a_problem(tmp_path, code, said):
    with pytest.raises(ProgramError, match=said):
        await children(tmp_path, code).offers()


async def test_a_program_that_is_not_there_is_a_problem(tmp_path):
    made = Children((str(tmp_path / "none"),), lambda: ())
    with pytest.raises(ProgramError, match="No such file"):
        await made.start(Order(RESTART))
    with pytest.raises(ProgramError, match="No such file"):
        await made.offers()


async def test_the_real_command_line_offers_what_there_is(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    made = Children((sys.executable, "-m", "haman.cli"), lambda: ())
    offers = {(o.kind, o.name): o for o in await made.offers()}
    restart, crash = offers["playbook", "rolling-restart"], offers["drill", "proxy-crash"]
    assert crash.file == "lab/drills/proxy-crash.toml"
    found = await made.settled(Order(restart, (("drain_s", "soon"),)))
    assert found.problems == ('parameter.drain_s: "soon" is not a number',)
    good = await made.settled(Order(restart, (("drain_s", "9"),)))
    assert any("within 9 s" in line for line in good.words)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_child_is_told_to_stop_by_the_end_of_whoever_started_it(tmp_path, number):
    """However the screen ends: the child has a pipe of it, and a session of its own."""
    code = """
        open(sys.argv[-1] + ".pid", "w").write(str(os.getpid()))
        for line in sys.stdin: pass
        time.sleep(0.3)                           # the step under way
        open(sys.argv[-1] + ".stopped", "w").write("orderly")
    """
    children(tmp_path, code)
    mark = tmp_path / "mark"
    starter = textwrap.dedent(f"""
        import asyncio, sys
        from tests.tui.run_samples import RESTART
        from tui.programs import Children
        from tui.runs import Order
        async def main():
            made = Children((sys.executable, {str(tmp_path / "program.py")!r}), lambda: ({str(mark)!r},))
            child = await made.start(Order(RESTART))
            async for _ in child.lines(): pass
        asyncio.run(main())
    """)
    screen = subprocess.Popen([sys.executable, "-c", starter], stderr=subprocess.DEVNULL)
    try:
        until(Path(f"{mark}.pid").exists)
        screen.send_signal(number)
        screen.wait(DEADLINE_S)
        until(Path(f"{mark}.stopped").exists)
        child = int(Path(f"{mark}.pid").read_text())
        until(lambda: not is_alive(child))
    finally:
        screen.kill()
        screen.wait()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


def until(holds) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
