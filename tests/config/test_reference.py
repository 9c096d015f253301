"""The reference documents every key, shows it in an example that loads, and is what the models say now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pipelines.config.loading import load
from pipelines.config.project import load_marts
from pipelines.config.reference import examples, keys, meaning, models, reference
from pipelines.config.reference_examples import MARTS, RESOURCE, SETTINGS, SOURCE
from pipelines.config.settings import Settings, describe, read_settings
from pipelines.errors import ConfigError
from pipelines.marts.model import Mart

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
ENV = dict.fromkeys(
    ("SHOP_TOKEN", "SHOP_PASSWORD", "SHOP_SECRET", "SHOP_REFRESH_TOKEN", "MASK_SALT", "SALT_OF_PEOPLE"),
    "a-long-enough-secret",
)
FRAGMENTS = [
    pytest.param(kind, fragment, id=f"{name}-{number}")
    for kind, all_of in (("source", SOURCE), ("resource", RESOURCE))
    for name, fragments in all_of.items()
    for number, fragment in enumerate(fragments)
]


def test_the_committed_reference_is_what_the_models_say() -> None:
    """Stale? `make reference`."""
    committed = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")

    assert committed == reference()


@pytest.mark.parametrize("model", [*models(), Mart, Settings], ids=lambda model: model.__name__)
def test_every_key_has_a_meaning_and_is_in_an_example_of_its_own_section(model: type[BaseModel]) -> None:
    shown = "\n".join(examples(model))

    missing = [name for name in keys(model) if not re.search(rf"\b{re.escape(name)}('?:| =|\])", shown)]

    assert missing == []
    assert [name for name, field in keys(model).items() if not meaning(name, field)] == []
    assert shown


@pytest.mark.parametrize(("kind", "fragment"), FRAGMENTS)
def test_each_example_loads(tmp_path: Path, kind: str, fragment: str) -> None:
    (tmp_path / "cities.csv").write_text("city\nParis\n")
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(document(kind, fragment)))

    sources = load(tmp_path, env=ENV)

    assert [source.name for source in sources] == ["shop"]


@pytest.mark.parametrize("text", MARTS["Mart"])
def test_each_example_of_marts_loads(tmp_path: Path, text: str) -> None:
    (tmp_path / "marts.yaml").write_text(text)

    marts = load_marts(tmp_path / "marts.yaml").marts

    assert list(marts) == list(yaml.safe_load(text)["marts"])


@pytest.mark.parametrize("text", SETTINGS["Settings"])
def test_each_example_of_settings_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text(text)

    settings = read_settings({}, root=tmp_path)

    told = {setting.name: setting.origin for setting in describe(settings)}
    assert {origin for origin in told.values() if origin != "default"}


def test_each_setting_can_be_given_in_the_environment(tmp_path: Path) -> None:
    """A wrong name is told with the setting that was meant."""
    for name in Settings.model_fields:
        with pytest.raises(
            ConfigError, match=rf"THREADMILL_{name.upper()}Q: no such setting \(did you mean {name}\?\)"
        ):
            read_settings({f"THREADMILL_{name.upper()}Q": "1"}, root=tmp_path)


@pytest.mark.parametrize("key", keys(Mart))
def test_a_misspelt_key_of_a_mart_is_told_with_file_line_and_the_word_that_was_meant(tmp_path: Path, key: str) -> None:
    text = next(one for one in MARTS["Mart"] if f"    {key}: " in one).replace(f"    {key}: ", f"    {key}q: ", 1)
    line = next(n for n, words in enumerate(text.splitlines(), 1) if f"{key}q" in words)
    (tmp_path / "marts.yaml").write_text(text)

    with pytest.raises(ConfigError) as refused:
        load_marts(tmp_path / "marts.yaml")

    assert f"marts.yaml:{line}: " in refused.value.message
    assert f"did you mean {key}?" in refused.value.message


def document(kind: str, fragment: str) -> dict[str, Any]:
    """A whole source file around an example, which may leave out what it is not about."""
    given: dict[str, Any] = yaml.safe_load(fragment)
    whole: dict[str, Any] = {"base_url": "https://api.shop.example", "resources": {"orders": {"path": "/orders"}}}
    if kind == "source":
        return whole | given
    whole["resources"] |= {"repos": {"path": "/repos"}, "orders": {"path": "/orders"} | given}
    return whole
