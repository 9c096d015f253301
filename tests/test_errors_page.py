"""The page of errors tells every kind: what it is, why it comes, what to do, and the exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines import errors
from pipelines.errors import PipelineError

_PAGE = (Path(__file__).parents[1] / "docs" / "errors.md").read_text(encoding="utf-8")
_SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", _PAGE, re.MULTILINE | re.DOTALL))
KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PipelineError)]


@pytest.mark.parametrize("kind", [one for one in KINDS if one is not PipelineError], ids=lambda kind: kind.__name__)
def test_each_kind_of_error_has_its_meaning_cause_way_out_and_exit_code(kind: type[PipelineError]) -> None:
    told = _SECTIONS[kind.__name__]

    assert told.strip().startswith(f"{kind.__doc__} Exit code {kind.exit_code}.")
    assert re.search(r"^\*\*Cause\.\*\* \S", told, re.MULTILINE)
    assert re.search(r"^\*\*Do\.\*\* \S", told, re.MULTILINE)


def test_the_page_tells_no_kind_that_does_not_exist() -> None:
    assert set(_SECTIONS) == {one.__name__ for one in KINDS if one is not PipelineError}


def test_every_exit_code_has_a_line() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", _PAGE, re.MULTILINE)} == codes
