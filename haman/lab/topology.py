"""Reads containerlab topologies: YAML in, frozen dataclasses out, all problems at once.

The files stay valid for `containerlab deploy -t`; this reader takes the part of containerlab's
format that every runtime of haman can honour, and says so about the rest instead of ignoring it.
Format: https://containerlab.dev/manual/topo-def-file/.
"""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TOP_KEYS = ("name", "mgmt", "topology")
MGMT_KEYS = ("skip-when-unused",)
TOPOLOGY_KEYS = ("defaults", "kinds", "nodes", "links")
NODE_KEYS = ("kind", "image", "network-mode", "exec", "binds", "env", "sysctls", "labels")
LINK_KEYS = ("endpoints",)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, where libyaml is there, takes a tenth of the time."""
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
INTERFACE = re.compile(r"eth[1-9][0-9]{0,2}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file of the lab; `key` is dotted, "" for the file itself."""

    path: Path
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.path), self.key, self.message) if part)


class BadFileError(Exception):
    """A topology or drill cannot be used; `problems` holds every reason found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the host that a node sees at `target`."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the lab.

    Attributes:
        exec: commands run inside, in order, once the links are there; each split like a shell does.
        sysctls: kernel parameters set before the links come up.
        isolated: the links are all there is; elsewhere containerlab adds a management interface.
    """

    name: str
    image: str
    exec: tuple[tuple[str, ...], ...] = ()
    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link."""

    node: str
    interface: str


@dataclass(frozen=True, slots=True)
class Link:
    """A cable between two interfaces."""

    a: Endpoint
    b: Endpoint


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab, as its file describes it.

    Attributes:
        unmanaged: containerlab need not make a management network that no node uses.
    """

    name: str
    path: Path
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    unmanaged: bool = False

    def node(self, name: str) -> Node | None:
        """The node of that name, or None."""
        return next((node for node in self.nodes if node.name == name), None)

    def is_switch(self, name: str) -> bool:
        """Whether a node joins its interfaces in a bridge."""
        node = self.node(name)
        return node is not None and any("bridge" in words for words in node.exec)

    def cables(self, name: str) -> tuple[tuple[Endpoint, Endpoint], ...]:
        """The near and the far end of each of a node's links."""
        near = [(link.a, link.b) for link in self.links if link.a.node == name]
        return (*near, *((link.b, link.a) for link in self.links if link.b.node == name))

    def far_ends(self, name: str) -> tuple[Endpoint, ...]:
        """What the node's interfaces are plugged into."""
        return tuple(far for _, far in self.cables(name))


def read_topology(path: Path) -> Topology:
    """The topology of a file.

    Raises:
        BadFileError: with every problem of the file.
    """
    return _Reader(path).read()


def missing_sources(topology: Topology) -> list[Problem]:
    """The binds whose file is not there, once what a lab makes for itself was made."""
    return [
        Problem(
            topology.path, f"topology.nodes.{node.name}.binds", f"there is no file {bind.source}"
        )
        for node in topology.nodes
        for bind in node.binds
        if not bind.source.exists()
    ]


def suggestion(word: str, known: Sequence[str]) -> str:
    """`; did you mean …?`, or nothing."""
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


