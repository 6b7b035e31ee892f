"""The ramp of `haman calibrate`: up to the knee, never on a node that holds load."""

import os
import sys
from collections.abc import Sequence

import click

from haman.api import schema
from haman.api.client import UnreachableError
from haman.cli.reach import REFUSED, fail, reach
from haman.cli.text import Progress, table
from haman.controller.ramp import PROCESSES_MAX, Ramp
from haman.core.knee import Knee, Step
from haman.core.words import Role, Stance

CLIENTS_MOST = 10
"""A few connections are monitoring's, not clients'."""
BAR_WIDTH = 30
HOLDING = {Role.ACTIVE.value, Role.TAIL.value}


def refusal(found: schema.Status) -> str:
    """Why the node whose agent answered must not be loaded to its knee; "" if it may."""
    node = next((n for n in found.nodes if n.name == found.node), None)
    held = [
        service.name
        for service in found.services
        for member in service.members
        if member.node == found.node
        and (member.role in HOLDING or member.stance not in {"", Stance.WITHDRAWN.value})
    ]
    if held:
        return f"{found.node} serves {', '.join(held)}"
    if node is None or node.connections is None:
        return f"how many clients {found.node} has is not known, which counts as many"
    if node.connections > CLIENTS_MOST:
        return f"{found.node} has {node.connections} clients"
    return ""


def ask_first(socket_path: str, ssh: str | None, *, force: bool) -> None:
    """Have the agent of the node that will be loaded say that it holds no load, or exit."""
    try:
        with reach(socket_path, ssh) as client:
            why = refusal(client.status())
    except UnreachableError as error:
        why = f"its agent cannot be asked whether it holds load ({error}); name it with --ssh"
    if not why:
        return
    if not force:
        fail(REFUSED, f"{why}: a ramp would harm clients; drain it first, or --force")
    click.echo(f"haman: {why}; going on, as --force says", err=True)


def ramp(
    address: str, server_name: str, start_per_s: float, most_per_s: float, limit_s: float
) -> None:
    """Ramp, and say what was found; exit 1 unless the knee was reached."""
    progress = Progress()
    processes = max(1, min(PROCESSES_MAX, os.cpu_count() or 1))
    step_s = max(1.0, min(3.0, limit_s / 10))

    def show(step: Step) -> None:
        progress.show(
            f"{address} {step.offered_per_s:.0f}/s: {step.served_per_s:.0f}/s served,"
            f" p99 {1000 * step.p99_s:.0f} ms"
        )

    try:
        steps, found = Ramp(
            address, server_name, start_per_s, most_per_s, step_s, limit_s, processes
        ).run(show)
    finally:
        progress.clear()
    click.echo(render(steps, found))
    if not found.reached or found.served_per_s is None:
        sys.exit(REFUSED)
    click.echo(f"keep it, on the node itself: haman calibrate --knee {found.served_per_s:.0f}")


def render(steps: Sequence[Step], found: Knee) -> str:
    """Steps as a table with a bar for the latency, and the verdict."""
    longest_s = max(step.p99_s for step in steps) or 1.0
    rows = [
        (
            f"{step.offered_per_s:.0f}/s",
            f"{step.served_per_s:.0f}/s",
            f"{100 * step.failed:.0f} %",
            f"{1000 * step.p50_s:.1f} ms",
            f"{1000 * step.p99_s:.1f} ms",
            "█" * round(BAR_WIDTH * step.p99_s / longest_s),
        )
        for step in steps
    ]
    if found.served_per_s is None:
        verdict = f"no knee: {found.text} in the first step already; start lower with --from"
    elif found.reached:
        verdict = f"the knee is at {found.served_per_s:.0f} full handshakes/s: {found.text}"
    else:
        verdict = f"the knee is above {found.served_per_s:.0f} full handshakes/s: {found.text}"
    return f"{table(('OFFERED', 'SERVED', 'FAILED', 'P50', 'P99', ''), rows)}\n\n{verdict}"
