"""Events to a file: JSON lines, CSV or text, by the file's name."""

import csv
import io
from pathlib import Path

import msgspec

from haman.api.schema import Event

FIELDS = ("seq", "at", "node", "type", "service", "text", "reasons")


def export(events: tuple[Event, ...], name: str) -> tuple[str, bool]:
    """Write them; says what became of it, and whether it is well. Nothing is written over."""
    if not name.strip():
        return "no file is named", False
    path = Path(name.strip()).expanduser()
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(as_text(events, path.suffix))
    except FileExistsError:
        return f"{path} is there already; nothing was written", False
    except OSError as error:
        return f"{path}: {error.strerror}", False
    return f"{len(events)} events are in {path}", True


def as_text(events: tuple[Event, ...], suffix: str) -> str:
    """`.jsonl` or `.json` as the API has them, one a line; `.csv`; else text as it is shown."""
    if suffix in {".jsonl", ".json"}:
        return "".join(f"{msgspec.json.encode(event).decode()}\n" for event in events)
    if suffix == ".csv":
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(FIELDS)
        writer.writerows(_fields(event) for event in events)
        return table.getvalue()
    return "".join(
        "  ".join(word for word in (e.at, e.node, e.service, e.type, e.text, _why(e)) if word)
        + "\n"
        for e in events
    )


def _fields(event: Event) -> tuple[object, ...]:
    return (event.seq, event.at, event.node, event.type, event.service, event.text, _why(event))


def _why(event: Event) -> str:
    return "; ".join(reason.text for reason in event.reasons)
