"""The reference documents every key, shows it in an example that loads, and is what the models say now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pipelines.config.loading import load
from pipelines.config.project import load_marts
from pipelines.config.reference import default, examples, keys, meaning, models, reference
from pipelines.config.reference_examples import MARTS, RESOURCE, SETTINGS, SOURCE
from pipelines.config.settings import Settings, describe, read_settings
from pipelines.config.source import Resource, Source
from pipelines.errors import ConfigError
from pipelines.extract.auth import Session
from pipelines.extract.connection import AllowedHost, Retry
from pipelines.extract.limits import SPANS_S
from pipelines.extract.watermark import Incremental
from pipelines.marts.model import Mart
from pipelines.records import Records
from pipelines.transform.column_types import EPOCHS, FORMS, UNITS, WORDS, parse_type
from pipelines.values import BYTES, SECONDS

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
DEFAULTS = [
    pytest.param(model, key, id=f"{model.__name__}-{key}")
    for model in models()
    for key, field in keys(model).items()
    if default(field)
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


@pytest.mark.parametrize(
    ("model", "key", "written"),
    [
        pytest.param(Source, "max_response", "64MB", id="size"),
        pytest.param(Retry, "wait", "500ms", id="duration"),
        pytest.param(Incremental, "lag", "0s", id="no-duration"),
        pytest.param(Settings, "bundled_chaos", "0.0", id="zero"),
        pytest.param(AllowedHost, "with_credentials", "false", id="false"),
        pytest.param(Resource, "key", "[]", id="no-list"),
        pytest.param(Resource, "params", "{}", id="no-mapping"),
        pytest.param(Records, "keys", "[key]", id="list"),
        pytest.param(Records, "rows", "'@'", id="sign-of-yaml"),
        pytest.param(Session, "prefix", "'Bearer '", id="space-at-the-end"),
    ],
)
def test_a_default_is_printed_as_a_file_says_it(model: type[BaseModel], key: str, written: str) -> None:
    lines = [line for line in reference().splitlines() if line.startswith(f"| `{key}` | ")]

    assert default(keys(model)[key]) == written
    assert any(line.endswith(f" | `{written}` |") for line in lines)


@pytest.mark.parametrize(("model", "key"), DEFAULTS)
def test_each_default_is_accepted_where_it_is_printed(tmp_path: Path, model: type[BaseModel], key: str) -> None:
    """Written into an example of its section, which then loads."""
    kind, value = "source" if model.__name__ in SOURCE else "resource", yaml.safe_load(default(keys(model)[key]))
    refused = []
    for given in (each for fragment in examples(model) for each in saying(fragment, model, key, value)):
        (tmp_path / "shop.yaml").write_text(yaml.safe_dump(document(kind, yaml.safe_dump(given))))
        try:
            load(tmp_path, env=ENV)
        except ConfigError as error:
            refused.append(error.message)
        else:
            return

    pytest.fail("\n".join(refused) or "no example says any key")


@pytest.mark.parametrize("name", [name for name, field in keys(Settings).items() if default(field)])
def test_each_default_of_a_setting_is_accepted_from_the_environment(tmp_path: Path, name: str) -> None:
    env = {f"THREADMILL_{name.upper()}": default(keys(Settings)[name])}

    settings = read_settings(env, root=tmp_path)

    assert settings.model_dump() == read_settings({}, root=tmp_path).model_dump()


def test_every_word_that_the_parser_of_types_knows_is_in_the_reference() -> None:
    told = section("Types of columns")
    types = [(word, word) for word in (*WORDS, *FORMS)]
    types += [(unit, f"timestamp({unit})") for unit in UNITS]
    types += [(f"epoch_{epoch}", f"timestamp from epoch_{epoch}") for epoch in EPOCHS]

    assert [word for word, _ in types if f"`{word}`" not in told] == []
    assert all(parse_type(text).kind for _, text in types)


def test_every_unit_is_in_the_reference() -> None:
    told = section("Durations, sizes and rates")

    assert [unit for unit in (*SECONDS, *BYTES) if f"`{unit}`" not in told] == []
    assert [span for span in SPANS_S if f"`/{span}`" not in told] == []


def test_references_are_what_the_reference_says(tmp_path: Path) -> None:
    text = "${ONE} ${EMPTY} ${NONE:-default} $${ONE}"
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(document("source", f"user_agent: '{text}'")))

    source = load(tmp_path, env={"ONE": "env", "EMPTY": ""}, variables={"ONE": "profile", "EMPTY": "profile"})["shop"]

    assert source.user_agent == "env profile default ${ONE}"


def test_the_keys_that_may_hold_placeholders_are_in_the_reference() -> None:
    told = section("Placeholders").split("\n\n")[0]

    assert told.strip() == (
        "In `path`, `params`, `headers`, `body` and `graphql` of a resource, and in `path` of `count`."
    )


def test_defaults_do_what_the_reference_says(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(document("source", SOURCE["Defaults"][0])))

    resources = load(tmp_path, env=ENV)["shop"].resources

    assert resources["orders"].params == {"per_page": 100, "lang": "es"}
    assert resources["orders"].paginate is not None
    assert resources["rates"].paginate is None


@pytest.mark.parametrize(("kind", "fragment"), FRAGMENTS)
def test_each_example_loads(tmp_path: Path, kind: str, fragment: str) -> None:
    (tmp_path / "cities.csv").write_text("city\nParis\n")
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(document(kind, fragment)))

    sources = load(tmp_path, env=ENV)

    assert [source.name for source in sources] == ["shop"]


@pytest.mark.parametrize("text", MARTS["Mart"])
def test_each_example_of_marts_loads(tmp_path: Path, text: str) -> None:
    (tmp_path / "marts.yaml").write_text(text)

    marts = load_marts(tmp_path / "marts.yaml")[0].marts

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


def section(title: str) -> str:
    """What the reference says under the heading *title*."""
    found = re.search(rf"^## {title}\n(.*?)^#", reference(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def saying(fragment: str, model: type[BaseModel], key: str, value: Any) -> Iterator[dict[str, Any]]:
    """An example as often as it says keys of *model*, each time with *key* beside some of them."""
    for number in range(len(list(mappings(yaml.safe_load(fragment), model)))):
        given: dict[str, Any] = yaml.safe_load(fragment)
        list(mappings(given, model))[number][key] = value
        yield given


def mappings(part: Any, model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """The mappings within *part* of an example that say keys of *model* and no others."""
    if isinstance(part, dict) and part and part.keys() <= keys(model).keys():
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from mappings(inner, model)


def document(kind: str, fragment: str) -> dict[str, Any]:
    """A whole source file around an example, which may leave out what it is not about."""
    given: dict[str, Any] = yaml.safe_load(fragment)
    whole: dict[str, Any] = {"base_url": "https://api.shop.example", "resources": {"orders": {"path": "/orders"}}}
    if kind == "source":
        return whole | given
    whole["resources"] |= {"repos": {"path": "/repos"}, "orders": {"path": "/orders"} | given}
    return whole
