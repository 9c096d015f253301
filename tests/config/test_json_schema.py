"""Editors complete and check from the committed schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipelines.config.json_schema import json_schema, schema_text
from pipelines.config.loading import NOT_SOURCES
from tests.project import FORGE, SHOP

ROOT = Path(__file__).parents[2]


def source_files() -> list[Path]:
    return sorted(path for path in (ROOT / "config").glob("*.yaml") if path.stem not in NOT_SOURCES)


def test_the_committed_json_schema_is_what_the_models_say() -> None:
    """Stale? `threadmill schema > config/source.schema.json`."""
    committed = (ROOT / "config" / "source.schema.json").read_text(encoding="utf-8")

    assert committed == schema_text()


@pytest.mark.parametrize("path", source_files(), ids=lambda path: path.name)
def test_an_editor_accepts_each_source_file_of_the_repository(path: Path) -> None:
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506  # builds text only

    errors = list(_validator().iter_errors(_typed(document)))

    assert [error.message for error in errors] == []


@pytest.mark.parametrize("content", [SHOP, FORGE], ids=["shop", "forge"])
def test_an_editor_accepts_short_spellings_and_references(content: str) -> None:
    document = _typed(yaml.load(content, Loader=yaml.BaseLoader))  # noqa: S506  # builds text only
    document["timeout"] = "30s"
    document["limits"] = {"rate": "${RATE}", "in_flight": "${FLIGHTS:-3}"}
    first = next(iter(document["resources"].values()))
    first |= {
        "key": "id",
        "write": "upsert",
        "records": "rows",
        "for_each": [{"a": 1}],
        "errors": [{"status": 404, "do": "skip"}],
    }

    errors = list(_validator().iter_errors(document))

    assert [error.message for error in errors] == []


def test_an_editor_accepts_every_default_that_it_shows() -> None:
    """An empty text is the default of a key that may be left out but not be empty."""
    shown = [node for node in _nodes(json_schema()) if node.get("default", "") != ""]

    assert [node for node in shown if not _validator().evolve(schema=node).is_valid(node["default"])] == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("paginate: link_header", "pagenate: link_header", id="key"),
        pytest.param("link_header", "link_heder", id="kind"),
        pytest.param("in_flight: 8", "in_flight: many", id="type"),
        pytest.param("lag: 1h", "lag: 1 potato", id="unit"),
        pytest.param("write: upsert", "write: upset", id="word"),
        pytest.param("  orders:", "  Orders-1:", id="name"),
    ],
)
def test_an_editor_marks_a_mistake(right: str, wrong: str) -> None:
    document = _typed(yaml.load(SHOP.replace(right, wrong), Loader=yaml.BaseLoader))  # noqa: S506  # builds text only

    assert list(_validator().iter_errors(document))


@lru_cache(maxsize=1)
def _validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All mappings of a schema."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(inner)


def _typed(value: Any) -> Any:
    """Texts as an editor sees them: numbers, flags and null are recognised, dates are not."""
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return json.loads(value) if re.fullmatch(r"-?\d+(\.\d+)?|true|false|null", value) else value
