"""Build a typed value out of parsed TOML, collecting every problem instead of stopping at the first.

msgspec describes the model, and this walks the description. Where a value is bad, a placeholder
stands in for it, so that the rules between fields can still look at all the others; `Findings`
remembers which keys are bad, and drops what a rule says of them.
"""

import difflib
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from msgspec import inspect

from haman.config.forms import FORMS
from haman.core.frozen import dataclass

ITEMS_MAX = 1024
"""No array or table of the configuration is longer."""


@dataclass(slots=True)
class Findings:
    """Problems by key, in the order in which they were found."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, key: str, message: str) -> None:
        """Note what is wrong with the value at `key`."""
        self.found.append((key, message))

    def add_rule(self, message: str, key: str, *others: str) -> None:
        """Note at `key` what is wrong between it and `others`, unless one of them is bad itself."""
        bad = {k for k, _ in self.found}
        if not any(_touches(mine, theirs) for mine in (key, *others) for theirs in bad):
            self.add(key, message)


def _touches(key: str, bad: str) -> bool:
    """Whether `bad` is `key`, stands inside of it, or holds it."""
    for short, long in ((key, bad), (bad, key)):
        if long == short or (long.startswith(short) and long[len(short)] in ".["):
            return True
    return False


def labels(key: str, elements: list[Any]) -> list[str]:
    """Key of each table of an array: by its name when that tells it apart, else by its place.

    Places count from 1, as people do.
    """
    names = [e.get("name") if isinstance(e, Mapping) else None for e in elements]
    seen = Counter(n for n in names if isinstance(n, str))
    return [
        f"{key}[{name if isinstance(name, str) and name and seen[name] == 1 else place}]"
        for place, name in enumerate(names, 1)
    ]


def repeats(values: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Places of a value that was there before, with the place of its first."""
    first: dict[Any, int] = {}
    for place, value in enumerate(values):
        if first.setdefault(value, place) != place:
            yield first[value], place


def build(kind: type, value: object, findings: Findings, key: str = "") -> Any:
    """Build a `kind` (a msgspec struct) out of parsed TOML; problems go to `findings`.

    Args:
        kind: what to build.
        value: what tomli made of the file, or of the table at `key`.
        findings: takes the problems.
        key: where in the file the value stands; "" = it is the whole.
    """
    return _walk(inspect.type_info(kind), value, key, findings)


def _walk(kind: inspect.Type, value: object, key: str, findings: Findings) -> Any:
    if isinstance(kind, inspect.UnionType):
        # TOML has no null: what is written must be one of the others.
        kinds = [t for t in kind.types if not isinstance(t, inspect.NoneType)]
        if len(kinds) > 1:
            return _walk_tagged(kinds, value, key, findings)
        kind = kinds[0]
    if isinstance(kind, inspect.Metadata):
        return _walk_form(kind, value, key, findings)
    for described, walk in _WALKS.items():
        if isinstance(kind, described):
            return walk(kind, value, key, findings)
    raise TypeError(f"the configuration model has no reader for {kind}")


def _walk_form(kind: inspect.Metadata, value: object, key: str, findings: Findings) -> Any:
    text = _walk(kind.type, value, key, findings)
    form = (kind.extra or {})["form"]
    if isinstance(value, str) and (problem := FORMS[form](value)):
        findings.add(key, problem if value else "must not be empty")
    return text


def _walk_tagged(kinds: list[Any], value: object, key: str, findings: Findings) -> Any:
    """Tell several structs apart by the value of their tag; None where that cannot be done."""
    by_tag = {str(kind.tag): kind for kind in kinds}
    field = kinds[0].tag_field
    tag = value.get(field) if isinstance(value, Mapping) else None
    if isinstance(tag, str) and tag in by_tag:
        return _walk_struct(by_tag[tag], value, key, findings)
    if not isinstance(value, Mapping):
        findings.add(key, f"must be a table, not {_kind_of(value)}")
    elif field not in value:
        findings.add(_join(key, field), f"is missing; known: {', '.join(by_tag)}")
    else:
        hint = suggestion(str(tag), by_tag)
        findings.add(_join(key, field), f"there is no {_show(tag)}{hint}")
    return None


