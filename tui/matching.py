"""What a search or a filter means: pure.

web lb1          both words occur, in any of the fields
-engine-late     this word does not occur
node:lb1         it occurs in this field (any beginning of the field's name will do: n:lb1)
"""

from dataclasses import dataclass
from functools import lru_cache

from haman.api.runs import Offer
from haman.api.schema import Event, Node, Service

FIELDS = ("node", "service", "type", "text", "at")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    field: str
    wanted: bool


@lru_cache(maxsize=16)
def _words(query: str) -> tuple[_Word, ...]:
    found = []
    for part in query.lower().split():
        wanted = not (part.startswith("-") and len(part) > 1)
        word = part if wanted else part[1:]
        name, colon, rest = word.partition(":")
        field = next((f for f in FIELDS if name and f.startswith(name)), "") if colon else ""
        found.append(_Word(rest if field else word, field, wanted))
    return tuple(word for word in found if word.text)


def event_matches(query: str, event: Event) -> bool:
    """Whether an event is what `query` describes; "" describes every event."""
    fields = {name: getattr(event, name).lower() for name in FIELDS}
    fields["text"] += " " + " ".join(reason.text for reason in event.reasons).lower()
    everything = " ".join(fields.values())
    return all(
        (word.text in fields.get(word.field, everything)) is word.wanted for word in _words(query)
    )


def node_matches(query: str, node: Node) -> bool:
    """Whether a node is what `query` describes, by name, site, condition or reasons."""
    return _occurs(query, (node.name, node.site, node.condition, *(r.text for r in node.reasons)))


def service_matches(query: str, service: Service) -> bool:
    """Whether a service is what `query` describes, by name, kind, state or addresses."""
    told = (service.name, service.kind, service.state, *service.addresses, *service.prefixes)
    return _occurs(query, told)


def offer_matches(query: str, offer: Offer) -> bool:
    """Whether a playbook or drill is what `query` describes, by kind, name, purpose or lab."""
    return _occurs(query, (offer.kind, offer.name, offer.about, offer.lab))


def _occurs(query: str, told: tuple[str, ...]) -> bool:
    everything = " ".join(told).lower()
    return all((word.text in everything) is word.wanted for word in _words(query))
