"""The parameters of a playbook: given values checked, and filled into its tables. Pure.

They are filled in before the types are built, so that `timeout_s = "{{drain_s}}"` becomes the number,
and every rule sees what will really be done.
"""

import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from haman.config.walk import Findings, suggestion
from haman.playbook.model import FACTS, Parameter

SHELL_KEYS = frozenset({"command", "undo", "validate"})
"""Keys whose text a shell reads: values stand there as one quoted word each."""
VALUE_MAX = 64 * 1024
"""Characters of a value."""

Value = str | int | float | bool

_HOLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")
_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}


def settle(
    declared: Mapping[str, Parameter], given: Mapping[str, Value], findings: Findings
) -> dict[str, Value]:
    """Give every parameter its value; what is missing or wrong goes to `findings`.

    Args:
        declared: as the playbook has them.
        given: by name; text is read as the parameter's type.
        findings: takes problems, keyed `parameter.NAME`.
    """
    for name in given:
        if name not in declared:
            hint = suggestion(name, declared) if declared else "; the playbook has none"
            findings.add(f"parameter.{name}", f"there is no such parameter{hint}")
    values: dict[str, Value] = {}
    for name, parameter in declared.items():
        key = f"parameter.{name}"
        raw = given.get(name, parameter.default)
        if raw is None:
            about = f" ({parameter.about})" if parameter.about else ""
            findings.add(key, f"is missing: give it with --set {name}=…{about}")
            continue
        value = _typed(parameter, raw)
        if value is None:
            findings.add(key, f'"{raw}" is not {_KINDS[parameter.type]}')
        elif problem := _unfit(parameter, value):
            findings.add(key, problem)
        else:
            values[name] = value
    return values


def stand_ins(declared: Mapping[str, Parameter]) -> dict[str, Value]:
    """Values to read a playbook with that nobody gave any: defaults, else something of the type."""
    found: dict[str, Value] = {}
    for name, parameter in declared.items():
        value = None if parameter.default is None else _typed(parameter, parameter.default)
        if value is None and parameter.type in {"whole", "number"}:
            value = _typed(parameter, parameter.min or 1)
        if value is None and parameter.type == "flag":
            value = False
        found[name] = f"‹{name}›" if value is None else value
    return found


def check_declared(declared: Mapping[str, Parameter], findings: Findings) -> None:
    """Note what is wrong with the declarations themselves."""
    for name, parameter in declared.items():
        key = f"parameter.{name}"
        if name in FACTS:
            findings.add_rule(f"{name} is what a step knows of its node; choose another name", key)
        if parameter.pattern:
            try:
                re.compile(parameter.pattern)
            except re.error as error:
                findings.add_rule(f"is no regular expression: {error}", f"{key}.pattern")
                continue
        if parameter.default is None:
            continue
        value = _typed(parameter, parameter.default)
        if value is None:
            findings.add_rule(f"must be {_KINDS[parameter.type]}", f"{key}.default")
        elif parameter.default != "" and (problem := _unfit(parameter, value)):
            findings.add_rule(problem, f"{key}.default")


def fill(
    value: Any,
    values: Mapping[str, Value],
    declared: Mapping[str, Parameter],
    key: str,
    findings: Findings,
) -> Any:
    """Fill parameters into parsed TOML; facts of the node stay as they are.

    A text that is nothing but one parameter becomes its value, with its type.
    """
    if isinstance(value, dict):
        filled = {}
        for name, inside in value.items():
            here = f"{key}.{name}" if key else name
            known = str(fill(name, values, declared, here, findings))
            filled[known] = fill(inside, values, declared, here, findings)
        return filled
    if isinstance(value, list):
        return [
            fill(v, values, declared, f"{key}[{place}]", findings)
            for place, v in enumerate(value, 1)
        ]
    if not isinstance(value, str):
        return value
    shell = key.rpartition(".")[2] in SHELL_KEYS
    whole = _HOLE.fullmatch(value)
    if whole and whole[1] in values and not shell:
        return values[whole[1]]

    def one(hole: re.Match[str]) -> str:
        name = hole[1]
        if name in FACTS:
            return hole[0]
        if name not in declared:
            findings.add(
                key, f"there is no parameter {name}{suggestion(name, [*declared, *FACTS])}"
            )
        if name not in values:
            return ""  # said already
        text = _text(values[name])
        return shlex.quote(text) if shell and declared[name].type != "command" else text

    return _HOLE.sub(one, value)


def render(text: str, facts: Mapping[str, str], *, quoted: bool) -> str:
    """Fill the facts of a node in; a fact that is not known now stays as it is."""

    def one(hole: re.Match[str]) -> str:
        if hole[1] not in facts:
            return hole[0]
        return shlex.quote(facts[hole[1]]) if quoted else facts[hole[1]]

    return _HOLE.sub(one, text)


_KINDS = {
    "text": "text",
    "command": "text",
    "path": "text",
    "whole": "a whole number",
    "number": "a number",
    "flag": "true or false",
}


def _typed(parameter: Parameter, raw: Value) -> Value | None:
    """Read a value as the parameter's type; None where it is none."""
    if parameter.type == "flag":
        word = str(raw).lower()
        return word in _TRUE if word in _TRUE | _FALSE else None
    if isinstance(raw, bool):
        return None
    if parameter.type not in {"whole", "number"}:
        return raw if isinstance(raw, str) else None
    try:
        number = float(raw)
    except ValueError:
        return None
    if parameter.type == "number":
        return number if math.isfinite(number) else None
    return int(number) if number.is_integer() else None


def _unfit(parameter: Parameter, value: Value) -> str:
    """Say what is wrong with a value of the right type; "" = nothing."""
    if isinstance(value, str):
        if len(value) > VALUE_MAX or "\0" in value:
            return f"must be at most {VALUE_MAX} characters, without NUL"
        if parameter.choices and value not in parameter.choices:
            return f'"{value}" must be one of {", ".join(parameter.choices)}'
        if parameter.pattern and not re.fullmatch(parameter.pattern, value):
            return f'"{value}" does not match {parameter.pattern}'
        return ""
    low = parameter.min is not None and value < parameter.min
    high = parameter.max is not None and value > parameter.max
    if not low and not high:
        return ""
    bounds = []
    if parameter.min is not None:
        bounds.append(f"at least {parameter.min:g}")
    if parameter.max is not None:
        bounds.append(f"at most {parameter.max:g}")
    return f"{value:g} must be {' and '.join(bounds)}"


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