def suggestion(word: str, known: Collection[str]) -> str:
    """Name the nearest known word, or where none is near all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def _walk_struct(kind: inspect.StructType, value: object, key: str, findings: Findings) -> Any:
    fields = {f.name: f for f in kind.fields}
    table = value if isinstance(value, Mapping) else {}
    if not isinstance(value, Mapping):
        findings.add(key, f"must be a table, not {_kind_of(value)}")
    for name in table:
        if name not in fields and name != kind.tag_field:
            findings.add(_join(key, name), f"unknown key{suggestion(name, fields)}")
    values = {}
    for name, described in fields.items():
        here = _join(key, name)
        if name in table:
            if table[name] != "" or described.default != "":  # "" = not given, form or not
                values[name] = _walk(described.type, table[name], here, findings)
        elif described.required:
            values[name] = _placeholder(described.type)
            if isinstance(value, Mapping):
                findings.add(here, "is missing")
    return kind.cls(**values)


def _walk_array(kind: inspect.VarTupleType, value: object, key: str, findings: Findings) -> Any:
    if not isinstance(value, list):
        findings.add(key, f"must be an array, not {_kind_of(value)}")
        return ()
    if len(value) > ITEMS_MAX:
        findings.add(key, f"has {len(value)} items, more than the {ITEMS_MAX} allowed")
        return ()
    if isinstance(kind.item_type, inspect.StructType | inspect.UnionType):
        places = labels(key, value)
    else:
        places = [f"{key}[{place}]" for place in range(1, len(value) + 1)]
    return tuple(
        _walk(kind.item_type, item, place, findings)
        for item, place in zip(value, places, strict=True)
    )


def _walk_dict(kind: inspect.DictType, value: object, key: str, findings: Findings) -> Any:
    if not isinstance(value, Mapping):
        findings.add(key, f"must be a table, not {_kind_of(value)}")
        return {}
    if len(value) > ITEMS_MAX:
        findings.add(key, f"has {len(value)} keys, more than the {ITEMS_MAX} allowed")
        return {}
    return {n: _walk(kind.value_type, v, _join(key, n), findings) for n, v in value.items()}


def _walk_any(_kind: inspect.AnyType, value: object, key: str, findings: Findings) -> Any:
    """Take text, a number, or true or false: what a parameter may be."""
    if isinstance(value, str | int | float):
        return value
    findings.add(key, f"must be text, a number, or true or false, not {_kind_of(value)}")
    return ""


def _walk_str(_kind: inspect.StrType, value: object, key: str, findings: Findings) -> str:
    if not isinstance(value, str):
        findings.add(key, f"must be text, not {_kind_of(value)}")
        return ""
    if "\0" in value:
        findings.add(key, "must not contain a NUL character")
    return value


def _walk_bool(_kind: inspect.BoolType, value: object, key: str, findings: Findings) -> bool:
    if isinstance(value, bool):
        return value
    findings.add(key, f"must be true or false, not {_kind_of(value)}")
    return False


def _walk_int(kind: inspect.IntType, value: object, key: str, findings: Findings) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        findings.add(key, f"must be a whole number, not {_kind_of(value)}")
        return 0
    _check_range(kind, value, key, findings)
    return value


def _walk_float(kind: inspect.FloatType, value: object, key: str, findings: Findings) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        findings.add(key, f"must be a number, not {_kind_of(value)}")
        return 0.0
    if isinstance(value, float) and not math.isfinite(value):
        findings.add(key, "must be a finite number")
        return 0.0
    return float(value) if _check_range(kind, value, key, findings) else 0.0


def _walk_literal(kind: inspect.LiteralType, value: object, key: str, findings: Findings) -> Any:
    known = list(kind.values)
    if type(value) in {type(v) for v in known} and value in known:
        return value
    hint = ""
    if isinstance(value, str) and (
        close := difflib.get_close_matches(value, [str(v) for v in known], n=1)
    ):
        hint = f"; did you mean {close[0]}?"
    written = f'"{value}"' if isinstance(value, str) else _show(value)
    findings.add(key, f"must be one of {', '.join(map(str, known))}, not {written}{hint}")
    return known[0]


def _check_range(
    kind: inspect.IntType | inspect.FloatType, value: float, key: str, findings: Findings
) -> bool:
    low = (kind.ge is not None and value < kind.ge) or (kind.gt is not None and value <= kind.gt)
    high = (kind.le is not None and value > kind.le) or (kind.lt is not None and value >= kind.lt)
    if not low and not high:
        return True
    bounds = []
    if kind.ge is not None or kind.gt is not None:
        bounds.append(f"at least {kind.ge}" if kind.ge is not None else f"more than {kind.gt}")
    if kind.le is not None or kind.lt is not None:
        bounds.append(f"at most {kind.le}" if kind.le is not None else f"less than {kind.lt}")
    findings.add(key, f"must be {' and '.join(bounds)}, not {_show(value)}")
    return False


_WALKS: dict[type[inspect.Type], Callable[[Any, object, str, Findings], Any]] = {
    inspect.StructType: _walk_struct,
    inspect.VarTupleType: _walk_array,
    inspect.DictType: _walk_dict,
    inspect.StrType: _walk_str,
    inspect.BoolType: _walk_bool,
    inspect.IntType: _walk_int,
    inspect.FloatType: _walk_float,
    inspect.LiteralType: _walk_literal,
    inspect.AnyType: _walk_any,
}


def _placeholder(kind: inspect.Type) -> Any:
    """Stand in for a missing value; what uses it is never given to anybody but the rules."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.VarTupleType):
        return ()
    return 0 if isinstance(kind, inspect.IntType) else ""


def _join(key: str, name: str) -> str:
    plain = name and all(c.isalnum() or c in "_-" for c in name)
    shown = name if plain else f'"{name[:64]}"'
    return f"{key}.{shown}" if key else shown


def _kind_of(value: object) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    names |= {list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")


def _show(value: object) -> str:
    text = str(value) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    return text if len(text) <= 64 else text[:61] + "…"
