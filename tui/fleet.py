"""The pure function that is the only way to change the state of the terminal UI.

    connecting ──StatusFetched──► live ──StatusFailed, or silence > STALE_AFTER_S──► lost
        │                          ▲                                                   │
        └──StatusFailed──► absent ─┴───────────────────StatusFetched───────────────────┘

    no run ──RunStarted──► it goes on ──RunOver──► over ──RunForgotten, RunStarted──► …

    now ──MomentChosen(seq)──► past: the fleet as it stood after that event ──MomentChosen(None)──► now

Invariants: at most EVENTS_MAX events are kept, ascending by seq, of one place's journal; the cursor
stands on a node (and a service) that is in sight whenever there is one, and what is open in detail
exists; a state that did not change is the same object.
"""

from dataclasses import replace

from haman.api.schema import Event, Status
from tui.messages import (
    ActsForbidden,
    CursorPlaced,
    CursorStepped,
    DetailClosed,
    DetailOpened,
    EventsArrived,
    EventsBroke,
    EventsFiltered,
    EventsOpened,
    EventsSearched,
    Fact,
    FleetFiltered,
    LossAnswered,
    LossChosen,
    LossToggled,
    MomentChosen,
    OffersFiltered,
    OffersTold,
    RunForgotten,
    RunOver,
    RunStarted,
    RunStopped,
    RunTold,
    StatusFailed,
    StatusFetched,
    Ticked,
    WishAnswered,
    WishForgotten,
    WishSent,
)
from tui.past import as_of
from tui.picture import picture
from tui.runs import Run, told
from tui.state import EVENTS_MAX, Cursor, FleetState, Loss, Undertaking
from tui.trends import sampled


def reduce(state: FleetState, fact: Fact) -> FleetState:
    """What `state` becomes when `fact` happens."""
    match fact:
        case Ticked() | StatusFetched() | StatusFailed():
            return _heard(state, fact)
        case (
            EventsOpened()
            | EventsArrived()
            | EventsBroke()
            | EventsFiltered()
            | EventsSearched()
            | MomentChosen()
        ):
            return _journal(state, fact)
        case WishSent() | WishAnswered() | WishForgotten() | ActsForbidden():
            return _undertaken(state, fact)
        case LossToggled() | LossChosen() | LossAnswered():
            return replace(state, loss=_loss(state.loss, fact))
        case CursorStepped() | CursorPlaced() | DetailOpened() | DetailClosed() | FleetFiltered():
            return _looked(state, fact)
        case _:
            return _running(state, fact)


def _heard(state: FleetState, fact: Ticked | StatusFetched | StatusFailed) -> FleetState:
    match fact:
        case Ticked(at_s):
            return _at(state, at_s)
        case StatusFetched(status, at_s, place):
            return _with_status(_at(state, at_s), status, at_s, place)
        case StatusFailed(problem, at_s, retry_at_s):
            return replace(
                _at(state, at_s),
                problem=problem,
                attempts=state.attempts + 1,
                failing_since_s=state.failing_since_s if state.attempts else at_s,
                retry_at_s=retry_at_s,
            )


def _journal(
    state: FleetState,
    fact: EventsOpened
    | EventsArrived
    | EventsBroke
    | EventsFiltered
    | EventsSearched
    | MomentChosen,
) -> FleetState:
    match fact:
        case MomentChosen(seq):
            return _moment(state, seq)
        case EventsOpened():
            return replace(state, events_problem=None)
        case EventsArrived(events, place):
            return _with_events(state, events, place)
        case EventsBroke(problem):
            return replace(state, events_problem=problem)
        case EventsFiltered(query):
            return replace(state, events_query=query)
        case EventsSearched(query):
            return replace(state, events_search=query)


def _undertaken(
    state: FleetState, fact: WishSent | WishAnswered | WishForgotten | ActsForbidden
) -> FleetState:
    match fact:
        case ActsForbidden(because):
            return replace(state, read_only=True, read_only_because=because)
        case WishSent(plan, at_s):
            return replace(state, undertaking=Undertaking(plan, at_s))
        case WishAnswered(answer) if state.undertaking:
            return replace(state, undertaking=replace(state.undertaking, answer=answer))
        case WishForgotten() if state.undertaking:
            return replace(state, undertaking=None)
    return state


def _running(
    state: FleetState,
    fact: OffersTold | OffersFiltered | RunStarted | RunTold | RunStopped | RunOver | RunForgotten,
) -> FleetState:
    """What can be run, and the run; one at a time: what goes on is not lost sight of."""
    run = state.run
    goes_on = run is not None and run.goes_on
    match fact:
        case OffersFiltered(query):
            return replace(state, offers_query=query)
        case OffersTold(offers, problem):
            known = replace(state, offers=offers, offers_problem=None)
            return replace(state, offers_problem=problem) if problem else known
        case RunStarted(order, at_s) if not goes_on:
            return replace(state, run=Run(order, at_s))
        case RunForgotten() if not goes_on:
            return replace(state, run=None)
        case RunTold() | RunStopped() | RunOver() if run is not None and goes_on:
            return _ran(state, run, fact)
    return state


