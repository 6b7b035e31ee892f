"""`dataclass` of the core does what the standard library's does."""

import copy
import dataclasses
import inspect
import pickle
import types
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar

import msgspec
import pytest

from haman.core import frozen


def define(decorate: Callable[..., Any]) -> types.SimpleNamespace:
    """The same classes, by one decorator."""

    @decorate(frozen=True, slots=True)
    class Nothing:
        pass

    @decorate(frozen=True, slots=True)
    class One:
        """Has a docstring."""

        of: str

    @decorate(frozen=True, slots=True)
    class Many:
        kind: ClassVar[str] = "many"
        first: int
        second: tuple[int, ...] = ()
        third: dict[str, int] = field(default_factory=dict)
        hidden: int = field(default=3, repr=False, compare=False)
        last: int = field(default=4, kw_only=True)

    @decorate(frozen=True, slots=True, kw_only=True)
    class Named:
        set_b: int
        b: int = 2

    @decorate(frozen=True, slots=True)
    class Derived:
        base: int
        twice: int = field(init=False)
        sevens: list[int] = field(init=False, default_factory=lambda: [7])
        eight: int = field(init=False, default=8)

        def __post_init__(self) -> None:
            object.__setattr__(self, "twice", 2 * self.base)

    @decorate(frozen=True, slots=True)
    class Own:
        text: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.text.lower() == other.text.lower()

        def __hash__(self) -> int:
            return 5

        def __repr__(self) -> str:
            return "own"

    @decorate(frozen=True, slots=True)
    class Child(One):
        more: int = 0

    return types.SimpleNamespace(**{k: v for k, v in locals().items() if isinstance(v, type)})


OURS, THEIRS = define(frozen.dataclass), define(dataclasses.dataclass)

CALLS = [
    ("Nothing", (), {}),
    ("One", ("a",), {}),
    ("One", (), {"of": "a"}),
    ("One", (), {}),
    ("One", ("a", "b"), {}),
    ("One", ("a",), {"no": 1}),
    ("Many", (1,), {}),
    ("Many", (1, (2,), {"x": 3}), {"last": 9, "hidden": 8}),
    ("Many", (1, (2,), {"x": 3}, 4, 5), {}),
    ("Named", (), {"set_b": 1}),
    ("Named", (1,), {}),
    ("Derived", (4,), {}),
    ("Derived", (4, 5), {}),
    ("Own", ("A",), {}),
    ("Child", ("a", 2), {}),
]


def told(classes: types.SimpleNamespace, name: str, args: Any, keys: Any) -> Any:
    """What a call comes to, as far as both libraries must agree."""
    try:
        made = getattr(classes, name)(*args, **keys)
    except TypeError as error:
        return str(error).split(".")[-1]
    return repr(made), dataclasses.asdict(made), made.__match_args__


@pytest.mark.parametrize(("name", "args", "keys"), CALLS)
def test_calls_and_what_is_shown_are_the_same(name: str, args: Any, keys: Any) -> None:
    assert told(OURS, name, args, keys) == told(THEIRS, name, args, keys)


@pytest.mark.parametrize("name", vars(OURS))
def test_signatures_are_the_same(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(c, name)) for c in (OURS, THEIRS))
    assert list(ours.parameters) == list(theirs.parameters)
    assert [p.kind for p in ours.parameters.values()] == [
        p.kind for p in theirs.parameters.values()
    ]


def test_equal_values_are_equal_and_hash_alike() -> None:
    one, many, own = OURS.One, OURS.Many, OURS.Own
    assert one("a") == one("a")
    assert one("a") != one("b")
    assert one("a") != OURS.Child("a")
    assert one("a") != THEIRS.One("a")
    assert len({one("a"), one("a"), one("b")}) == 2
    assert OURS.Nothing() == OURS.Nothing()
    assert hash(OURS.Nothing()) == hash(OURS.Nothing())
    assert many(1, hidden=1) == many(1, hidden=2)
    assert many(1, last=1) != many(1, last=2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(many(1))  # a dict is in it
    assert own("A") == own("a")
    assert hash(own("A")) == 5


def test_instances_cannot_be_changed() -> None:
    made = OURS.Many(1)
    with pytest.raises(FrozenInstanceError, match="'first'"):
        made.first = 2
    with pytest.raises(FrozenInstanceError, match="'other'"):
        made.other = 2
    with pytest.raises(FrozenInstanceError, match="'first'"):
        del made.first
    assert not hasattr(made, "__dict__")


def test_defaults_that_are_made_are_made_for_each() -> None:
    assert OURS.Many(1).third is not OURS.Many(1).third
    assert OURS.Derived(1).sevens is not OURS.Derived(1).sevens


def test_replaced_copied_and_matched_as_ever() -> None:
    made = OURS.Many(1, (2,))
    assert dataclasses.replace(made, first=5) == OURS.Many(5, (2,))
    assert copy.copy(made) == made
    assert copy.deepcopy(made) == made
    match made:
        case OURS.Many(first, second):
            assert (first, second) == (1, (2,))


@frozen.dataclass(frozen=True, slots=True)
class Sent:
    """Of the module, so that it can be pickled and decoded."""

    number: int
    more: tuple[str, ...] = ()


def test_pickled_and_encoded_before_any_was_made() -> None:
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode({"number": 1}), type=Sent)
    assert sent == Sent(1)
    assert pickle.loads(pickle.dumps(sent)) == sent
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode({"number": "1"}), type=Sent)


def test_nothing_is_compiled_before_it_is_needed() -> None:
    @frozen.dataclass(frozen=True, slots=True)
    class Late:
        at: int

    assert not inspect.isfunction(vars(Late)["__init__"])
    assert Late(3).at == 3
    assert inspect.isfunction(vars(Late)["__init__"])


def test_what_is_not_plain_is_left_to_the_standard_library() -> None:
    @frozen.dataclass(slots=True)
    class Open:
        at: int = 0

    @frozen.dataclass(frozen=True, slots=True, order=True)
    class Ordered:
        at: int

    opened = Open()
    opened.at = 5
    assert opened == Open(5)
    assert sorted([Ordered(2), Ordered(1)]) == [Ordered(1), Ordered(2)]
