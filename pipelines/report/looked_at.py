"""What the checks of `expect` found, and what was set aside, as the report of a run keeps it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pipelines.report.result import Expected, Reason

if TYPE_CHECKING:
    from pipelines.transform.checks import Expectation

_MOST_REASONS = 100


def looked_at(checks: Iterable[Expectation], inspected: Collection[Expectation]) -> tuple[Expected, ...]:
    """*checks* as reports keep them; one that is not among *inspected* has no complaints: nobody looked."""
    return tuple(Expected.of(one) if one in inspected else replace(Expected.of(one), complaints=()) for one in checks)


def reasons_of(counted: Mapping[tuple[str, str], int], checks: Iterable[Expectation]) -> tuple[Reason, ...]:
    """Records by column and reason as reports keep them: the commonest reasons, and all that *checks* give."""
    given = {complaint for one in checks for complaint in one.complaints}
    found = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Reason(column, reason, records)
        for place, ((column, reason), records) in enumerate(found)
        if place < _MOST_REASONS or reason in given
    )
