"""One line for people, with the numbers in it, for what a loss does to a survivor."""

from haman.core.headroom.outlook import Outlook
from haman.core.headroom.sound import Node
from haman.core.headroom.verdicts import STEP, STORM, TIGHT, Figure, Verdict
from haman.core.words import Reason, percent


def are_lost(lost: tuple[str, ...]) -> str:
    """The beginning of every such line: "if lb1 is lost"."""
    *most, last = lost
    return f"if {', '.join(most)} and {last} are lost" if most else f"if {last} is lost"


def reason(lead: str, found: Outlook) -> Reason:
    """Why the verdict on one survivor is what it is; `lead` says what happens to it."""
    worst = found.worst
    data = _data(found, worst)
    lead = f"{lead}, "
    if found.verdict is Verdict.UNKNOWN:
        return Reason("unknown-load", lead + _unknown(found, worst), data)
    if worst is None:  # then it was unknown
        return Reason("unknown-load", lead + f"nothing of {found.survivor.name} is known", data)
    if worst.phase == STORM:
        return Reason("storm-load", lead + _storm(found, worst), data)
    code = "step-load" if worst.phase == STEP else "steady-load"
    return Reason(code, f"{lead}{found.survivor.name} {_reaches(found, worst)}", data)


def _reaches(found: Outlook, worst: Figure) -> str:
    if not found.share:
        return f"stays at {percent(worst.total)} of {worst.resource}: it takes nothing over"
    at_once = " at once" if worst.phase == STEP else ""
    part = "" if found.share == 1 else f", its share of {percent(found.share)}"
    return (
        f"reaches {percent(worst.total)} of {worst.resource}{at_once}: {percent(worst.own)} of its"
        f" own, {percent(worst.added)} taken over{part}"
    )


def _storm(found: Outlook, worst: Figure) -> str:
    storm = found.survivor.storm
    each = (
        f", {found.cost_s * 1e6:.0f} µs each ({storm.confidence})" if found.cost_s and storm else ""
    )
    half = f"half of the clients' timeout of {storm.client_timeout_s:g} s" if storm else "the limit"
    return (
        f"{found.survivor.name} needs {found.drain_s or 0.0:.2f} s for the handshakes of"
        f" {found.clients or 0.0:.0f} clients{each}: {percent(worst.total)} of {half}"
    )


def _unknown(found: Outlook, worst: Figure | None) -> str:
    survivor = found.survivor.name
    names = ", ".join(dict.fromkeys(f"{gap.resource} ({gap.phase})" for gap in found.gaps))
    text = f"{names or 'every resource'} of {survivor} cannot be told"
    whys = "; ".join(dict.fromkeys(gap.why for gap in found.gaps if gap.why))
    text += f": {whys}" if whys else ""
    if worst is not None:
        text += f"; of what is known, {worst.resource} is the highest at {percent(worst.total)}"
    return text


def _data(found: Outlook, worst: Figure | None) -> dict[str, int | float | str]:
    data: dict[str, int | float | str] = {
        "survivor": found.survivor.name,
        "resource": worst.resource if worst else "",
        "phase": worst.phase if worst else "",
        "utilization": round(worst.total, 4) if worst else 0.0,
        "own": round(worst.own, 4) if worst else 0.0,
        "added": round(worst.added, 4) if worst else 0.0,
        "share": round(found.share, 4),
        "tight": TIGHT,
        "limit": worst.limit if worst else 0.0,
    }
    if found.clients is not None:
        data["clients"] = round(found.clients)
    if found.drain_s is not None:
        data["drain_s"] = round(found.drain_s, 4)
    return data


def no_survivor(
    lost: tuple[str, ...], orphans: tuple[str, ...], others: tuple[Node, ...]
) -> tuple[Reason, ...]:
    """Nobody can take over, and why not each of the others."""
    what = ", ".join(orphans) if orphans else "anything"
    reasons = [Reason("no-survivor", f"{are_lost(lost)}, no other node can serve {what}")]
    for node in others:
        if node.report is None:
            why = f"counted as full: {node.silence}"
        elif node.able:
            why = "not configured for it"
        else:
            why = node.report.condition.predicate
        reasons.append(Reason("cannot-take-over", f"{node.name} is {why}", {"node": node.name}))
    return tuple(reasons)
