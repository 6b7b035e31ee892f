"""The same drill on a lab and in the model, beside each other: where the verdicts differ. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from haman.lab.suite import Outcome
from haman.lab.verdict import Record, judge

HEAD = ("drill", "lab", "model", "expectations", "of them alike")


class Apart(Struct, frozen=True):
    """An expectation that held on one of the two alone; `lab` and `model` are what was got there."""

    name: str
    expected: str
    lab: str
    model: str


class Compared(Struct, frozen=True):
    """One drill on both.

    Attributes:
        lab: every expectation held on the lab.
        model: every expectation that the model can judge held in it.
        judged: how many expectations were judged on both.
        apart: those that did not come to the same.
    """

    drill: str
    lab: bool
    model: bool
    judged: int
    apart: tuple[Apart, ...] = ()


def compared(outcomes: Sequence[Outcome], modelled: Sequence[Outcome]) -> tuple[Compared, ...]:
    """The drills that were done on a lab and in the model, in the order of the first."""
    in_model = {o.drill.name: o for o in modelled if o.record is not None}
    return tuple(
        _compared(outcome, in_model[outcome.drill.name])
        for outcome in outcomes
        if outcome.record is not None and outcome.drill.name in in_model
    )


def _compared(outcome: Outcome, model: Outcome) -> Compared:
    assert outcome.record is not None
    assert model.record is not None
    judged, apart = differences(outcome.record, model.record)
    return Compared(outcome.drill.name, outcome.ok, model.ok, judged, apart)


def differences(lab: Record, model: Record) -> tuple[int, tuple[Apart, ...]]:
    """How many expectations were judged on both, and those that held on one of them alone."""
    told = {(v.name, v.expected): v for v in judge(model)}
    both = [(v, told[v.name, v.expected]) for v in judge(lab) if (v.name, v.expected) in told]
    apart = tuple(Apart(v.name, v.expected, v.got, m.got) for v, m in both if v.ok != m.ok)
    return len(both), apart


def to_table(compared: Sequence[Compared]) -> str:
    """One line per drill, and under it what held on one of the two alone."""
    rows = [HEAD, *(_row(each) for each in compared)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = []
    for row, each in zip(rows, (None, *compared), strict=True):
        cells = [c.ljust(w) for c, w in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
        lines += [_apart(a) for a in (each.apart if each is not None else ())]
    judged = sum(each.judged for each in compared)
    alike = judged - sum(len(each.apart) for each in compared)
    lines += ["", f"{len(compared)} drills on both: {alike} of {judged} verdicts are the same"]
    return "\n".join(lines)


def _row(each: Compared) -> tuple[str, ...]:
    marks = ("ok" if each.lab else "FAIL", "ok" if each.model else "FAIL")
    return (each.drill, *marks, str(each.judged), str(each.judged - len(each.apart)))


def _apart(a: Apart) -> str:
    return f"    {a.name}, expected {a.expected}: {a.lab} on the lab, {a.model} in the model"
