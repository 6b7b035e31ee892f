"""Every worker of one HAProxy: the one that serves, and those that a reload left behind.

After a reload old workers live on until their last connection ends, which may take hours. Their CPU
time and descriptors are counted from /proc like everybody's. Their connections they tell only
through the master's socket (`-S`, found in the master's arguments): `@!PID show info`. Without it
they are not guessed: the answer says what it leaves out.

Handshakes are those of the serving worker alone: old ones do not listen any more.

HAProxy management guide, 9.4 (master CLI). Its session does not end before the asking side says
that it has asked everything (seen with 2.6).
"""

import asyncio
import itertools
import socket
from dataclasses import replace

from haman.core.frozen import dataclass
from haman.core.processes import ProcessId
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import TIMEOUT_S, MalformedError, bounded
from haman.proxies.haproxy import (
    HaproxySocket,
    connected,
    decoded,
    number,
    parse_info,
    received,
)
from haman.proxies.process import ProcessSet, ProcessTable

ASKED_MAX = 8
"""Old workers that are asked at once; the rest is said to be left out."""


@dataclass(frozen=True, slots=True)
class HaproxyWorkers:
    """The stats socket, and the master's for what the stats socket does not tell.

    Attributes:
        stats: leads to the worker that serves.
        processes: of this proxy.
        table: the kernel's.
    """

    stats: HaproxySocket
    processes: ProcessSet
    table: ProcessTable
    interval_s: float = 0.0

    @property
    def source(self) -> str:
        """For messages."""
        return self.stats.source

    async def ask(self) -> Answer | Unavailable:
        """One question to each worker, all at the same time."""
        old = self.processes.finishing
        if not old:
            return await self.stats.ask()
        answer, finishing = await asyncio.gather(self.stats.ask(), self._connections(old))
        if isinstance(answer, Unavailable) or answer.connections is None:
            return answer
        if isinstance(finishing, str):
            what = f"connections of {len(old)} old workers are not counted: {finishing}"
            return replace(answer, missing={**answer.missing, "connections": what})
        limit = answer.connections_limit
        return replace(
            answer,
            connections=answer.connections + finishing,
            connections_limit=None if limit is None else limit + finishing,
        )

    async def close(self) -> None:
        """Let go of the stats socket."""
        await self.stats.close()

    async def _connections(self, old: tuple[ProcessId, ...]) -> int | str:
        """The connections of all old workers, or why they are not known."""
        path = self._master_socket()
        if not path:
            return "HAProxy was not started with -S and the path of a master socket"
        if len(old) > ASKED_MAX:
            return f"more than {ASKED_MAX}; hard-stop-after bounds how long they live"
        answers = await asyncio.gather(
            *(
                bounded(_worker(path, process.pid), f"the master socket {path}", TIMEOUT_S)
                for process in old
            )
        )
        told = [answer for answer in answers if isinstance(answer, Answer)]
        unavailable = [
            answer
            for answer, process in zip(answers, old, strict=True)
            if isinstance(answer, Unavailable) and process in self.processes.members
        ]
        if unavailable:
            return unavailable[0].text
        return sum(answer.connections or 0 for answer in told)

    def _master_socket(self) -> str:
        for master in self.processes.masters:
            arguments = self.table.arguments(master.pid)
            for option, value in itertools.pairwise(arguments):
                if option == "-S":
                    return value.partition(",")[0].removeprefix("unix@")
        return ""


async def _worker(path: str, pid: int) -> Answer:
    """What one old worker says of itself.

    Raises:
        OSError, OverflowError: the socket cannot be used.
        MalformedError: the worker is not known to the master, or it is no HAProxy.
    """
    with await connected(path) as asked:
        question = f"@!{pid} show info\n".encode()
        await asyncio.get_running_loop().sock_sendall(asked, question)
        asked.shutdown(socket.SHUT_WR)
        text = decoded(await received(asked, lambda answer: answer.endswith(b"\n\n")))
    if not text.endswith("\n\n"):
        raise MalformedError("the answer was cut short")
    info = parse_info(text.strip("\n"))
    if number(info, "Pid") != pid:
        raise MalformedError(f"process {info['Pid']} answered for {pid}")
    return Answer(pid, info.get("Version", ""), connections=number(info, "CurrConns"))
