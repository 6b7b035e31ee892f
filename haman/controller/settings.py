"""From the operator's configuration, and this node's calibration, to the settings of gate and meter."""

from pathlib import Path

from haman.config.model import Config, ResourceThresholds, Saturation
from haman.core import calibration, tickets
from haman.core.calibration import Calibration, CalibrationError
from haman.core.gate import GateSettings, Thresholds
from haman.core.resources import Ceiling, MeterSettings
from haman.core.tickets import TicketsError

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

STALE_INTERVALS = 5
STALE_LEAST_NS = 2 * NS_PER_S
"""A sampler on a starved host misses ticks; that must not make everything unknown at once."""


def gate_settings(config: Config) -> GateSettings:
    """`[saturation]` and `[proxy.probe]`, as the gate wants them."""
    saturation, probe = config.saturation, config.proxy.probe
    meter = meter_settings(config)
    counts = {} if probe is None else {"rise": probe.rise, "fall": probe.fall}
    return GateSettings(
        probe=probe is not None,
        thresholds=Thresholds(saturation.soft, saturation.hard, saturation.recover),
        resources={name: _thresholds(saturation, r) for name, r in saturation.resource.items()},
        dwell_ns=saturation.dwell_ms * NS_PER_MS,
        hold_ns=round(saturation.hold_s * NS_PER_S),
        stale_ns=max(meter.stale_ns, meter.probe_stale_ns),
        **counts,
    )


def read_calibration(config: Config) -> tuple[Calibration | None, str]:
    """What handshakes cost on this node, if that was measured; and why it cannot be used, "" if it can."""
    path = Path(config.state.directory, calibration.FILE)
    try:
        return calibration.decode(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    except CalibrationError as error:
        return None, f"{path}: {error}"


def read_tickets(config: Config) -> str:
    """What is wrong with the sharing of TLS tickets, as `haman calibrate --tickets` found; or ""."""
    path = Path(config.state.directory, tickets.FILE)
    try:
        check = tickets.decode(path.read_bytes())
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"the ticket check is not used: {path}: {error.strerror}"
    except TicketsError as error:
        return f"the ticket check is not used: {path}: {error}"
    if check.shared:
        return ""
    pairs = ", ".join(f"of {pair.made_at} at {pair.resumed_at}" for pair in check.refused[:3])
    more = f" and {len(check.refused) - 3} more" if len(check.refused) > 3 else ""
    return (
        f"TLS sessions are not resumed everywhere ({pairs}{more}): after a loss their clients cost a"
        " full handshake each; share the ticket keys and check again with haman calibrate --tickets"
    )


def tickets_shared(config: Config) -> bool:
    """Whether this node and its peers were proven to resume each other's TLS sessions."""
    try:
        return tickets.decode(Path(config.state.directory, tickets.FILE).read_bytes()).shared
    except (OSError, TicketsError):
        return False  # unproven; `read_tickets` says why


def meter_settings(config: Config, measured: Calibration | None = None) -> MeterSettings:
    """How long readings live, and where the ceilings are that are not read."""
    interval_ns = config.saturation.interval_ms * NS_PER_MS
    probe = config.proxy.probe
    probe_ms = 0 if probe is None else 2 * probe.interval_ms + probe.timeout_ms
    return MeterSettings(
        stale_ns=max(STALE_INTERVALS * interval_ns, STALE_LEAST_NS),
        probe_stale_ns=max(probe_ms * NS_PER_MS, STALE_LEAST_NS),
        ceilings={
            name: Ceiling(resource.ceiling, resource.unit)
            for name, resource in config.saturation.resource.items()
            if resource.ceiling is not None
        },
        client_timeout_s=config.saturation.client_timeout_ms / 1000,
        probe_slo_s=None if probe is None else probe.timeout_ms / 1000,
        calibration=measured,
    )


def _thresholds(saturation: Saturation, resource: ResourceThresholds) -> Thresholds:
    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    return Thresholds(
        given(resource.soft, saturation.soft),
        given(resource.hard, saturation.hard),
        given(resource.recover, saturation.recover),
        resource.act,
    )
