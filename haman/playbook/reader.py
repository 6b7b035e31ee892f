"""Read a playbook and all that it calls, or say everything that is wrong with them at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from haman.config.reader import Problem, parse_toml, read_text
from haman.config.walk import Findings, build, suggestion
from haman.playbook import shelf
from haman.playbook.model import AnyStep, Call, Parameter, Playbook, Upload
from haman.playbook.parameters import Value, check_declared, fill, settle, stand_ins
from haman.playbook.rules import check_rules, placed
from haman.playbook.words import title

DEPTH_MAX = 8
STEPS_MAX = 1000
HEAD = ("parameter", "name", "about")
"""Keys in which no parameters are filled in."""


def read(
    path: Path, given: Mapping[str, Value] | None = None
) -> tuple[Playbook | None, tuple[Problem, ...]]:
    """Read a playbook; called ones are put in their places, and sources made absolute.

    Args:
        path: of its file.
        given: values of its parameters; None = nobody gave any, and stand-ins do.

    Returns:
        The playbook and no problems, or None and all of them. Expected trouble never raises.
    """
    return _read(path, given, ())


def _read(
    path: Path, given: Mapping[str, Value] | None, callers: tuple[Path, ...]
) -> tuple[Playbook | None, tuple[Problem, ...]]:
    name = str(path)
    text, problems = read_text(path)
    tables = None
    if text is not None:
        tables, problems = parse_toml(text, name)
    if tables is None:
        return None, problems
    findings = Findings()
    declared = _declared(tables)
    values = _values(declared, given, findings)
    filled = {
        key: value if key in HEAD else fill(value, values, declared, key, findings)
        for key, value in tables.items()
    }
    playbook: Playbook = build(Playbook, filled, findings)
    check_declared(playbook.parameter, findings)
    check_rules(playbook, findings)
    problems = ()
    if not findings.found:
        playbook, problems = _with_calls(playbook, path, (*callers, path.resolve()), findings)
        if not findings.found and not problems:
            check_rules(playbook, findings)  # again: what is called must fit too
    own = tuple(Problem(name, key, message) for key, message in findings.found)
    return (None, (*own, *problems)) if own or problems else (playbook, ())


def _declared(tables: Mapping[str, Any]) -> dict[str, Parameter]:
    """Read the declarations in advance; what is wrong with them is found with the whole."""
    table = tables.get("parameter")
    if not isinstance(table, dict):
        return {}
    apart = Findings()
    return {n: build(Parameter, t, apart, f"parameter.{n}") for n, t in table.items()}


def _values(
    declared: Mapping[str, Parameter], given: Mapping[str, Value] | None, findings: Findings
) -> dict[str, Value]:
    if given is None:
        return stand_ins(declared)
    values = settle(declared, given, findings)
    # A value that is missing or wrong was said; others must still be looked at.
    return stand_ins(declared) | values


def _with_calls(
    playbook: Playbook, path: Path, chain: tuple[Path, ...], findings: Findings
) -> tuple[Playbook, tuple[Problem, ...]]:
    """Put the steps of called playbooks in their places."""
    steps: list[AnyStep] = []
    problems: list[Problem] = []
    for key, step in placed(playbook):
        if not key.startswith("step["):
            continue
        if isinstance(step, Call):
            called, found = _called(step, key, path, chain, findings)
            problems += found
            steps += called
        else:
            steps.append(_anchored(step, path))
    if len(steps) > STEPS_MAX:
        findings.add("step", f"with those of called playbooks there are more than {STEPS_MAX}")
    once = {
        phase: tuple(_anchored(step, path) for step in getattr(playbook, phase))
        for phase in ("before", "after")
    }
    return replace(playbook, step=tuple(steps), **once), tuple(problems)


def _called(
    step: Call, key: str, path: Path, chain: tuple[Path, ...], findings: Findings
) -> tuple[tuple[AnyStep, ...], tuple[Problem, ...]]:
    target = shelf.find(step.playbook, path.parent)
    if target is None:
        known = [p.stem for p in shelf.everything()]
        findings.add(
            f"{key}.playbook",
            f"there is no playbook {step.playbook}{suggestion(step.playbook, known)}",
        )
        return (), ()
    if target.resolve() in chain or len(chain) >= DEPTH_MAX:
        turn = " → ".join(p.stem for p in (*chain, target))
        why = "calls itself" if target.resolve() in chain else f"is more than {DEPTH_MAX} deep"
        findings.add(f"{key}.playbook", f"{why}: {turn}")
        return (), ()
    called, problems = _read(target, step.parameters, chain)
    said = tuple(p for p in problems if not (p.path == str(target) and _is_given(p.key)))
    for problem in problems:
        if problem not in said:
            name = problem.key.removeprefix("parameter.")
            message = problem.message.partition(": give it")[0]
            findings.add(f"{key}.parameters.{name}", f"{message} (a parameter of {target.stem})")
    if called is None:
        return (), said
    if called.before or called.after:
        findings.add(
            f"{key}.playbook",
            f"{target.stem} has steps before or after the nodes, and cannot be called",
        )
    if step.when and any(s.when for s in called.step):
        findings.add(f"{key}.when", f"cannot be added: steps of {target.stem} have their own")
    prefix = step.name or target.stem
    return tuple(
        replace(
            s,
            name=f"{prefix}: {title(s)}",
            when=s.when or step.when,
            on_failure=s.on_failure or step.on_failure,
        )
        for s in called.step
    ), said


def _is_given(key: str) -> bool:
    """Whether a problem is the caller's: the value of a parameter, not its declaration."""
    return key.startswith("parameter.") and key.count(".") == 1


def _anchored(step: AnyStep, path: Path) -> AnyStep:
    """Make the source of an upload independent of the current folder."""
    if isinstance(step, Upload) and not step.source.startswith(("/", "{{", "‹")):
        return replace(step, source=str(path.resolve().parent / step.source))
    return step
