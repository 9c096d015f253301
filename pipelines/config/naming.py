"""What a source or a resource can be called: a folder on any system, a schema of SQL."""

from __future__ import annotations

import re

from pipelines.values import DEVICES

NAMING = "a name is a lower-case letter, then letters, digits and _, at most 63, and no device of Windows such as con"
ASIDE = "__rejects"
"""How the datasets of records that were set aside end."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_OTHER = "say another with `source: ...`"
_SCHEMAS = frozenset({"information_schema", "main", "pg_catalog"})
"""What DuckDB has schemas of its own for: views of a source there stand in the way of others."""
_CATALOGS = frozenset({"catalog", "memory", "system", "temp"})
"""What SQL takes for a catalog of DuckDB's own, that of catalog.duckdb among them."""


def is_name(text: str) -> bool:
    """Whether *text* can name a source or a resource, if nothing else is called so."""
    return _NAME.fullmatch(text) is not None and text not in DEVICES


def misnamed(source: str) -> str:
    """Why *source* cannot name a source; empty where it can."""
    if source == "marts":
        return f"{source!r} is kept for derived datasets"
    if source in _SCHEMAS:
        return f"{source!r} is a schema of DuckDB's own, so that no query would find any source; {_OTHER}"
    return "" if is_name(source) else f"{source!r} cannot name a source; {NAMING}"


def not_found(source: str) -> str:
    """Why SQL does not find what *source* names; empty where it does."""
    if source not in _CATALOGS:
        return ""
    told = f"{source!r} is a catalog of DuckDB's own, so SQL does not find `{source}.DATASET`"
    return f"{told}; {_OTHER}, or go on with `pipelines.read`"