def _ran(state: FleetState, run: Run, fact: RunTold | RunStopped | RunOver) -> FleetState:
    match fact:
        case RunTold(line, at_s):
            return replace(_at(state, at_s), run=told(run, line, at_s))
        case RunStopped():
            return replace(state, run=replace(run, stopping=True))
        case RunOver(status, complaint, at_s):
            over = replace(run, status=status, complaint=complaint, ended_s=at_s, question=None)
            return replace(_at(state, at_s), run=over)


def _loss(loss: Loss, fact: LossToggled | LossChosen | LossAnswered) -> Loss:
    match fact:
        case LossToggled(node) if node in loss.nodes:
            return replace(loss, nodes=tuple(n for n in loss.nodes if n != node))
        case LossToggled(node):
            return replace(loss, nodes=(*loss.nodes, node))
        case LossChosen(nodes):
            return replace(loss, nodes=nodes)
        case LossAnswered(nodes, answer):
            return replace(loss, answered=nodes, answer=answer)


def _looked(
    state: FleetState,
    fact: CursorStepped | CursorPlaced | DetailOpened | DetailClosed | FleetFiltered,
) -> FleetState:
    match fact:
        case CursorStepped(nodes, services):
            return _stepped(state, nodes, services)
        case CursorPlaced(node, service):
            return _settled(replace(state, cursor=Cursor(node, service)))
        case DetailOpened(node, service):
            wanted = Cursor(node, service) if node or service else state.cursor
            opened = replace(state, detail=wanted)
            return opened if opened.detailed_node or opened.detailed_service else state
        case DetailClosed():
            return state if state.detail is None else replace(state, detail=None)
        case FleetFiltered(query):
            return _drawn(replace(state, query=query))


def _at(state: FleetState, at_s: float) -> FleetState:
    return state if at_s <= state.now_s else replace(state, now_s=at_s)


def _with_status(state: FleetState, status: Status, at_s: float, place: str) -> FleetState:
    names = {n.name for n in status.nodes}
    loss = state.loss
    if not names.issuperset(loss.nodes):
        loss = replace(loss, nodes=tuple(n for n in loss.nodes if n in names))
    fresh = replace(
        state,
        status=status,
        status_at_s=at_s,
        place=place,
        problem="",
        attempts=0,
        trends=sampled(state.trends, status, at_s),
        loss=loss,
        read_only=state.read_only or bool(status.read_only),
        read_only_because=state.read_only_because or status.read_only,
    )
    return fresh if fresh.moment else _drawn(fresh)


def _with_events(state: FleetState, events: tuple[Event, ...], place: str) -> FleetState:
    """Append what is new; another journal, or one that began anew (lower seq), replaces ours."""
    if not events:
        return state
    last = state.events[-1].seq if state.events else 0
    ours = state.events_place == place and events[-1].seq >= last
    known = state.events if ours else ()
    kept = (*known, *(e for e in events if not known or e.seq > last))
    dropped = max(0, len(kept) - EVENTS_MAX)
    return replace(
        state,
        events=kept[dropped:],
        events_place=place,
        events_dropped=state.events_dropped + dropped,
        events_problem=None,
    )


def _moment(state: FleetState, seq: int | None) -> FleetState:
    """Look at the past, or at the present again; an event that is not kept is none."""
    if state.status is None:
        return state
    event = next((e for e in state.events if e.seq == seq), None)
    moment = as_of(state.status, state.events, event) if event else None
    return state if moment is state.moment else _drawn(replace(state, moment=moment))


def _drawn(state: FleetState) -> FleetState:
    """Put what is to be seen into the picture."""
    status = state.moment.status if state.moment else state.status
    if status is None:
        return state
    return _settled(replace(state, picture=picture(status, state.query)))


def _settled(state: FleetState) -> FleetState:
    """Put the cursor on something that is in sight."""
    if not state.nodes:
        return state
    names = [n.name for n in state.nodes]
    node = state.cursor.node if state.cursor.node in names else names[0]
    service = state.cursor.service
    if service not in {s.name for s in state.services}:
        service = ""
    cursor = Cursor(node, service)
    if state.detail and not state.detailed_node and not state.detailed_service:
        state = replace(state, detail=None)
    return state if cursor == state.cursor else replace(state, cursor=cursor)


def _stepped(state: FleetState, nodes: int, services: int) -> FleetState:
    if not state.nodes:
        return state
    rows = [n.name for n in state.nodes]
    columns = ["", *(s.name for s in state.services)]
    row = rows.index(state.cursor.node) + nodes
    column = columns.index(state.cursor.service) + services
    cursor = Cursor(
        rows[min(max(row, 0), len(rows) - 1)], columns[min(max(column, 0), len(columns) - 1)]
    )
    return state if cursor == state.cursor else replace(state, cursor=cursor)
