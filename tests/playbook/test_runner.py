"""Whole runs with machines that are fakes: order, journal, cuts, locks, guards, many nodes."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec import structs

from haman.playbook import journal, report, session
from haman.playbook.events import Event, Prepared, TaskEnded
from haman.playbook.facts import Finish, Outcome, Verdict
from haman.playbook.hosts import CutError, Done, Host, HostError
from haman.playbook.inventory import Chosen, choose
from haman.playbook.journal import JournalError
from haman.playbook.model import Inventory, Playbook
from haman.playbook.prepare import UnpreparedError
from haman.playbook.runner import Runner, Surroundings
from haman.playbook.session import NotResumableError, Order
from tests.playbook.books import FakeCluster, FakeHosts, book

NODES = ("lb1", "lb2", "lb3")
RESTART = """
name = "restart"
on_failure = "roll-back"
[guards]
soak_s = 0
come_back_s = 1
[[step]]
do = "drain"
[[step]]
do = "wait-for"
connections_max = 0
timeout_s = 1
[[step]]
do = "restart"
unit = "x"
[[step]]
do = "undrain"
"""


@dataclass
class Ran:
    """One run and what it told."""

    folder: Path
    hosts: FakeHosts
    chosen: Chosen
    playbook: Playbook
    events: list[Event] = field(default_factory=list)
    name: str = ""
    runner: Runner | None = None

    def around(self, *, yes: bool = True) -> Surroundings:
        return Surroundings(
            self.hosts, self.events.append, lambda _q, _s: yes, str(self.folder / "here")
        )

    def begin(self, *, force: bool = False, yes: bool = True) -> Finish:
        order = Order(self.playbook, {}, self.chosen, "me@here", force)
        self.name, finish = session.begin(order, self.around(yes=yes), self.folder, self.take)
        return finish

    def resume(self, *, back: bool = False) -> Finish:
        kept, record = journal.reopen(self.folder, self.name)
        with kept:
            return session.resume(kept, record, self.around(), self.take, back=back)

    def take(self, runner: Runner) -> None:
        self.runner = runner

    def ended(self) -> list[str]:
        return [e.act.task.key for e in self.events if isinstance(e, TaskEnded)]

    def commands(self, words: str) -> list[str]:
        return [node for node, text in self.hosts.ran if words in text and text.startswith("m=")]


def chosen_of(cluster: FakeCluster) -> Chosen:
    chosen, problems = choose(Inventory(), cluster.status(cluster.nodes[0]), {}, ())
    assert chosen is not None, problems
    return chosen


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(NODES)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haman.playbook.moves.GUARD_S", 0.1)


@pytest.fixture
def ran(tmp_path: Path, cluster: FakeCluster) -> Ran:
    return Ran(tmp_path / "runs", cluster.hosts(), chosen_of(cluster), book(tmp_path, RESTART))


def test_a_run(ran: Ran, cluster: FakeCluster) -> None:
    assert ran.begin().verdict is Verdict.DONE
    assert cluster.wishes == [(verb, node) for node in NODES for verb in ("drain", "undrain")]
    assert ran.commands("systemctl restart x") == list(NODES)
    record = journal.read(ran.folder / f"{ran.name}.jsonl")
    told = report.report(record, session.replay(record))
    assert told.verdict == "done"
    assert {task.outcome for task in told.tasks} == {"done"}
    assert "| lb1 | restart unit x | done | 1 |" in report.to_markdown(told)
    # Locked before all else, and let go in the end.
    assert "lock" in ran.hosts.ran[3][1]
    assert all("lock" in text for _, text in ran.hosts.ran[-3:])
    with pytest.raises(NotResumableError, match="nothing is left to do"):
        ran.resume()


def test_a_node_that_is_out_already_holds_everything_up(ran: Ran, cluster: FakeCluster) -> None:
    cluster.faulty = {"lb3"}
    finish = ran.begin()
    assert finish.verdict is Verdict.STOPPED
    assert "lb3 is fault, and never two nodes are out at once" in finish.text
    assert cluster.wishes == []


def test_no_room_for_a_loss(ran: Ran, cluster: FakeCluster) -> None:
    cluster.verdict = "insufficient"
    finish = ran.begin()
    assert finish.verdict is Verdict.STOPPED
    assert "--force goes below N−1" in finish.text
    assert cluster.wishes == []
    assert ran.begin(force=True).verdict is Verdict.DONE


def test_what_an_operator_drained_is_not_undrained(ran: Ran, cluster: FakeCluster) -> None:
    cluster.drained = {"lb1"}
    finish = ran.begin()
    assert "lb1 was drained before" in finish.text
    assert cluster.drained == {"lb1"}


def test_a_node_that_does_not_come_back_is_the_last(ran: Ran, cluster: FakeCluster) -> None:
    cluster.lost = {"lb1"}
    finish = ran.begin()
    assert finish.verdict is Verdict.STOPPED
    assert "lb1 is drained" in finish.text
    assert {node for _, node in cluster.wishes} == {"lb1"}
    assert cluster.drained == {"lb1"}


def test_a_connection_that_stays_lost_leaves_the_step_unknown_and_resume_settles_it(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haman.playbook.commands.FIND_AGAIN_S", 0.0)
    state = {"lb1": "up"}

    def answer(node: str, text: str) -> Done | HostError | CutError | None:
        if node != "lb1":
            return None
        if "systemctl restart x" in text:
            state["lb1"] = "gone"
            return CutError("lb1: the connection was lost")
        if state["lb1"] == "gone":
            return HostError("lb1: no route to host")
        return Done(0, "ended 0") if "elif [ !" in text else None

    ran.hosts.answer = answer
    finish = ran.begin()
    assert finish.verdict is Verdict.STOPPED
    assert "what became of it is not known" in finish.text
    state["lb1"] = "back"
    assert ran.resume().verdict is Verdict.DONE
    assert ran.commands("systemctl restart x") == list(NODES)


@pytest.mark.parametrize("cut_after", range(4, 40, 3))
def test_a_run_that_was_killed_goes_on(ran: Ran, cluster: FakeCluster, cut_after: int) -> None:
    """The journal is cut off after any line, as a crash leaves it: nothing done is done again."""
    assert ran.begin().verdict is Verdict.DONE
    path = ran.folder / f"{ran.name}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    kept = lines[:cut_after]
    path.write_bytes(
        b"".join(kept) + lines[cut_after][:9] if cut_after < len(lines) else b"".join(kept)
    )
    done = {x.key for x in journal.read(path).lines if isinstance(x, journal.EndedLine)}
    given = [x for x in journal.read(path).lines if isinstance(x, journal.GivenLine)]
    under_way = {x.key for x in given} - done
    out = {k.partition("/")[0] for k in done if k.endswith("/1")}
    back = {k.partition("/")[0] for k in done if k.endswith("/4")}
    cluster.drained = out - back
    cluster.wishes.clear()
    ran.events.clear()
    ran.hosts.answer = lambda _, text: Done(0, "never") if "elif [ !" in text else None
    if cut_after >= len(lines):
        return
    assert ran.resume().verdict is Verdict.DONE
    assert not done & set(ran.ended())
    assert under_way <= set(ran.ended())
    assert cluster.drained == set()
    assert journal.read(path).finish is not None  # what was half a line is gone


def test_a_run_that_was_killed_is_taken_back_without_doing_more(
    ran: Ran, cluster: FakeCluster
) -> None:
    """It died before the restart was begun, with the node drained: the restart is not done any more."""
    assert ran.begin().verdict is Verdict.DONE
    path = ran.folder / f"{ran.name}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    given = next(i for i, line in enumerate(lines) if b'"given"' in line and b'"lb1/3"' in line)
    path.write_bytes(b"".join(lines[: given + 1]))
    cluster.drained, cluster.wishes = {"lb1"}, []
    ran.hosts.ran.clear()
    ran.hosts.answer = lambda _, text: Done(0, "never") if "elif [ !" in text else None
    assert ran.resume(back=True).verdict is Verdict.ROLLED_BACK
    assert ran.commands("systemctl restart x") == []
    assert cluster.wishes == [("undrain", "lb1")]


def test_a_run_that_goes_on_cannot_be_resumed(ran: Ran, tmp_path: Path) -> None:
    waiting, go = threading.Event(), threading.Event()

    def answer(_: str, text: str) -> None:
        if "systemctl restart x" in text:
            waiting.set()
            assert go.wait(10)

    ran.hosts.answer = answer
    thread = threading.Thread(target=ran.begin)
    thread.start()
    try:
        assert waiting.wait(10)
        (path,) = ran.folder.glob("*.jsonl")
        with pytest.raises(JournalError, match="goes on now, in another process"):
            journal.reopen(ran.folder, path.stem)
        assert ran.runner is not None
        ran.runner.stop()
    finally:
        go.set()
        thread.join(10)
    finish = journal.read(path).finish
    assert finish is not None
    assert finish.verdict is Verdict.INTERRUPTED
    ran.name = path.stem
    assert ran.resume(back=True).verdict is Verdict.ROLLED_BACK
    del tmp_path


def test_another_run_has_the_cluster(ran: Ran, cluster: FakeCluster) -> None:
    def answer(node: str, text: str) -> Done | None:
        if node == "lb2" and "head -n 1" in text and "exit 202" in text:
            return Done(202, "other-run\nyou@there\n")
        return None

    ran.hosts.answer = answer
    with pytest.raises(UnpreparedError, match=r"lb2: run other-run of you@there has the cluster"):
        ran.begin()
    assert cluster.wishes == []
    assert list(ran.folder.glob("*.jsonl")) == []
    # Those that were taken already are let go.
    assert {n for n, text in ran.hosts.ran if text.startswith("cd ")} == {"lb1", "lb3"}


def test_nothing_begins_while_a_node_cannot_be_reached(ran: Ran, cluster: FakeCluster) -> None:
    ran.hosts.answer = lambda node, _: HostError(f"{node}: refused") if node == "lb3" else None
    with pytest.raises(UnpreparedError) as error:
        ran.begin()
    assert error.value.problems == ("lb3: refused",)
    assert error.value.unreachable
    assert cluster.wishes == []


def test_an_address_that_leads_to_another_node(ran: Ran) -> None:
    wrong = FakeCluster(NODES)
    agents = ran.hosts.agents
    assert agents is not None
    ran.hosts.agents = lambda node: agents("lb1" if node == "lb2" else node)
    with pytest.raises(UnpreparedError, match="lb2: the agent there is lb1; is its address right"):
        ran.begin()
    del wrong


def test_a_question_that_nobody_answers_ends_the_run(tmp_path: Path, cluster: FakeCluster) -> None:
    text = 'name = "x"\n[[before]]\ndo = "confirm"\nquestion = "sure?"\n' + RESTART.partition(
        "\n[guards]"
    )[2].join(["[guards]", ""])
    ran = Ran(tmp_path / "runs", cluster.hosts(), chosen_of(cluster), book(tmp_path, text))
    finish = ran.begin(yes=False)
    assert (finish.verdict, cluster.wishes) == (Verdict.STOPPED, [])
    assert "nobody said yes" in finish.text


def test_fifty_nodes_at_once_in_batches(tmp_path: Path) -> None:
    cluster = FakeCluster(tuple(f"n{number:02}" for number in range(50)))
    text = """
