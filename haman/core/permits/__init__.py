"""Permits: load leaves a busy node only with the consent of all that would get it.

Two small machines in each node, joined by `Permits`. The **asker** wants to move load of its own; the
**granter** answers others. They speak by `messages`; `scene` is what they judge by; `moves` knows what
could move and who would get how much of it, `fit` whether that has room (by `headroom`'s own
arithmetic), `crowd` what all nodes together say.

The asker
    idle       nothing is asked for
    asking     every voter is asked, and asked again every 250 ms
    moving     all consented: the rung, or the failover, is ordered, and not in force yet
    settling   in force; the load arrives at the peers, who still reserve what is missing

    from       when                                                       to
    ---------  ---------------------------------------------------------  -------------------------
    idle       saturated, over `hard` now, and nothing is against it      asking
    asking     every voter granted, and all is still as it was asked      moving: ordered
    asking     a final denial; not all answered in 2 s; a busier peer
               asks too; not wanted or not possible any more              idle, back-off
    moving     in force (the relay acknowledged it; the peer is active)   settling
    moving     revoked; the failover failed, or took 20 s; a rung is
               not in force 5 s after the ask; a voter is lost            idle, undone, back-off
    settling   15 s                                                       idle
    settling   revoked                                                    idle, one rung back, back-off

Against an ask: paused; in fault, drained, isolated, late; another node of this name; no peers; one that is silent or makes no
sense or does not know permits; it has granted room itself; `max_shedding` nodes shed; most nodes are
saturated or rise together; back-off; nobody else serves; no rung is left; one that would get load is
out of service. Each is a reason that the node tells (`Standing.holding`).

A *voter* is a fresh peer that is in service or saturated. It consents to every move, also to one that
brings it nothing: so two nodes cannot both have all consents at once.

What an anycast service sheds outlives its permit: the node stays at most at that rung. It takes one
rung back when its hold is over, it is in service, and the load that it would have there stays below
`recover`, by its own load or by the others'; or at once when a grant is revoked. Where only the clients
that come at once are too many for it, or where it is unknown what would come, it waits for ten holds.
A VIP that moved stays where it is. A life of the controller that finds a service at a reduced weight
takes it as shed.

The granter
    free       grants nothing
    granted    room is reserved, for one asker
    revoking   it took the grant back, and says so until the asker has heard it

    from       when                                                       to
    ---------  ---------------------------------------------------------  -------------------------
    free       an ask that fits                                           granted
    granted    the same ask again (answered again, its lease renewed)     granted
    granted    the asker ends it; or its lease ends                       free
    granted    saturated; or before the load moved: paused or out of
               service                                                    revoking
    revoking   the asker ends it; or the lease ends                       free

Timers
    lease      10 s after the asker's last word, at most 60 s in all. The asker must act within 5 s
               of its first word, and so never later than any granter has forgotten it.
    newness    nothing is granted in the first 10 s of a life: what an earlier one granted may be used
    climbed    nor for 3 s after a weight of this node's own rose: what that brings is not measured yet
    back-off   5 s after the first failure in a row, doubling up to 60 s
    hold       `hold_s` from the move, doubling with each flap up to ten times

Invariants
    At most one grant of a node is outstanding; while it is, the node does not ask.
    What is granted fitted below `hard` of every resource that acts, with all that is reserved.
    No move without the grants of all voters, each in its lease, while every configured peer is fresh.
    At most `max_shedding` nodes shed, as far as their reports tell; an asker with all consents knows.
    Unknown is denied. Lost, late, repeated and reordered messages delay, and do nothing else.
    One ask at a time, one rung at a time; attempts that fail come ever slower, to one a minute.
"""

from haman.core.permits.messages import (
    Answer,
    Ask,
    End,
    Heard,
    Message,
    PermitId,
    Revoke,
    Tell,
)
from haman.core.permits.permits import Permits, PermitsSnapshot, PermitsStepped
from haman.core.permits.scene import FailoverSeen, Scene
from haman.core.permits.standing import Note, PermitSettings, Standing, VipMove

__all__ = [
    "Answer",
    "Ask",
    "End",
    "FailoverSeen",
    "Heard",
    "Message",
    "Note",
    "PermitId",
    "PermitSettings",
    "Permits",
    "PermitsSnapshot",
    "PermitsStepped",
    "Revoke",
    "Scene",
    "Standing",
    "Tell",
    "VipMove",
]
