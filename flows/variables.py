"""Values that Prefect keeps: the variable `quakes_start` is `${QUAKES_START}` in source files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.config.settings import PREFIX, environment

log = logging.getLogger(__name__)
_MOST = 200
_NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


def with_variables(env: Mapping[str, str], root: Path = Path()) -> dict[str, str]:
    """*env* and `.env` of the project in *root*, then the Prefect variables that its source files name beside these.

    Prefect is asked only for what a file names and is not set. A variable that is no text, number or
    truth value counts as not set; settings do not come from variables.
    """
    known = environment(root, env)
    folder = root / known.get(f"{PREFIX}CONFIG", "config")
    files = (*folder.glob("*.yaml"), *folder.glob("*.yml"))
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in files)
    named = {name for text in texts for name in _NAMED.findall(text) if not name.startswith(PREFIX)}
    missing = named - known.keys()
    return {**(_variables(missing) if missing else {}), **known}


def _variables(names: set[str]) -> dict[str, str]:
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            lists = [client.request("POST", "/variables/filter", json=_asking(some)).json() for some in _parts(names)]
            found = {one["name"]: one["value"] for answer in lists for one in answer}
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the server, what is needed says so by itself
        log.warning("prefect variables could not be read: %s", type(error).__name__)
        return {}
    values = {name: found.get(name.lower()) for name in names}
    return {name: str(value) for name, value in values.items() if isinstance(value, (str, int, float))}


def _parts(names: set[str]) -> Iterator[list[str]]:
    """*names* as Prefect has them, no more at once than it answers."""
    spelled = sorted({name.lower() for name in names})
    yield from (spelled[start : start + _MOST] for start in range(0, len(spelled), _MOST))


def _asking(names: list[str]) -> dict[str, object]:
    return {"variables": {"name": {"any_": names}}, "limit": _MOST}