class _Reader:
    """Collects problems while it reads; a key that is wrong counts as absent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def problem(self, key: str, message: str) -> None:
        self.problems.append(Problem(self.path, key, message))

    def read(self) -> Topology:
        root = self.mapping("", self.load(), TOP_KEYS)
        if not NAME.fullmatch(name := self.text("name", root.get("name", ""))):
            self.problem("name", "must begin with a letter or digit and hold only those and . _ -")
        mgmt = self.mapping("mgmt", root.get("mgmt"), MGMT_KEYS)
        body = self.mapping("topology", root.get("topology"), TOPOLOGY_KEYS)
        defaults = self.mapping("topology.defaults", body.get("defaults"), NODE_KEYS)
        kinds = self.mapping("topology.kinds", body.get("kinds"), ("linux",))
        linux = self.mapping("topology.kinds.linux", kinds.get("linux"), NODE_KEYS)
        described = self.mapping("topology.nodes", body.get("nodes"))
        if not described:
            self.problem("topology.nodes", "a lab needs at least one node")
        nodes = tuple(
            self.node(str(name), value, (defaults, linux)) for name, value in described.items()
        )
        links = self.links(body.get("links"), {node.name for node in nodes})
        if self.problems:
            raise BadFileError(self.problems)
        unmanaged = mgmt.get("skip-when-unused") is True
        return Topology(name, self.path.resolve(), nodes, links, unmanaged)

    def load(self) -> object:
        try:
            return yaml.load(self.path.read_text(), Loader=LOADER)
        except OSError as error:
            self.problem("", error.strerror or str(error))
        except UnicodeDecodeError:
            self.problem("", "is not UTF-8 text")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            self.problem("", f"{where}{error.problem or 'is not YAML'}")
        except yaml.YAMLError as error:
            self.problem("", f"is not YAML: {error}")
        raise BadFileError(self.problems)

    def node(self, name: str, value: object, inherited: Sequence[Mapping[str, Any]]) -> Node:
        """A node, with what it inherits: as containerlab does, lists and mappings are joined."""
        key = f"topology.nodes.{name}"
        if not NAME.fullmatch(name):
            self.problem(key, "a node's name holds only letters, digits and . _ -")
        levels = (*inherited, self.mapping(key, value, NODE_KEYS))
        merged = {k: v for level in levels for k, v in level.items()}
        if (kind := merged.get("kind")) != "linux":
            self.problem(f"{key}.kind", f"must be 'linux', not {kind!r}")
        if (mode := merged.get("network-mode")) not in {None, "none"}:
            self.problem(f"{key}.network-mode", f"must be 'none', not {mode!r}")
        if not (image := self.text(f"{key}.image", merged.get("image", ""))):
            self.problem(f"{key}.image", "is missing; the lab's own is haman-lab")
        commands = self.joined(f"{key}.exec", [level.get("exec") for level in levels])
        binds = self.joined(f"{key}.binds", [level.get("binds") for level in levels])
        found = [self.bind(f"{key}.binds[{i}]", bind) for i, bind in enumerate(binds)]
        return Node(
            name=name,
            image=image,
            exec=tuple(self.command(f"{key}.exec[{i}]", c) for i, c in enumerate(commands)),
            binds=tuple({bind.target: bind for bind in found}.values()),
            env=self.overlaid(f"{key}.env", [level.get("env") for level in levels]),
            sysctls=self.overlaid(f"{key}.sysctls", [level.get("sysctls") for level in levels]),
            isolated=mode == "none",
        )

    def joined(self, key: str, values: Iterable[object]) -> Sequence[str]:
        return [text for value in values for text in self.texts(key, value)]

    def overlaid(self, key: str, values: Iterable[object]) -> Mapping[str, str]:
        return {k: v for value in values for k, v in self.scalars(key, value).items()}

    def command(self, key: str, text: str) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(text))
        except ValueError as error:
            self.problem(key, f"cannot be split into words: {error}")
            return ()

    def bind(self, key: str, text: str) -> Bind:
        source, _, rest = text.partition(":")
        target, _, mode = rest.partition(":")
        if not source or not target.startswith("/"):
            self.problem(key, f"must be SOURCE:/TARGET[:ro], not {text!r}")
        if mode not in {"", "ro", "rw"}:
            self.problem(key, f"the mode is ro or rw, not {mode!r}")
        # As containerlab does: relative sources are relative to the topology file.
        return Bind((self.path.parent / source).resolve(), target, read_only=mode == "ro")

    def links(self, value: object, nodes: set[str]) -> tuple[Link, ...]:
        key = "topology.links"
        if value is not None and not isinstance(value, list):
            self.problem(key, "must be a list")
            return ()
        links = []
        seen: set[Endpoint] = set()
        for i, item in enumerate(value or ()):
            link = self.mapping(f"{key}[{i}]", item, LINK_KEYS)
            texts = self.texts(f"{key}[{i}].endpoints", link.get("endpoints"))
            ends = [self.endpoint(f"{key}[{i}].endpoints[{j}]", t) for j, t in enumerate(texts)]
            for end in ends:
                if end.node and end.node not in nodes:
                    hint = suggestion(end.node, sorted(nodes))
                    self.problem(f"{key}[{i}]", f"there is no node {end.node!r}{hint}")
                if end in seen:
                    self.problem(f"{key}[{i}]", f"{end.node}:{end.interface} is used twice")
                seen.add(end)
            match ends:
                case [a, b]:
                    links.append(Link(a, b))
                case _:
                    self.problem(f"{key}[{i}].endpoints", "a link has two ends")
        return tuple(links)

    def endpoint(self, key: str, text: str) -> Endpoint:
        node, _, interface = text.partition(":")
        if not node or not INTERFACE.fullmatch(interface):
            self.problem(
                key, f"must be NODE:ethN with N ≥ 1 (eth0 is containerlab's), not {text!r}"
            )
        return Endpoint(node, interface)

    def mapping(
        self, key: str, value: object, known: Sequence[str] | None = None
    ) -> Mapping[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(key, f"must be a mapping, not {type(value).__name__}")
            return {}
        for name in value:
            if known is not None and name not in known:
                dotted = f"{key}.{name}" if key else str(name)
                hint = suggestion(str(name), known)
                self.problem(dotted, f"is not a key that haman's runtimes know{hint}")
        return value

    def scalars(self, key: str, value: object) -> Mapping[str, str]:
        found = {}
        for name, item in self.mapping(key, value).items():
            if isinstance(item, str | int | float):
                found[str(name)] = str(item)
            else:
                self.problem(f"{key}.{name}", "must be text or a number")
        return found

    def texts(self, key: str, value: object) -> Sequence[str]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.problem(key, "must be a list")
            return ()
        return [self.text(f"{key}[{i}]", item) for i, item in enumerate(value)]

    def text(self, key: str, value: object) -> str:
        if not isinstance(value, str):
            self.problem(key, f"must be text, not {value!r}")
            return ""
        return value
