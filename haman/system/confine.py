"""What a child process does before it becomes its program: gives up what it shall not have.

``confine.py PARENT USER GROUP GROUPS POWERLESS COMMAND…`` (`python -I -S`), started by `spawn`. As a
program of its own, for nothing may be run between fork and exec of a process with threads; small,
for it stands before every start: it takes 15 ms of the child's time, none of the engine's.

In this order, each step before what it needs is given up:

1. the ordinary scheduler (`spawn` starts it as real-time, see there);
2. POWERLESS 1: out of the bounding set with every capability. This alone may be refused: it needs
   CAP_SETPCAP, and the steps after it hold without it;
3. GROUPS, GROUP and USER; empty = the engine's own;
4. POWERLESS 1: no_new_privs, no ambient capability, none effective, permitted or inheritable. So
   not even user 0 gets any by exec: with no_new_privs the kernel gives no more than there was
   (cap_bprm_creds_from_file), and there was nothing;
5. SIGKILL when the engine dies; after any change of credentials, which clears the setting. An
   engine that died before is noticed by another parent;
6. COMMAND, an absolute path first, with the environment as it is. Or the name of a module of haman's
   that needs only the standard library: its `main` is called in this interpreter, which saves starting a
   second one, with site-packages, and the quarter of a second that this takes on a busy host.
"""

import ctypes
import os
import sys

FAILED = 127
"""Exit status: the command was not run; why stands on standard error."""

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_SIGKILL = 9


def main(arguments: list[str]) -> None:
    """Confine this process, then run the command, or the module.

    Raises:
        OSError: refused by the kernel, or the command cannot be run.
        ProcessLookupError: the parent is dead.
    """
    parent, user, group, groups, powerless, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *values: object, refusable: bool = False) -> bool:
        if getattr(libc, function)(*values) == 0:
            return True
        code = ctypes.get_errno()
        if not refusable:
            raise OSError(code, f"{function}: {os.strerror(code)}")
        return False

    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if powerless == "1":
        capability = 0
        while call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0, refusable=True):
            capability += 1  # until the first that the kernel does not know, or EPERM
    if user:
        os.setgroups([int(each) for each in groups.split(",") if each])
        os.setgid(int(group))
        os.setuid(int(user))
    if powerless == "1":
        call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        call("capset", header, (ctypes.c_uint32 * 6)())
    call("prctl", _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        raise ProcessLookupError(f"process {parent}, its parent, is dead")
    if "/" in command[0]:
        os.execv(command[0], command)  # noqa: S606 - the engine's own command, no shell
    sys.path.insert(0, __file__.removesuffix("/haman/system/confine.py"))
    __import__(command[0])
    sys.exit(sys.modules[command[0]].main(command[1:]))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, ImportError) as error:
        sys.stderr.write(f"haman: {' '.join(sys.argv[6:])} was not started: {error}\n")
        sys.exit(FAILED)
