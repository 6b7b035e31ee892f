"""Reports of which something is not true."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from haman.core.reports import NodeReport
from haman.core.words import Utilization

LIES: Final = ("negative", "nan", "huge", "from-the-future", "empty", "no-storm")


def lied(report: NodeReport, told: str) -> NodeReport:
    """A report of which something is not true."""

    def each(change: Callable[[Utilization], Utilization]) -> NodeReport:
        return replace(report, resources=tuple(map(change, report.resources)))

    match told:
        case "negative":
            return each(lambda r: replace(r, used=-1.0))
        case "nan":
            return each(lambda r: replace(r, used=math.nan, ceiling=math.nan))
        case "huge":
            return each(lambda r: replace(r, ceiling=1e300))
        case "from-the-future":
            return each(lambda r: replace(r, age_ms=-1e6))
        case "no-storm":
            return replace(report, storm=None, connections=None)
        case _:
            return replace(each(lambda r: replace(r, used=0.0)), connections=0)
