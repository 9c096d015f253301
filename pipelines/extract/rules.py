"""What an answer means beyond its status: rules on status, header and body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.errors import DecodeError
from pipelines.extract.page import Page
from pipelines.records import selector
from pipelines.values import Value

Action = Literal["retry", "skip", "fail", "refresh_token", "split"]


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, int) else value


class ErrorRule(Value):
    """Where all conditions hold, the answer is retried, skipped as empty, or an error."""

    status: Annotated[tuple[int, ...], BeforeValidator(_as_list)] = Field((), description="any of these statuses")
    header: dict[str, str] = Field({}, description="header name: text that its value contains")
    when: str | None = Field(None, description="JMESPath that is true (not null, not empty) in the body")
    action: Action = Field(alias="do", description="retry, skip, fail, refresh_token or split (the window)")

    @model_validator(mode="after")
    def _says_when(self) -> ErrorRule:
        if not (self.status or self.header or self.when):
            raise ValueError("needs one of `status`, `header` and `when`")
        if self.when:
            selector(self.when)
        return self

    def applies(self, page: Page) -> bool:
        """Whether *page* meets every condition."""
        if self.status and page.status not in self.status:
            return False
        if any(part.lower() not in (page.header(name) or "").lower() for name, part in self.header.items()):
            return False
        return self.when is None or _holds(page, self.when)

    @property
    def outline(self) -> str:
        """The rule in a few words, for messages."""
        parts = [f"status {', '.join(map(str, self.status))}"] if self.status else []
        parts += [f"header {name}" for name in self.header] + ([self.when] if self.when else [])
        return " and ".join(parts)


def first_rule(rules: Sequence[ErrorRule], page: Page) -> ErrorRule | None:
    """The first of *rules* that applies to *page*."""
    return next((rule for rule in rules if rule.applies(page)), None)


def error_text(page: Page) -> str:
    """What the body says about an error, cut and on one line; empty where it says nothing."""
    for path in ("message", "error.message", "error", "reason", "detail", "[0].message[0].value"):
        try:
            found = page.find(path)
        except DecodeError:
            return ""
        if isinstance(found, str) and found:
            return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", found)[:200]
    return ""


def _holds(page: Page, path: str) -> bool:
    try:
        return bool(page.find(path))
    except DecodeError:
        return False
