"""The controller process: from a file descriptor to a running controller, and to its end."""

import asyncio
import logging
import secrets
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from haman.bgp.announcer import Announcer
from haman.cluster.keys import ClusterKey, KeyFileError, read_key_file
from haman.cluster.mesh import Mesh
from haman.cluster.transport import UdpTransport
from haman.config.model import Config
from haman.config.reader import read
from haman.config.reload import fixed_for_life
from haman.controller.controller import Controller
from haman.controller.engine_side import EngineSide
from haman.controller.intent import IntentKeeper, IntentStore
from haman.controller.journal import Journal
from haman.controller.parts import Parts
from haman.controller.ports import Clock
from haman.controller.recorder import FlightRecorder, Off, Recorder
from haman.controller.senses import Senses
from haman.controller.sensing import MakeSenses
from haman.controller.surface import Agent
from haman.core.frozen import dataclass
from haman.core.words import Event, Reason
from haman.system.link import ControllerEnd

EXIT_OK = 0
EXIT_CONFIG = 2
MIB = 1024 * 1024

log = logging.getLogger(__name__)

Serve = Callable[[Agent], AbstractAsyncContextManager[object]]


async def run(
    config: Config,
    config_path: Path,
    engine_fd: int,
    clock: Clock,
    serve: Serve,
    *,
    make_senses: MakeSenses | None = None,
) -> int:
    """Run the controller until SIGTERM or until the engine closes its link.

    Args:
        config: as read from `config_path`, valid.
        config_path: read again on SIGHUP.
        engine_fd: this process's end of the SOCK_SEQPACKET pair.
        clock: the host's clocks, or a test's.
        serve: entered with the agent while it runs; the API server in production.
        make_senses: what senses the proxy; None = `Senses`.

    Returns:
        The exit status: 0 when asked to stop, 2 when the key file cannot be used or the cluster's
        address cannot be bound.
    """
    try:
        keys = cluster_keys(config)
    except KeyFileError as error:
        log.error("cluster.key_file: %s", error)  # noqa: TRY400 - the operator's mistake, no bug
        return EXIT_CONFIG
    loop = asyncio.get_running_loop()
    shared = Path(config.api.socket).parent  # with the engine, and with ExaBGP's relay
    async with AsyncExitStack() as stack:
        engine = EngineSide(ControllerEnd(socket.socket(fileno=engine_fd)), clock)
        stack.callback(engine.close)
        directory = Path(config.state.directory)
        _make_directory(directory)
        journal = Journal(directory / "journal.db", config.node.name)
        stack.callback(journal.close)
        intent = IntentKeeper(IntentStore(directory / "intent.db"))
        recorder: FlightRecorder = Off()
        if config.state.recording_mib:
            bytes_max = config.state.recording_mib * MIB
            recorder = Recorder(directory, bytes_max, config.node.name, clock)
            stack.callback(recorder.close)
        transport = UdpTransport()
        stack.callback(transport.close)
        parts = Parts(
            clock=clock,
            engine=engine,
            senses=make_senses or (lambda c, on_change: Senses(c, clock, on_change)),
            journal=journal,
            intent=intent,
            mesh=_mesh(config, keys, transport, clock),
            announcer=lambda c, on_change, tell: Announcer(c, shared, clock, on_change, tell),
            recorder=recorder,
        )
        controller = Controller(config, parts)
        loop.set_exception_handler(controller.callback_failed)
        stack.callback(loop.set_exception_handler, None)
        if keys:
            try:
                await transport.bind(config.cluster.listen, controller.datagram_received)
            except OSError as error:
                log.error("cluster.listen %s: %s", config.cluster.listen, error.strerror)  # noqa: TRY400 - as above
                return EXIT_CONFIG
        reload = Reload(controller, config_path)
        for number, handler in ((signal.SIGTERM, controller.stop), (signal.SIGHUP, reload)):
            loop.add_signal_handler(number, handler)
            stack.callback(loop.remove_signal_handler, number)
        await stack.enter_async_context(serve(controller))
        await controller.run()
    return EXIT_OK


@dataclass(frozen=True, slots=True)
class Reload:
    """Reads the configuration again: all of it comes into force, or none, and an event says which.

    Whatever can fail is done before anything is changed.
    """

    controller: Controller
    path: Path

    def __call__(self) -> None:
        """On SIGHUP."""
        config, problems = read(self.path)
        if config is None:
            self._refuse(tuple(Reason("configuration", str(each)) for each in problems))
            return
        fixed = fixed_for_life(self.controller.config, config)
        if fixed:
            text = "{} cannot change while the agent runs; restart it"
            self._refuse(tuple(Reason("needs-restart", text.format(key)) for key in fixed))
            return
        try:
            keys = cluster_keys(config)
        except KeyFileError as error:
            self._refuse((Reason("key-file", str(error)),))
            return
        self.controller.reconfigure(config, keys)
        self._note("reload-completed", f"{self.path} is in force", ())

    def _refuse(self, reasons: tuple[Reason, ...]) -> None:
        for reason in reasons:
            log.error("reload refused: %s", reason.text)
        text = f"{self.path} is not in force, the configuration before stays: {reasons[0].text}"
        self._note("reload-refused", text, reasons)

    def _note(self, kind: str, text: str, reasons: tuple[Reason, ...]) -> None:
        self.controller.note(Event(kind, self.controller.wall_ns(), text, "", reasons))


def cluster_keys(config: Config) -> tuple[ClusterKey, ...]:
    """The keys of the cluster, () for a node that stands alone.

    Raises:
        KeyFileError: the file cannot be used.
    """
    if not config.cluster.key_file:
        return ()
    return read_key_file(Path(config.cluster.key_file))


def _mesh(
    config: Config, keys: tuple[ClusterKey, ...], transport: UdpTransport, clock: Clock
) -> Mesh | None:
    if not keys:
        return None
    return Mesh(
        config.node.name,
        config.cluster,
        keys,
        random_bytes=secrets.token_bytes,
        sink=transport,
        now_ns=clock.monotonic_ns(),
    )


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        # The journal will say that it is not durable; serving goes on.
        log.error("state.directory %s: %s", directory, error.strerror)  # noqa: TRY400 - expected
