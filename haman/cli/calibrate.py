"""`haman calibrate`: what a handshake costs, where the knee is, and whether tickets are shared."""

import ssl
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from haman.cli.command import Command
from haman.cli.ramp import ask_first, ramp
from haman.cli.reach import REFUSED, USAGE, agent_options, fail
from haman.cli.text import Progress, table
from haman.config.forms import split_host_port
from haman.config.model import Config
from haman.config.reader import read
from haman.controller.calibrate import Measured, NotMeasured, Paced, proxy_cpu
from haman.controller.handshakes import TlsClient
from haman.controller.settings import read_calibration
from haman.controller.tickets import check_tickets
from haman.core import calibration, tickets
from haman.core.calibration import Calibration, HandshakeCost
from haman.core.tickets import TicketCheck

PROTOCOLS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
KNEE = 0.9
"""Of a core, where latency leaves the ground."""
BAR_WIDTH = 40
USED = "an agent that runs takes it up within a second or two"


def _addresses(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    for address in given:
        try:
            split_host_port(address)
        except ValueError as error:
            raise click.BadParameter(f"{address}: {error}") from error
    return given


@click.command(
    cls=Command,
    examples=(
        "haman calibrate",
        "haman calibrate --server-name www.example.net --server-name api.example.net",
        "haman calibrate --tls 1.2 --dry-run",
        "haman calibrate --tickets 10.77.0.11:443 --tickets 10.77.0.12:443",
        "haman calibrate --ramp 10.77.0.12:443 --ssh ops@lb2",
    ),
)
@click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    default="/etc/haman/haman.toml",
    show_default=True,
    help="The node's configuration: its proxy, its probe's address, its state directory.",
)
@click.option(
    "--address",
    metavar="ADDRESS:PORT",
    multiple=True,
    callback=_addresses,
    help="A TLS listener of the local proxy [that of the probe]; may be repeated.",
)
@click.option(
    "--server-name",
    metavar="NAME",
    multiple=True,
    help="SNI, to choose a certificate [none]; may be repeated.",
)
@click.option(
    "--tls", type=click.Choice(list(PROTOCOLS)), help="Offer this version alone [the best]."
)
@click.option(
    "--rounds",
    type=click.IntRange(4, 1000),
    default=16,
    show_default=True,
    help="Bursts of 16 handshakes of each kind.",
)
@click.option(
    "--tickets",
    "nodes",
    metavar="ADDRESS:PORT",
    multiple=True,
    callback=_addresses,
    help="Check instead whether these nodes resume each other's sessions; at least two.",
)
@click.option(
    "--ramp",
    "ramp_at",
    metavar="ADDRESS:PORT",
    help="Load another node to its knee instead, from here; refused unless its agent holds no load.",
)
@click.option(
    "--from",
    "start_per_s",
    type=click.FloatRange(1, 1e6),
    default=100.0,
    show_default=True,
    help="First rate of the ramp, full handshakes per second.",
)
@click.option(
    "--to",
    "most_per_s",
    type=click.FloatRange(1, 1e6),
    default=20_000.0,
    show_default=True,
    help="Highest rate of the ramp.",
)
@click.option(
    "--time-limit-s",
    type=click.FloatRange(5, 600),
    default=60.0,
    show_default=True,
    help="The ramp ends before this.",
)
@click.option("--knee", type=click.FloatRange(1, 1e6), help="Keep what a ramp found for this node.")
@click.option("--force", is_flag=True, help="Ramp although the node holds load.")
@click.option("--dry-run", is_flag=True, help="Measure, and write nothing.")
@agent_options
def calibrate(
    *,
    path: str,
    address: tuple[str, ...],
    server_name: tuple[str, ...],
    tls: str | None,
    rounds: int,
    nodes: tuple[str, ...],
    ramp_at: str | None,
    start_per_s: float,
    most_per_s: float,
    time_limit_s: float,
    knee: float | None,
    force: bool,
    dry_run: bool,
    socket_path: str,
    ssh: str | None,
) -> None:
    """Measure what a TLS handshake costs the local proxy, full and resumed, without saturating it.

    Some hundred handshakes are made in bursts, with pauses of four times their length, against the
    CPU time of the proxy's threads. Costs found this way err upwards, by a quarter or more, for the
    proxy's caches are colder than under load; the difference between full and resumed does not. They
    become the ceiling of the resource tls.

    With --ramp the knee itself is looked for: an open-loop load of full handshakes from here, higher
    and higher, against a node whose agent (--ssh) says that it holds no load.
    """
    if ramp_at is not None:
        _addresses(click.get_current_context(), click.Option(["--ramp"]), (ramp_at,))
        if start_per_s > most_per_s:
            fail(USAGE, f"--from {start_per_s:g} is above --to {most_per_s:g}")
        ask_first(socket_path, ssh, force=force)
        ramp(ramp_at, "".join(server_name[:1]), start_per_s, most_per_s, time_limit_s)
        return
    if nodes:
        _check_count(nodes)
    config, problems = read(path)
    if config is None:
        fail(USAGE, "\n".join(map(str, problems)))
    if knee is not None:
        _keep(config, knee)
        return
    clients = [TlsClient(name, PROTOCOLS.get(tls or "")) for name in server_name or ("",)]
    if nodes:
        _check_tickets(config, nodes, clients[0], dry_run=dry_run)
        return
    listeners = address or _probed(config)
    if not listeners:
        fail(USAGE, "proxy.probe has no TLS address: say which listener with --address")
    measured = [_measure(config, a, client, rounds) for a in listeners for client in clients]
    click.echo(render(measured))
    costs = tuple(m.handshake for m in measured)
    found = Calibration(time.time_ns(), config.proxy.kind, costs, _knee_of(config, costs))
    if not dry_run:
        target = _write(config, calibration.FILE, calibration.encode(found))
        click.echo(f"\nwritten to {target}; {USED}")


