"""`haman replay`: what a node decided, and from what, out of its flight recording."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from haman.api.times import iso
from haman.cli.command import Command
from haman.cli.events import Since
from haman.cli.text import paint
from haman.controller.flight import read
from haman.controller.recorder import CURRENT, FOLDER, PREVIOUS
from haman.controller.replay import Replay, Replayed
from haman.core.decide import Decision, FailoverEnded, Transition
from haman.core.words import Reason

STATE = "/var/lib/haman"


@click.command(
    cls=Command,
    examples=(
        "haman replay",
        "haman replay lb1-flight/ --since 15m",
        "haman replay /var/lib/haman/flight/previous --json",
    ),
)
@click.argument("path", metavar="[FILE|DIRECTORY]", default=STATE, type=click.Path(path_type=Path))
@click.option(
    "--since", type=Since(), metavar="AGE|INSTANT", help="Show only what was decided after this."
)
@click.option(
    "--all", "every", is_flag=True, help="Every step, not only those that change something."
)
@click.option("--json", "as_json", is_flag=True, help="One step per line, with its inputs.")
def replay(path: Path, *, since: tuple[int, int] | None, every: bool, as_json: bool) -> None:
    """Step the decisions of a node through its flight recording again.

    An agent records what its decisions are made from, in the directory `flight` of its state. Here
    the same code decides again from the same inputs. Exit 1 if it decides otherwise than it did:
    then this is another version, or a bug.
    """
    replayed = Replay()
    earliest_ns = since[1] if since is not None else 0
    shown: Decision | None = None
    for step in _steps(replayed, files(path)):
        before, shown = shown, step.decision
        if step.at_ns < earliest_ns:
            continue
        if as_json:
            click.echo(msgspec.json.encode(_facts(step)).decode())
            continue
        lines = [*_told(before, step)]
        if every and not lines:
            lines = [_condition(step.decision)]
        if not step.same and step.certain:
            lines.append(click.style("decided otherwise than it was recorded", fg="red"))
        for line in lines:
            click.echo(f"{iso(step.at_ns)} {step.node} {line}")
    click.echo(summary(replayed), err=True)
    raise SystemExit(1 if replayed.differing or not replayed.steps else 0)


def files(path: Path) -> tuple[Path, ...]:
    """The files of a recording, oldest first.

    Raises:
        click.ClickException: there is none.
    """
    if path.is_dir():
        folder = path / FOLDER if (path / FOLDER).is_dir() else path
        found = tuple(folder / name for name in (PREVIOUS, CURRENT) if (folder / name).is_file())
        if found:
            return found
        raise click.UsageError(f"{folder} holds no flight recording (current, previous)")
    if path.is_file():
        return (path,)
    raise click.UsageError(f"{path}: there is no such file or directory")


def _steps(replayed: Replay, paths: tuple[Path, ...]) -> Iterator[Replayed]:
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise click.UsageError(f"{path}: {error.strerror}") from error
        yield from replayed.run(read(data))


def summary(replayed: Replay) -> str:
    """What there is to say at the end."""
    text = f"{replayed.steps} steps"
    if replayed.differing:
        text += f", {replayed.differing} decided otherwise than recorded"
    elif replayed.steps:
        text += ", all decided as recorded" if not replayed.uncertain else ""
    if replayed.uncertain:
        text += (
            f"; {replayed.uncertain} differ in the part that begins in the middle of a life, where "
            "what was decided before is not known"
        )
    if replayed.lost:
        text += f"; {replayed.lost} records were lost, the disk did not take them"
    if replayed.problem:
        text += f"; {replayed.problem}: what comes after cannot be read"
    return text


def _told(before: Decision | None, step: Replayed) -> Iterator[str]:
    """One line for each thing that is another than in the step before."""
    now = step.decision
    if before is None or before.condition is not now.condition:
        yield _condition(now)
    was = {each.vip: each for each in before.stances} if before else {}
    for stance in now.stances:
        old = was.get(stance.vip)
        if old is None or (old.contend, old.priority) != (stance.contend, stance.priority):
            what = f"contends at priority {stance.priority}" if stance.contend else "is released"
            yield _line(stance.vip, what, stance.reasons)
    served = {each.service: each for each in before.anycast} if before else {}
    for said in now.anycast:
        rung = served.get(said.service)
        if rung is None or (rung.stance, rung.weight) != (said.stance, said.weight):
            what = f"is {paint(said.stance)}" + (f", weight {said.weight}" if said.weight else "")
            yield _line(said.service, what, said.reasons)
    for ended in now.transitions:
        yield f"{ended.vip}: {_ended(ended)}"
    for move in step.stepped.moves:
        yield f"{move.vip}: moves to {move.to}, by permit"
    for note in step.stepped.notes:
        yield f"{note.type}: {note.text}"


def _ended(transition: Transition) -> str:
    if not isinstance(transition, FailoverEnded):
        return "came back here"
    taker = transition.taker
    return (
        f"the failover is over, {taker} took it"
        if taker
        else "the failover is over, nobody took it"
    )


def _condition(decision: Decision) -> str:
    return _line("", f"is {paint(decision.condition)}", decision.reasons)


def _line(about: str, what: str, why: tuple[Reason, ...]) -> str:
    told = "; ".join(reason.text for reason in why)
    return (f"{about}: " if about else "") + what + (f" ({told})" if told else "")


def _facts(step: Replayed) -> dict[str, Any]:
    return {
        "at": iso(step.at_ns),
        "node": step.node,
        "same": step.same,
        "certain": step.certain,
        "decision": step.decision,
        "tells": step.stepped.tells,
        "moves": step.stepped.moves,
        "notes": step.stepped.notes,
        "situation": step.inputs.situation,
        "own": step.inputs.own,
    }
