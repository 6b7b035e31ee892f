"""`dataclass`, as the standard library's, but quick to define.

The standard one writes and compiles six methods for each frozen class as soon as it is defined, 1 ms of a core,
needed or not: more than half of what loading the engine cost. Here `__init__`, `__eq__` and `__hash__` are
compiled when they are first looked up, and the others are the same few functions for all classes. To type checkers it is the standard one,
and what the standard library does with instances (`fields`, `replace`, `asdict`, pickling, matching) works alike.

Others than plain frozen classes with slots are left to the standard library.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - it is exported
else:

    def dataclass(
        cls: type | None = None,
        /,
        *,
        frozen: bool = False,
        slots: bool = False,
        kw_only: bool = False,
        **others: Any,
    ) -> Any:
        """See the standard library's."""

        def make(cls: type) -> type:
            inherits = any(hasattr(base, "__dataclass_fields__") for base in cls.__bases__)
            if frozen and slots and not others and not inherits:
                return _frozen(cls, kw_only=kw_only)
            options = {"frozen": frozen, "slots": slots, "kw_only": kw_only, **others}
            return dataclasses.dataclass(cls, **options)

        return make if cls is None else make(cls)


def _frozen(cls: type, *, kw_only: bool) -> Any:
    own = dict(vars(cls))
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # or the standard library would inspect the signature for it
    made: Any = dataclasses.dataclass(
        init=False, repr=False, eq=False, slots=True, kw_only=kw_only
    )(cls)
    # What is to be told of it: by this the standard library knows a base class.
    told = made.__dataclass_params__
    told.init = told.repr = told.eq = told.frozen = True
    later = {"__init__": _init, "__eq__": _eq, "__hash__": _hash}
    methods: dict[str, Any] = {name: _Later(made, name, write) for name, write in later.items()}
    methods |= {"__repr__": _repr, "__setattr__": _set, "__delattr__": _delete}
    methods |= {"__getstate__": _state, "__setstate__": _restore}
    for name, method in methods.items():
        # A class with an `__eq__` of its own has None for `__hash__`.
        if own.get(name) is None:
            setattr(made, name, method)
    return made


@dataclasses.dataclass(slots=True)
class _Later:
    """Stands for a method until somebody looks it up, and has it written and compiled then."""

    cls: type
    name: str
    write: Callable[[type, dict[str, Any]], str]

    def __get__(self, instance: object, owner: type) -> Any:
        known: dict[str, Any] = {}
        exec(self.write(self.cls, known), known)  # noqa: S102 - as the standard library
        function = known[self.name]
        function.__qualname__ = f"{self.cls.__qualname__}.{self.name}"
        function.__module__ = self.cls.__module__
        setattr(self.cls, self.name, function)
        return function if instance is None else function.__get__(instance, owner)


def _init(cls: type, known: dict[str, Any]) -> str:
    known["_MISSING"] = dataclasses.MISSING
    first, last, body = ["self"], list[str](), list[str]()
    for field in _fields(cls):
        name = field.name
        # The slot's own descriptor: nothing is looked up, and it knows of no frozen class.
        known[f"_set_{name}"] = vars(cls)[name].__set__
        value = default = ""
        if field.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = field.default
            value = default = f"_default_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"] = field.default_factory
            value, default = f"_make_{name}()", "_MISSING"
        if field.init:
            value = f"{value} if {name} is _MISSING else {name}" if default == "_MISSING" else name
            (last if field.kw_only else first).append(f"{name}={default}" if default else name)
        if value:
            body.append(f"_set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join([*first, *(["*", *last] if last else [])])
    return f"def __init__({parameters}):\n    " + "\n    ".join(body or ["pass"])


def _eq(cls: type, _: dict[str, Any]) -> str:
    same = f"{_values(cls, 'self')} == {_values(cls, 'other')}"
    return f"""def __eq__(self, other):
    return {same} if other.__class__ is self.__class__ else NotImplemented"""


def _hash(cls: type, _: dict[str, Any]) -> str:
    return f"def __hash__(self):\n    return hash({_values(cls, 'self')})"


def _values(cls: type, instance: str) -> str:
    return f"({''.join(f'{instance}.{f.name}, ' for f in _fields(cls) if f.compare)})"


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def _repr(self: Any) -> str:
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _set(self: object, name: str, value: object) -> None:  # noqa: ARG001 - the signature is Python's
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: object, name: str) -> None:  # noqa: ARG001 - the signature is Python's
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[object]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _restore(self: Any, state: list[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
