"""What this node tells its peers for the arithmetic of reconnect storms, from what its senses know."""

from haman.core.reports import StormReport
from haman.core.resources import Meter


def storm_report(
    meter: Meter,
    base: dict[str, float],
    client_timeout_s: float,
    *,
    tickets_shared: bool,
    now_ns: int,
) -> StormReport:
    """Costs are those of this node's calibration, or the documented defaults with that confidence.

    Args:
        meter: of the local proxy.
        base: what resources use without clients, as far as that was seen.
        client_timeout_s: clients that waited this long have gone.
        tickets_shared: that was proven (`haman calibrate --tickets`).
        now_ns: CLOCK_MONOTONIC.
    """
    tls = meter.tls
    backlog, waiting = meter.accepts.room(now_ns)
    return StormReport(
        cores=tls.cores,
        full_s=tls.full_s,
        resumed_s=tls.resumed_s,
        client_timeout_s=client_timeout_s,
        confidence=tls.confidence,
        tickets_shared=tickets_shared,
        resumed_share=round(tls.resumed_share, 3),
        backlog=backlog or None,
        waiting=waiting,
        base=base,
    )
