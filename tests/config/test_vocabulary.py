"""The words of the configuration: the examples that users begin with load as they stand, a misspelt key is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from pipelines.config.loading import load
from pipelines.config.reference import examples, keys, models
from pipelines.config.reference_examples import SOURCE
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

ENV = dict.fromkeys(
    (
        *("SHOP_TOKEN", "SHOP_PASSWORD", "SHOP_SECRET", "SHOP_REFRESH_TOKEN", "FORGE_TOKEN", "MASK_SALT"),
        *("ADS_ID", "ADS_SECRET", "SALT_OF_PEOPLE"),
    ),
    "a-long-enough-secret",
)
SHOP = """\
# Link header, bearer, incremental upsert
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
    mask: {customer.email: sha256, customer.phone: drop}
    expect: [{unique: id}, {min_rows: 1, severity: warn}]
    transform: shop:clean_orders
"""
ADS = """\
# OAuth2, windows with both bounds, error bodies under HTTP 200
base_url: https://ads.example/api
auth:
  oauth2_client_credentials: {token_url: https://ads.example/oauth/token, client_id: "${ADS_ID}",
                              client_secret: "${ADS_SECRET}"}
limits: {rate: 60/min, in_flight: 4, remaining_header: X-RateLimit-Remaining, reset_header: X-RateLimit-Reset}

resources:
  spend:
    path: /reports/spend
    records: rows
    paginate: {cursor: {from: next_page_token, param: page_token}}
    incremental: {cursor: date, since_param: start_date, until_param: end_date, format: date, bounds: closed,
                  start: 2023-01-01, window: 7d, lag: 3d, settle: 1h}
    key: [date, campaign_id]
    write: upsert
    partition_by: [month(date)]
    errors:
      - {status: 200, when: "error.code == 'QUOTA'", do: retry}
      - {status: 404, do: skip}
"""
FORGE = """\
# parents and children, one watermark per parent
base_url: https://api.forge.example
auth: {bearer: "${FORGE_TOKEN}"}
limits: {rate: 5000/h, in_flight: 16}
defaults: {paginate: link_header, key: [id], params: {per_page: 100}}

resources:
  repos: {path: /orgs/acme/repos, write: replace}
  issues:
    for_each: {resource: repos}
    path: /repos/{repos.full_name}/issues
    carry: {repo: full_name}
    incremental: {cursor: updated_at, since_param: since, start: 2020-01-01, per: repos}
    write: upsert
    partition_by: [repo]
"""


@pytest.mark.parametrize(("name", "text"), [("shop", SHOP), ("ads", ADS), ("forge", FORGE)])
def test_the_examples_of_the_language_load_as_they_stand(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "transforms").mkdir()
    (tmp_path / "transforms" / "shop.py").write_text("def clean_orders(frame):\n    return frame\n")
    (tmp_path / f"{name}.yaml").write_text(text)

    sources = load(tmp_path, env=ENV, transforms=tmp_path / "transforms")

    assert (sources.names, sources.warnings) == ((name,), ())


def test_a_bare_sha256_takes_its_salt_from_the_environment_and_is_told_where_it_is_missing(tmp_path: Path) -> None:
    text = "base_url: https://a.example\ndefaults: {mask: {mail: sha256}}\nresources: {r: {path: /x}}\n"
    (tmp_path / "shop.yaml").write_text(text)

    rule = load(tmp_path, env={"MASK_SALT": "pepper-and-salt"})["shop"].resources["r"].mask["mail"]
    with pytest.raises(ConfigError, match=r"shop\.yaml:2: .*mask\.mail.*: \$\{MASK_SALT\} is not set"):
        load(tmp_path, env={})

    assert getattr(rule, "sha256", None) == "pepper-and-salt"


KEYS = [pytest.param(model, key, id=f"{model.__name__}-{key}") for model in models() for key in keys(model)]


@pytest.mark.parametrize(("model", "key"), KEYS)
def test_a_misspelt_key_is_told_with_file_line_and_the_word_that_was_meant(
    tmp_path: Path, model: type[BaseModel], key: str
) -> None:
    text, line = misspelt(model, key)
    (tmp_path / "cities.csv").write_text("city\nParis\n")
    (tmp_path / "shop.yaml").write_text(text)

    with pytest.raises(ConfigError) as refused:
        load(tmp_path, env=ENV)

    told = [each for each in refused.value.message.splitlines() if f"{key}q" in each]
    assert told, refused.value.message
    assert any(f"shop.yaml:{line}: " in each and f"did you mean {key}?" in each for each in told), told


def misspelt(model: type[BaseModel], key: str) -> tuple[str, int]:
    """A source file whose one mistake is a letter too many in *key* of *model*; and its line."""
    spelt = re.compile(rf"\b{re.escape(key)}('?):")
    for fragment in examples(model):
        found = list(spelt.finditer(fragment))
        for match in found[-1:] if model.__name__ not in ("Source", "Resource") else found[:1]:
            wrong = f"{fragment[: match.start()]}{key}q{match[1]}:{fragment[match.end() :]}"
            text = whole(wrong, is_source=model.__name__ in SOURCE)
            return text, next(n for n, line in enumerate(text.splitlines(), 1) if f"{key}q" in line)
    raise AssertionError(f"{model.__name__}.{key} is in no example")


def whole(fragment: str, *, is_source: bool) -> str:
    """A source file around an example, line by line as it stands."""
    given = yaml.safe_load(fragment)
    head = "" if is_source and "base_url" in given else "base_url: https://api.shop.example\n"
    if is_source:
        has_resources = any(name.startswith("resources") for name in given)
        return f"{head}{fragment}\n" + ("" if has_resources else "resources: {orders: {path: /orders}}\n")
    lines = "".join(f"    {line}\n" for line in fragment.splitlines())
    path = "" if "path" in given else "    path: /orders\n"
    return f"{head}resources:\n  repos: {{path: /repos}}\n  orders:\n{path}{lines}"
