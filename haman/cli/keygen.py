"""`haman keygen`."""

import os
import stat
import tempfile
from pathlib import Path

import click

from haman.cli.command import Command
from haman.cli.reach import REFUSED, fail


@click.command(
    cls=Command,
    examples=(
        "haman keygen /etc/haman/cluster.key",
        "haman keygen --rotate /etc/haman/cluster.key",
    ),
)
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--rotate",
    is_flag=True,
    help="Add a second key to FILE instead; both open reports, the first seals them.",
)
def keygen(*, file: Path | None, rotate: bool) -> None:
    """Make a cluster key: on stdout, or as FILE with mode 0600. The nodes of a cluster share it.

    To replace a key: --rotate on one node, copy the file to the others and reload; then swap the
    two lines everywhere and reload; then delete the second line everywhere and reload.
    """
    from haman.cluster.keys import KEYS_MAX, KeyFileError, generate, read_key_file, write_key_file

    key = generate()
    if file is None:
        if rotate:
            raise click.UsageError("--rotate needs the FILE to add a key to")
        click.echo(key.line)
        return
    try:
        if not rotate:
            write_key_file(file, key)
            click.echo(f"{file}: written; copy it to the other nodes")
            return
        keys = read_key_file(file)
        if len(keys) >= KEYS_MAX:
            fail(REFUSED, f"{file}: holds {KEYS_MAX} keys already; finish that rotation first")
        _append(file, key.line)
    except FileExistsError:
        fail(REFUSED, f"{file}: exists, and a key is never overwritten (--rotate adds one)")
    except KeyFileError as error:
        fail(REFUSED, str(error))
    except OSError as error:
        fail(REFUSED, f"{file}: {error.strerror}")
    click.echo(f"{file}: key {key.id} was added; copy it to the other nodes and reload them")


def _append(file: Path, line: str) -> None:
    """Add a line so that a reader sees the old file or the new one, never half of it."""
    before = file.stat()
    content = file.read_text(encoding="ascii")
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as new:
            new.write(content if content.endswith("\n") else f"{content}\n")
            new.write(f"{line}\n")
            os.fchmod(new.fileno(), stat.S_IMODE(before.st_mode))
            if os.geteuid() == 0:
                os.fchown(new.fileno(), before.st_uid, before.st_gid)
            new.flush()
            os.fsync(new.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
