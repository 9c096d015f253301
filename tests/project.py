"""A project folder with source files, and what loading it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.loading import Sources, load
from pipelines.errors import ConfigError

TOKEN = "sesame-open-7341"
TOP = "base_url: https://a.example\n"
ONE = "resources: {r: {path: /x}}\n"

SHOP = """\
base_url: https://api.shop.example/v1
auth: {bearer: "${SHOP_TOKEN}"}
limits: {rate: 10/s, in_flight: 8}
schedule: {cron: "15 * * * *", timezone: Europe/Madrid}

resources:
  orders:
    path: /orders
    params: {per_page: 100}
    paginate: link_header
    incremental: {cursor: updated_at, since_param: updated_since, start: 2024-01-01, lag: 1h}
    key: [id]
    write: upsert
    partition_by: [month(created_at)]
    columns: {total: "decimal(12,2)", created_at: timestamp}
    mask: {customer.email: {sha256: "${MASK_SALT}"}, customer.phone: drop}
    expect: [{unique: id}, {min_rows: 1, severity: warn}]
"""
FORGE = """\
base_url: https://api.forge.example
auth: {bearer: "${FORGE_TOKEN}"}
limits: {rate: 5000/h, in_flight: 16}
defaults: {paginate: link_header, key: [id], params: {per_page: 100, state: all}}

resources:
  repos: {path: /orgs/acme/repos, write: replace}
  issues:
    for_each: {resource: repos}
    path: /repos/{repos.full_name}/issues
    carry: {repo: full_name}
    params: {state: open}
    incremental: {cursor: updated_at, since_param: since, start: 2020-01-01, per: repos}
    write: upsert
    partition_by: [repo]
"""


class Project:
    """A folder with `config/`, which is the current folder while a test runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        self.config = Path("config")
        self.config.mkdir()

    def write(self, content: str, name: str = "shop") -> Path:
        """Write `config/<name>.yaml`."""
        path = self.config / f"{name}.yaml"
        path.write_text(content)
        return path

    def load(self, **env: str) -> Sources:
        """All sources, with what SHOP and FORGE need in the environment."""
        needed = {"SHOP_TOKEN": TOKEN, "SHOP_PAT": TOKEN, "FORGE_TOKEN": "forge-token", "MASK_SALT": "salt-of-the-test"}
        return load(self.config, env={**needed, **env})

    def mistakes(self, **env: str) -> list[str]:
        """The lines of the error that loading gives."""
        with pytest.raises(ConfigError) as refused:
            self.load(**env)
        return refused.value.message.splitlines()


def resource(*lines: str) -> str:
    """A source whose one resource `r` has these lines, from line 4."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"{TOP}resources:\n  r:\n{body}"