name = "many"
batch = 10
[guards]
soak_s = 0
[[step]]
do = "run"
command = "echo {{node}} {{node.address}} of {{nodes.addresses}}"
"""
    hosts = cluster.hosts()
    ran = Ran(tmp_path / "runs", hosts, chosen_of(cluster), book(tmp_path, text))
    assert ran.begin().verdict is Verdict.DONE
    assert len(ran.ended()) == 100
    assert sorted(ran.commands("echo")) == sorted(cluster.nodes)
    assert any("echo n49 10.0.0.50 of" in text for _, text in hosts.ran)


def test_a_site_is_evacuated_and_what_was_out_before_stays_as_it_was(
    tmp_path: Path, cluster: FakeCluster
) -> None:
    text = 'name = "x"\nleaves = "drained"\n[guards]\nsoak_s = 0\n[[step]]\ndo = "drain"\n'
    cluster.drained = {"lb2"}
    some, _ = choose(Inventory(nodes=("lb1", "lb2")), cluster.status("lb1"), {}, ())
    assert some is not None
    ran = Ran(tmp_path / "runs", cluster.hosts(), some, book(tmp_path, text))
    assert ran.begin().verdict is Verdict.DONE
    assert cluster.drained == {"lb1", "lb2"}
    assert cluster.wishes == [("drain", "lb1")]
    assert ran.resume(back=True).verdict is Verdict.ROLLED_BACK
    assert cluster.drained == {"lb2"}


EVACUATE = """
name = "x"
leaves = "drained"
[guards]
soak_s = 0
[[step]]
do = "drain"
[[step]]
do = "wait-for"
connections_max = 0
timeout_s = 600
"""


@pytest.mark.parametrize("force", [True, False])
def test_a_vip_that_no_other_node_has_stays_and_the_run_says_so(
    tmp_path: Path, cluster: FakeCluster, force: bool
) -> None:
    cluster.vip = ("lb1", "lb2")
    some, _ = choose(Inventory(nodes=("lb1", "lb2")), cluster.status("lb1"), {}, ())
    assert some is not None
    ran = Ran(tmp_path / "runs", cluster.hosts(), some, book(tmp_path, EVACUATE))
    cluster.verdict = "insufficient"
    finish = ran.begin(force=force)
    said = [e.text for e in ran.events if isinstance(e, Prepared)]
    stays = [text for text in said if "as the last resort" in text]
    if not force:
        assert finish.verdict is Verdict.STOPPED
        assert "--force goes below N−1" in finish.text
        assert cluster.wishes == []
        assert stays == []
        return
    last = some.nodes[-1]
    assert stays == [f"{last} will go on to serve web as the last resort: no other node has it"]
    assert finish.verdict is Verdict.DONE
    assert cluster.drained == {"lb1", "lb2"}
    told = {e.act.task.key: (e.outcome, e.text) for e in ran.events if isinstance(e, TaskEnded)}
    kept = f"{last} goes on to serve web as the last resort: no node that is left has it"
    assert told[f"{last}/1"] == (Outcome.DONE, kept)
    assert told[f"{last}/2"] == (Outcome.SKIPPED, kept)  # its clients do not leave
    assert told[f"{some.nodes[0]}/2"] == (Outcome.DONE, "")


def test_the_last_resort_of_a_vip_cannot_be_worked_on(tmp_path: Path, cluster: FakeCluster) -> None:
    cluster.vip = ("lb2",)
    ran = Ran(tmp_path / "runs", cluster.hosts(), chosen_of(cluster), book(tmp_path, RESTART))
    finish = ran.begin(force=True)
    assert finish.verdict is Verdict.ROLLED_BACK
    assert "lb2 goes on to serve web as the last resort" in finish.text
    assert "cannot be worked on" in finish.text
    assert "lb2" not in ran.commands("systemctl restart")
    assert cluster.drained == set()


LOOK = """
name = "look"
agents = false
exclusive = false
batch = 8
on_failure = "continue"
[[step]]
do = "run"
command = "look"
"""


def test_what_only_looks_goes_on_beside_another_run_and_without_lost_nodes(
    tmp_path: Path, cluster: FakeCluster
) -> None:
    ran = Ran(tmp_path / "runs", cluster.hosts(), chosen_of(cluster), book(tmp_path, LOOK))
    ran.hosts.answer = lambda node, _: HostError(f"{node}: no route") if node == "lb2" else None
    finish = ran.begin()
    assert finish.verdict is Verdict.PARTLY
    assert finish.text == "lb2, run `look`: no route"
    assert sorted(ran.commands("look")) == list(NODES)
    assert not any("lock" in text for _, text in ran.hosts.ran)


def test_what_gets_worse_elsewhere_is_taken_back(
    tmp_path: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haman.playbook.watch.EVERY_S", 0.01)
    pushed, seen = threading.Event(), threading.Event()

    def answer(node: str, text: str) -> None:
        if "systemctl restart x" in text and node == "lb2" and not pushed.is_set():
            pushed.set()
            cluster.faulty = {"lb3"}
            assert seen.wait(10)

    text = RESTART.replace(
        'unit = "x"\n', 'unit = "x"\n[[step]]\ndo = "run"\ncommand = "a"\nundo = "b"\n'
    )
    ran = Ran(tmp_path / "runs", cluster.hosts(), chosen_of(cluster), book(tmp_path, text))
    ran.hosts.answer = answer

    def look_on() -> None:
        assert pushed.wait(10)
        path = next(ran.folder.glob("*.jsonl"))
        while not any(isinstance(x, journal.WorsenedLine) for x in journal.read(path).lines):
            pushed.wait(0.01)
        cluster.faulty = set()
        seen.set()

    watcher = threading.Thread(target=look_on)
    watcher.start()
    finish = ran.begin()
    watcher.join(10)
    assert finish.verdict is Verdict.ROLLED_BACK
    assert "lb3 is fault" in finish.text
    assert ("drain", "lb3") not in cluster.wishes
    assert cluster.drained == set()


def test_a_bug_ends_the_run_and_does_not_hang_it(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("haman.playbook.moves.may_leave", broken)
    finish = ran.begin()
    assert finish.verdict is Verdict.STOPPED
    assert "haman itself failed: ZeroDivisionError: oops" in finish.text


def test_whom_an_inventory_chooses(cluster: FakeCluster) -> None:
    status = cluster.status("lb1")
    chosen, _ = choose(Inventory(), status, {"lb2": "ops@gate:2222"}, ("lb3", "lb2"))
    assert chosen is not None
    assert chosen.nodes == ("lb3", "lb2")
    assert chosen.hosts["lb2"] == Host("lb2", "gate", "ops", 2222, "ams1")
    assert chosen.hosts["lb3"] == Host("lb3", "10.0.0.3", site="ams1")
    everywhere = [
        structs.replace(n, address="" if n.name == "lb1" else n.address) for n in status.nodes
    ]
    unsaid = structs.replace(status, nodes=tuple(everywhere))
    chosen, _ = choose(Inventory(), unsaid, {}, (), "ops@10.81.0.11")
    assert chosen is not None
    assert chosen.hosts["lb1"] == Host("lb1", "10.81.0.11", "ops", site="ams1")
    assert chosen.hosts["lb3"] == Host("lb3", "10.0.0.3", site="ams1")
    _, problems = choose(Inventory(), status, {}, ("lb33",))
    assert problems == ("there is no node lb33 in the inventory; did you mean lb3?",)
    _, problems = choose(Inventory(site="ams2"), status, {}, ())
    assert problems[0].startswith("no node is in ams2")
    _, problems = choose(Inventory(), None, {}, ())
    assert problems[0].startswith("nobody to work on")
