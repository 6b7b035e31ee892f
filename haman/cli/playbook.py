"""`haman playbook`: list, show, run, resume."""

import getpass
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

import click
import msgspec

from haman.api import runs as api_runs
from haman.api import schema
from haman.api.targets import parse_target
from haman.cli.command import Command
from haman.cli.playbook_events import Events, offer, tell_check
from haman.cli.playbook_reach import FOLDER, Reach, connected, reaching
from haman.cli.playbook_view import Approval, View, view_of
from haman.cli.reach import REFUSED, UNREACHABLE, USAGE, fail
from haman.cli.text import table
from haman.config.walk import suggestion
from haman.playbook import explain, journal, report, session, shelf
from haman.playbook.check import check
from haman.playbook.facts import Finish, Verdict
from haman.playbook.hosts import Hosts
from haman.playbook.inventory import Chosen, choose
from haman.playbook.journal import JournalError
from haman.playbook.model import Inventory, Playbook
from haman.playbook.parameters import Value
from haman.playbook.reader import read
from haman.playbook.runner import Surroundings

P = ParamSpec("P")

VALUES = click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A parameter.")


@dataclass(frozen=True, slots=True)
class Showing:
    """How a run is shown, and what is kept of it."""

    yes: bool
    as_json: bool
    events: bool
    report_file: Path | None
    output: bool

    def view(self, nodes: tuple[str, ...], wanted: Verdict = Verdict.DONE) -> View | Events:
        """What shows it."""
        if self.events:
            return Events(wanted)
        return view_of(quiet=self.as_json, output=self.output, nodes=nodes)

    def around(self, hosts: Hosts, view: View | Events, folder: Path) -> Surroundings:
        """What the run works with."""
        ask = Approval(view, yes=self.yes).ask
        if isinstance(view, Events) and not self.yes:
            ask = view.attendant.ask
        return Surroundings(hosts, view.tell, ask, str(folder / "here"))


def showing(command: Callable[P, None]) -> Callable[P, None]:
    """Add what `run` and `resume` have in common."""
    for option in (
        click.option("--output", "-o", is_flag=True, help="Show what commands say."),
        click.option(
            "--report",
            "report_file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write a report: JSON, or Markdown for a name in .md.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="The report on stdout; progress on stderr."
        ),
        click.option(
            "--events",
            is_flag=True,
            help="For programs: what happens as lines of JSON on stdout; answers on stdin, whose end "
            "stops the run.",
        ),
        click.option("--yes", is_flag=True, help="Answer every question with yes."),
    ):
        command = option(command)
    return command


@click.group()
def playbook() -> None:
    """Work on nodes over SSH, one at a time, watched, and never below N−1."""


@playbook.command("list")
@click.option("--runs", is_flag=True, help="Runs of this machine instead, newest first.")
@click.option("--json", "as_json", is_flag=True, help="For programs: playbooks whole, as JSON.")
@FOLDER
def list_(*, runs: bool, as_json: bool, folder: Path) -> None:
    """Show the playbooks there are, or the runs."""
    if as_json and not runs:
        offers = tuple(offer(p, p.stem, *read(p)) for p in shelf.everything())
        _echo_json(api_runs.Offers(offers))
        return
    if runs:
        rows = [_run_row(path) for path in journal.runs(folder)]
        titles = ("RUN", "NODES", "ENDED", "")
        click.echo(table(titles, rows) if rows else "no run was made here")
        return
    rows = []
    for path in shelf.everything():
        found, problems = read(path)
        about = found.about if found is not None else f"cannot be used: {problems[0]}"
        rows.append((path.stem, about))
    click.echo(table(("PLAYBOOK", "WHAT IT DOES"), rows))


def _run_row(path: Path) -> tuple[str, ...]:
    try:
        record = journal.read(path)
    except JournalError as error:
        return path.stem, "?", "?", str(error)
    finish = record.finish
    ended = finish.verdict.value if finish is not None else "cut off, or goes on"
    return path.stem, ", ".join(record.header.nodes), ended, finish.text if finish else ""


@playbook.command()
@click.argument("name")
@VALUES
@click.option(
    "--json", "as_json", is_flag=True, help="For programs; every parameter must have its value."
)
def show(*, name: str, values: tuple[str, ...], as_json: bool) -> None:
    """Tell in words what the playbook NAME would do."""
    given = _given(values)
    if as_json:
        path = _path(name)
        made = offer(path, name, *read(path, given))
        _echo_json(made)
        sys.exit(USAGE if made.problems else 0)
    click.echo(explain.explain(_read(name, given or None)), nl=False)


