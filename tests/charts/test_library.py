"""The script that draws charts: made once, kept where it can be, done without where it cannot be had."""

from __future__ import annotations

import gzip
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.charts import library
from tests.shop import environment

if TYPE_CHECKING:
    import pytest

_NO_ENVIRONMENT = "/dev/null/environment"


def test_it_is_kept_with_the_user_where_the_environment_is_not_ours_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, in 2 s; whoever asks next reads it, and needs nothing that could make it."""
    monkeypatch.setattr(sys, "prefix", _NO_ENVIRONMENT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    made = library.make()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    library.library.cache_clear()

    kept = library.library()
    assert kept is not None
    assert f"{kept.digest}\n{kept.packed}\n" == made
    assert [path.name for path in (tmp_path / "threadmill").iterdir()] == [f"vega-lite-{library.VERSION}.txt"]
    script = gzip.decompress(b64decode(kept.packed))
    assert kept.digest == f"sha256-{b64encode(sha256(script).digest()).decode()}"
    assert b"vegaEmbed" in script
    assert len(made) < 500_000


def test_a_page_without_it_says_so_and_lets_no_script_run() -> None:
    code = (
        f"import sys; sys.prefix, sys.executable = {_NO_ENVIRONMENT!r}, '/bin/false'\n"
        "from pipelines.charts.page import policy, scripts; print(policy()); print(scripts())"
    )
    env = environment(XDG_CACHE_HOME="/dev/null")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    assert "script-src 'none'" in done.stdout
    assert "<script" not in done.stdout
    assert "vl-convert-python" in done.stdout
