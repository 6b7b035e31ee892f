"""What a node in namespaces does first: gets files of its own, becomes process 1.

    python -I -S nest.py ORDER_FD READY_FD

ORDER_FD is a file with one JSON object:

    {"name": "lb1", "logs": "/…/logs", "sysctls": {"net.ipv4.ip_forward": "1"},
     "binds": [{"source": "/…/haman.toml", "target": "/etc/haman/haman.toml", "read_only": true}]}

The system calls are made here: a shell with mount(8) takes some forty processes for a node, and every
node of a lab starts at once. Only the standard library, and little of that, is loaded.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
"""mount(2)."""
HOSTS = "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n"
OVERLAYS = {"/etc": "/run/lab/etc", "/var/lib": "/run/lab/lib"}


def furnish(order: dict[str, Any]) -> None:
    """Make the files of the mount namespace that this process is in those of a node.

    Raises:
        OSError: the kernel refused something; it names the path.
    """
    name = order["name"]
    mount("lab", "/run", "tmpfs", data="mode=755")
    # First, because an overlay may hide their folder.
    Path("/run/lab/logs").mkdir(parents=True)
    mount(order["logs"], "/run/lab/logs", flags=MS_BIND)
    for lower, own in OVERLAYS.items():
        for layer in ("upper", "work"):
            Path(own, layer).mkdir(parents=True)
        layers = f"lowerdir={lower},upperdir={own}/upper,workdir={own}/work"
        mount("lab", lower, "overlay", data=layers)
    mount("lab", "/sys", "sysfs")
    write("/proc/sys/kernel/hostname", f"{name}\n")
    write("/etc/hostname", f"{name}\n")
    write("/etc/hosts", HOSTS.format(name=name))
    for bind in order["binds"]:
        show(bind["source"], bind["target"], read_only=bind["read_only"])
    for key, value in order["sysctls"].items():
        write("/proc/sys/" + key.replace(".", "/"), f"{value}\n")


def show(source: str, target: str, *, read_only: bool) -> None:
    """Have a file or folder of the host's at `target`, which is made if it is not there."""
    place = Path(target)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    elif not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(source, target, flags=MS_BIND)
    if read_only:
        mount(source, target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def mount(source: str, target: str, kind: str = "", *, flags: int = 0, data: str = "") -> None:
    """Have something at a place, as the system call does.

    Raises:
        OSError: refused.
    """
    words = (source, target, kind)
    result = _libc.mount(*map(os.fsencode, words), ctypes.c_ulong(flags), data.encode() or None)
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def write(path: str, text: str) -> None:
    """Write a file, in one go as the kernel's own must be written.

    Raises:
        OSError: refused.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(file)


_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Run as a program."""
    order_fd, ready_fd = map(int, sys.argv[1:])
    with os.fdopen(order_fd, encoding="utf-8") as file:
        order = json.load(file)
    try:
        furnish(order)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    # Without `site` nothing but the standard library is found.
    sys.path.append(str(Path(__file__).parents[2]))
    from haman.lab.init import serve  # noqa: PLC0415

    return serve(ready_fd)


if __name__ == "__main__":
    sys.exit(main())
