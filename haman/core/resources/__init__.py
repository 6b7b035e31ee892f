"""What of a proxy runs out, how much of it is used, and where its knee is.

`readings` are the facts that come in; one module per kind of resource makes findings of them, and
`meter` puts those together.
"""

from haman.core.resources.findings import NS_PER_S
from haman.core.resources.meter import FULL_PER_S, Ceiling, Meter, MeterSettings, binding
from haman.core.resources.readings import (
    ConntrackSampled,
    CountersSampled,
    GroupCpu,
    GroupMemory,
    GroupsSampled,
    InterfaceBytes,
    InterfacesSampled,
    ListenQueue,
    MemorySampled,
    PortsSampled,
    ProbeTimed,
    ProbeTimedOut,
    ProcessesSampled,
    ProcessSample,
    QueuesSampled,
    Reading,
    SoftirqSampled,
    SourceFailed,
)
from haman.core.resources.tls import COST_FULL_S, COST_RESUMED_S, TLS_KNEE

__all__ = [
    "COST_FULL_S",
    "COST_RESUMED_S",
    "FULL_PER_S",
    "NS_PER_S",
    "TLS_KNEE",
    "Ceiling",
    "ConntrackSampled",
    "CountersSampled",
    "GroupCpu",
    "GroupMemory",
    "GroupsSampled",
    "InterfaceBytes",
    "InterfacesSampled",
    "ListenQueue",
    "MemorySampled",
    "Meter",
    "MeterSettings",
    "PortsSampled",
    "ProbeTimed",
    "ProbeTimedOut",
    "ProcessSample",
    "ProcessesSampled",
    "QueuesSampled",
    "Reading",
    "SoftirqSampled",
    "SourceFailed",
    "binding",
]
