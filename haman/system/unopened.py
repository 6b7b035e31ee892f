"""Parts of a package, loaded without the package's own code.

Python runs a package's own code before any part of it, and some packages load all of themselves there:
aiohttp its client, a third of it, for who wants the server; pyroute2 a database, two event loops and six
families of netlink, four fifths of it, for who wants to decode a route.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Unopened(ModuleType):
    """A package whose own code runs as soon as anything of it is asked for that is no part, nor there."""

    def __getattr__(self, name: str) -> Any:
        part = f"{self.__name__}.{name}"
        if (
            find_spec(part) is not None
        ):  # not opened in the midst of loading one, which it may load itself
            return import_module(part)
        _open(self)
        return getattr(self, name)


def load(package: str, *parts: str, **stand_ins: object) -> tuple[ModuleType, ...]:
    """Load modules of a package; the package itself once somebody asks it for something else.

    A release whose parts do need the package gets it.

    Args:
        package: of the top level.
        parts: names of modules below it.
        stand_ins: what the parts ask the package for and the package is not to be loaded for.

    Raises:
        ImportError: there is no such package, or part.
    """
    names = [f"{package}.{part}" for part in parts]
    spec = None if package in sys.modules else find_spec(package)
    if spec is None:
        return tuple(map(import_module, names))
    module = sys.modules[package] = module_from_spec(spec)
    vars(module).update(stand_ins)
    try:
        found = tuple(map(import_module, names))
    except ImportError:
        _open(module)
        return tuple(map(import_module, names))
    module.__class__ = _Unopened
    return found


def _open(package: ModuleType) -> None:
    package.__class__ = ModuleType
    assert package.__spec__ is not None
    assert package.__spec__.loader is not None
    package.__spec__.loader.exec_module(package)