def _knee_of(config: Config, costs: tuple[HandshakeCost, ...]) -> float | None:
    """The knee found earlier, if it was with these certificates."""
    before, _ = read_calibration(config)
    if before is None or {c.fingerprint for c in before.costs} != {c.fingerprint for c in costs}:
        return None
    return before.knee_full_per_s


def _keep(config: Config, knee: float) -> None:
    """Add what a ramp found to the calibration that there is."""
    before, problem = read_calibration(config)
    if before is None:
        fail(REFUSED, problem or "measure what handshakes cost first: haman calibrate")
    after = replace(before, knee_full_per_s=knee)
    click.echo(f"written to {_write(config, calibration.FILE, calibration.encode(after))}; {USED}")


def _probed(config: Config) -> tuple[str, ...]:
    probe = config.proxy.probe
    return (probe.address,) if probe is not None and probe.tls else ()


def _measure(config: Config, address: str, client: TlsClient, rounds: int) -> Measured:
    progress = Progress()

    def show(done: int, whole: int, words: str) -> None:
        bar = "█" * (20 * done // whole)
        progress.show(f"{address} {bar:<20} {done}/{whole}  {words}")

    with proxy_cpu(config.proxy) as cpu:
        if isinstance(cpu, NotMeasured):
            fail(REFUSED, cpu.text)
        try:
            found = Paced(address, client, cpu, rounds).run(show)
        finally:
            progress.clear()
    if isinstance(found, NotMeasured):
        fail(REFUSED, found.text)
    return found


def render(measured: list[Measured]) -> str:
    """Costs as a table, and as bars on one scale."""
    rows = []
    for one in measured:
        full, resumed = one.handshake.full_s, one.handshake.resumed_s
        rows.append(
            (
                one.handshake.address,
                f"{one.handshake.certificate} {one.handshake.protocol}",
                f"{full * 1e6:.0f} µs ±{50 * one.full.spread:.0f} %",
                f"{resumed * 1e6:.0f} µs ±{50 * one.resumed.spread:.0f} %"
                if one.resumed
                else "never",
                f"{(full - resumed) * 1e6:.0f} µs" if one.resumed else "?",
                f"{KNEE / full:.0f} full/s",
            )
        )
    titles = ("LISTENER", "CERTIFICATE", "FULL", "RESUMED", "KEY OPERATION", "CEILING PER CORE")
    longest = max(one.handshake.full_s for one in measured)
    bars = [
        f"  {kind:<8} {'█' * max(1, round(BAR_WIDTH * cost_s / longest)):<{BAR_WIDTH}} "
        f"{cost_s * 1e6:.0f} µs  {one.handshake.certificate}"
        for one in measured
        for kind, cost_s in (
            ("full", one.handshake.full_s),
            *([("resumed", one.handshake.resumed_s)] if one.resumed else []),
        )
    ]
    return "\n".join([table(titles, rows), "", *bars])


def _check_count(nodes: tuple[str, ...]) -> None:
    if not 2 <= len(set(nodes)) <= tickets.ADDRESSES_MAX:
        fail(USAGE, f"--tickets wants 2 to {tickets.ADDRESSES_MAX} different addresses")


def _check_tickets(
    config: Config, nodes: tuple[str, ...], client: TlsClient, *, dry_run: bool
) -> None:
    progress = Progress()
    try:
        found = check_tickets(tuple(dict.fromkeys(nodes)), client, time.time_ns(), progress.show)
    finally:
        progress.clear()
    if isinstance(found, NotMeasured):
        fail(REFUSED, found.text)
    click.echo(render_tickets(found))
    if not dry_run:
        click.echo(f"written to {_write(config, tickets.FILE, tickets.encode(found))}")
    if not found.shared:
        sys.exit(REFUSED)


def render_tickets(found: TicketCheck) -> str:
    """What was resumed where, and what that means."""
    rows = [
        (pair.made_at, pair.resumed_at, "resumed" if pair.resumed else "full handshake")
        for pair in found.pairs
    ]
    if found.shared:
        verdict = "tickets are shared: after a loss, clients that kept theirs cost no key operation"
    else:
        verdict = (
            "tickets are not shared: after a loss, every client costs a full handshake"
            " (HAProxy: tls-ticket-keys, nginx: ssl_session_ticket_key, the same on all nodes)"
        )
    return f"{table(('MADE AT', 'OFFERED AT', 'RESULT'), rows)}\n\n{verdict}"


def _write(config: Config, name: str, content: str) -> Path:
    """All of it or nothing, into the state directory."""
    target = Path(config.state.directory, name)
    draft = target.with_suffix(".new")
    try:
        draft.write_text(content + "\n", encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        fail(REFUSED, f"{target}: {error.strerror}; run it as the agent's user, or with --dry-run")
    return target
