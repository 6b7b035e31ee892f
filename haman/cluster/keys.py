"""The cluster's key file: who may speak for a node.

One line, or two while a key is being replaced:

    haman-key-1:<key id, 8 hex digits>:<base64 of 32 random bytes>

The first key seals what this node sends; every key opens what it receives. To rotate: add the new
key as the second line on every node, then make it the first everywhere, then remove the old one;
reload after each step. Empty lines and lines that start with `#` are ignored.
"""

import base64
import binascii
import os
import re
import stat
from dataclasses import field
from pathlib import Path

from haman.core.frozen import dataclass

FORMAT = "haman-key-1"
SECRET_BYTES = 32
KEYS_MAX = 2
_FILE_BYTES_MAX = 4096
_KEY_ID = re.compile(r"[0-9a-f]{8}")


class KeyFileError(Exception):
    """The key file cannot be used; the text says which line, and what to do."""


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """One shared secret. `id` is 8 hex digits and public; `secret` is 32 bytes, never printed."""

    id: str
    secret: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """The key as its line of the key file, without the newline."""
        return f"{FORMAT}:{self.id}:{base64.b64encode(self.secret).decode()}"


def generate() -> ClusterKey:
    """A new key from the kernel's random source."""
    # Not `secrets`: it loads a crypto library, and the engine, which checks the file, has none.
    return ClusterKey(os.urandom(4).hex(), os.urandom(SECRET_BYTES))


def write_key_file(path: Path, *keys: ClusterKey) -> None:
    """Create the key file `path`, readable by its owner alone.

    Raises:
        FileExistsError: there is one already; a key is never overwritten.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(f"{key.line}\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())


def read_key_file(path: Path) -> tuple[ClusterKey, ...]:
    """The keys of the file `path`, the sending one first.

    Raises:
        KeyFileError: missing, unreadable, open to others, or malformed.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise KeyFileError(f"{path}: no such file; make one with `haman keygen`") from None
    except PermissionError as error:
        # The controller runs as the user haman where there is one; the file was made by root.
        text = f"{path}: user id {os.geteuid()} may not read it; `chgrp haman` and `chmod 0640`"
        raise KeyFileError(text) from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    if mode & stat.S_IRWXO:
        raise KeyFileError(
            f"{path}: mode {mode:04o} lets everybody in; `chmod 0640 {path}`, and replace the key"
        )
    if len(content) > _FILE_BYTES_MAX:
        raise KeyFileError(f"{path}: longer than {_FILE_BYTES_MAX} bytes; not a key file")
    return parse_keys(content, str(path))


def parse_keys(content: bytes, source: str) -> tuple[ClusterKey, ...]:
    """The keys in `content`; `source` names it in errors, which never quote a secret.

    Raises:
        KeyFileError: no key, more than two, a malformed line, or two keys with one id.
    """
    keys: list[ClusterKey] = []
    for number, raw in enumerate(content.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        key = _parse_line(line, f"{source}: line {number}")
        if any(other.id == key.id for other in keys):
            raise KeyFileError(f"{source}: line {number}: key id {key.id} is there already")
        if len(keys) == KEYS_MAX:
            raise KeyFileError(
                f"{source}: line {number}: more than {KEYS_MAX} keys; remove the oldest"
            )
        keys.append(key)
    if not keys:
        raise KeyFileError(f"{source}: holds no key; make one with `haman keygen`")
    return tuple(keys)


def _parse_line(line: bytes, where: str) -> ClusterKey:
    expected = f"expected {FORMAT}:<8 hex digits>:<base64 of {SECRET_BYTES} bytes>"
    try:
        form, key_id, encoded = line.decode("ascii").split(":")
    except ValueError:
        raise KeyFileError(f"{where}: malformed; {expected}") from None
    if form != FORMAT:
        raise KeyFileError(f"{where}: unknown format; {expected}")
    if not _KEY_ID.fullmatch(key_id):
        raise KeyFileError(f"{where}: the key id is not 8 lower-case hex digits; {expected}")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError(f"{where}: the key is not base64; {expected}") from None
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(f"{where}: the key has {len(secret)} bytes; {expected}")
    return ClusterKey(key_id, secret)
