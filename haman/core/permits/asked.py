"""One ask under way: what was asked of whom, what they said, and whether it still is what it was."""

from dataclasses import field

from haman.core.because import listed
from haman.core.frozen import dataclass
from haman.core.ladder import Rung
from haman.core.permits import against
from haman.core.permits.messages import Answer, Ask, End, PermitId, Tell
from haman.core.permits.moves import LEAST, Move, again, stance_of
from haman.core.permits.scene import Scene
from haman.core.words import Reason


@dataclass(slots=True)
class Asked:
    """One ask.

    Attributes:
        urgency: see `Ask`.
        load: what this node used, by resource, in the native unit.
        voters: who must consent.
        since_ns: of the first word.
        before: the rung that the service had; None = a VIP.
        answers: by voter.
        revoked: why a voter took its grant back; () = none did.
        told_ns: of the last round of packets.
    """

    id: PermitId
    move: Move
    urgency: int
    load: dict[str, float]
    clients: float
    voters: tuple[str, ...]
    since_ns: int
    before: Rung | None
    answers: dict[str, Answer] = field(default_factory=dict)
    revoked: tuple[Reason, ...] = ()
    told_ns: int = 0
    in_force_ns: int = 0

    def asks(self, *, moved: bool) -> list[Tell]:
        """One packet for each voter."""
        stance, weight = stance_of(self.move)
        return [
            Tell(
                voter,
                Ask(
                    self.id,
                    self.move.service,
                    self.move.shares.get(voter, 0.0),
                    self.urgency,
                    self.load,
                    self.clients,
                    moved,
                    self.move.to,
                    stance,
                    weight,
                ),
            )
            for voter in self.voters
        ]

    def ends(self) -> list[Tell]:
        """The last word to each voter."""
        return [Tell(voter, End(self.id)) for voter in self.voters]

    @property
    def unanimous(self) -> bool:
        """Every voter has granted."""
        return all(v in self.answers and self.answers[v].granted for v in self.voters)

    def denial(self, *, late: bool) -> Reason | None:
        """Why it is over by what was answered, or not; None = it goes on.

        Args:
            late: the time for answers is over.
        """
        denied = {name: answer for name, answer in self.answers.items() if not answer.granted}
        final = {name: answer for name, answer in denied.items() if answer.final}
        if final:
            return against.denied(self.voters, final)
        if late:
            silent = [voter for voter in self.voters if voter not in self.answers]
            return against.unanswered(self.voters, silent, denied)
        return None

    def void(self, scene: Scene, *, asking: bool = True) -> Reason | None:
        """Why what was asked is not what would be done now; None = it is.

        Args:
            scene: as it is.
            asking: nothing was ordered yet, so that the shares can be told anew.
        """
        if self.revoked:
            return self.revoked[0]
        if why := against.silence(scene):
            return why
        shares = again(self.move, scene) if asking else self.move.shares
        more = [n for n, share in shares.items() if share > self.move.shares.get(n, 0.0) + LEAST]
        voters = set(against.voters(scene))
        if more or not shares or voters - set(self.voters):
            return Reason("changed", "who would get the load has changed since it was asked")
        lost = sorted(self.move.shares.keys() - voters)
        if lost:
            text = f"{listed(lost)} would get load and cannot take it any more"
            return Reason("changed", text)
        return None
