"""The checks of `expect` as the report of a run keeps them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pipelines.report.result import Expected

if TYPE_CHECKING:
    from pipelines.transform.checks import Expectation


def looked_at(checks: Iterable[Expectation], inspected: Collection[Expectation]) -> tuple[Expected, ...]:
    """*checks* as reports keep them; one that is not among *inspected* has no complaints: nobody looked."""
    return tuple(Expected.of(one) if one in inspected else replace(Expected.of(one), complaints=()) for one in checks)