@playbook.command(
    cls=Command,
    examples=(
        "haman playbook run rolling-restart --check",
        "haman playbook run push-config --set source=./haproxy.cfg --ssh ops@lb1",
        "haman playbook run rolling-restart --node lb2 --report restart.md",
    ),
)
@click.argument("name")
@VALUES
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only this, in this order.")
@click.option(
    "--host",
    "given_hosts",
    multiple=True,
    metavar="NODE=[USER@]HOST[:PORT]",
    help="Where to log in.",
)
@click.option("--check", "only_check", is_flag=True, help="Connect and verify; change nothing.")
@click.option("--force", is_flag=True, help="Go below N−1.")
@showing
@reaching
def run(
    reach: Reach,
    *,
    name: str,
    values: tuple[str, ...],
    nodes: tuple[str, ...],
    given_hosts: tuple[str, ...],
    only_check: bool,
    force: bool,
    folder: Path,
    yes: bool,
    as_json: bool,
    events: bool,
    report_file: Path | None,
    output: bool,
) -> None:
    """Run the playbook NAME (or the file PATH.toml) on the cluster."""
    given = _given(values)
    found = _read(name, given)
    targets = _targets(given_hosts)
    access = reach.access(found.inventory)
    asks = not (targets or found.inventory.host)
    status = reach.status(access) if asks else None
    chosen = _chosen(found.inventory, status, targets, nodes, reach.ssh or "")
    with connected(chosen, access) as hosts:
        if found.agents and status is None:
            status = session.first_look(hosts, chosen)
            chosen = _chosen(found.inventory, status, targets, nodes, reach.ssh or "")
        if only_check:
            told = check(found, chosen, hosts, force=force)
            if events:
                tell_check(told)
            else:
                click.echo(told.text())
            sys.exit(0 if told.ok else UNREACHABLE if told.unreachable else REFUSED)
        by = f"{getpass.getuser()}@{socket.gethostname()}"
        order = session.Order(found, _settled(found, given), chosen, by, force)
        how = Showing(yes, as_json, events, report_file, output)
        view = how.view(chosen.nodes)
        with view:
            around = how.around(hosts, view, folder)
            run_name, finish = session.begin(order, around, folder, view.running)
            _report(folder, run_name, how, view)
    _end(run_name, finish)


@playbook.command()
@click.argument("run_name", metavar="RUN")
@click.option("--roll-back", "back", is_flag=True, help="Take everything back instead.")
@click.option("--abandon", is_flag=True, help="Leave everything as it is; let the cluster go.")
@showing
@reaching
def resume(
    reach: Reach,
    *,
    run_name: str,
    back: bool,
    abandon: bool,
    folder: Path,
    yes: bool,
    as_json: bool,
    events: bool,
    report_file: Path | None,
    output: bool,
) -> None:
    """Go on with RUN, which was cut off or stopped; what was done is not done again."""
    kept, record = journal.reopen(folder, run_name)
    header = record.header
    chosen = Chosen({h.node: h for h in header.hosts}, header.nodes)
    how = Showing(yes, as_json, events, report_file, output)
    with kept, connected(chosen, reach.access(header.playbook.inventory)) as hosts:
        wanted = Verdict.ROLLED_BACK if back else Verdict.DONE
        view = how.view(header.nodes, wanted)
        around = how.around(hosts, view, folder)
        if abandon:
            session.give_up(header, around)
            click.echo(f"{run_name} no longer holds its nodes; they stay as they are")
            return
        with view:
            finish = session.resume(kept, record, around, view.running, back=back)
            _report(folder, run_name, how, view)
    _end(run_name, finish, wanted)


def _settled(found: Playbook, given: dict[str, str]) -> dict[str, Value]:
    """The values of a run's parameters, for its journal: given ones and defaults."""
    defaults = {n: p.default for n, p in found.parameter.items() if p.default is not None}
    return {**defaults, **given}


def _report(folder: Path, run_name: str, how: Showing, view: View | Events) -> None:
    record = journal.read(folder / f"{run_name}{journal.SUFFIX}")
    made = report.report(record, session.replay(record))
    if isinstance(view, Events):
        view.report(made)
    elif how.as_json:
        click.echo(report.to_json(made), nl=False)
    if (file := how.report_file) is not None:
        text = report.to_markdown(made) if file.suffix == ".md" else report.to_json(made)
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            fail(REFUSED, f"{file}: {error.strerror}")


def _end(run_name: str, finish: Finish, wanted: Verdict = Verdict.DONE) -> None:
    if finish.verdict is wanted:
        return
    hint = ""
    if finish.verdict.resumable:
        hint = f"\nhaman playbook resume {run_name} goes on; --roll-back takes everything back"
    fail(REFUSED, f"{finish.verdict}: {finish.text}{hint}")


def _path(name: str) -> Path:
    path = shelf.find(name)
    if path is None:
        known = [p.stem for p in shelf.everything()]
        absent = f"there is no playbook{suggestion(name, known)}"
        fail(USAGE, f"{name}: {'no such file' if name.endswith('.toml') else absent}")
    return path


def _echo_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _read(name: str, given: dict[str, str] | None) -> Playbook:
    path = _path(name)
    found, problems = read(path, given)
    if found is None:
        for problem in problems:
            click.echo(str(problem), err=True)
        sys.exit(USAGE)
    return found


def _given(values: tuple[str, ...]) -> dict[str, str]:
    return dict(_pair(text, "--set", "NAME=VALUE") for text in values)


def _targets(given: tuple[str, ...]) -> dict[str, str]:
    found = dict(_pair(text, "--host", "NODE=HOST") for text in given)
    for text in found.values():
        try:
            parse_target(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--host") from error
    return found


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.BadParameter(f'"{text}" is not {form}', param_hint=option)
    return name, value


def _chosen(
    inventory: Inventory,
    status: schema.Status | None,
    targets: dict[str, str],
    nodes: tuple[str, ...],
    asked: str,
) -> Chosen:
    chosen, problems = choose(inventory, status, targets, nodes, asked)
    if chosen is None:
        fail(USAGE, "\n".join(problems))
    return chosen
