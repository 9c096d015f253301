"""Where each run setting comes from, and which source wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.project import load_project
from pipelines.config.settings import describe, environment, read_settings
from pipelines.errors import ConfigError
from pipelines.load.stores import Remote

TOML = """
profile = "bundled"
workers = 3
spool_retention = "1d"

[profiles.bundled]
bundled_apis = true

[profiles.live]
workers = 1
[profiles.live.variables]
START = 2024-01-01
PLACES = "1,2"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a settings.toml."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text(TOML)
    return tmp_path


def test_without_a_file_every_setting_has_a_default(tmp_path: Path) -> None:
    settings = read_settings({}, root=tmp_path)

    assert (settings.data, settings.workers, settings.profile) == (Path("data"), "auto", "live")
    assert (settings.batch_size, settings.spool_retention, settings.grace) == (16_000_000, 604_800, 3_600)
    assert settings.bundled_apis is False
    assert {setting.origin for setting in describe(settings)} == {"default"}


def test_command_line_beats_environment_beats_profile_beats_file_beats_default(root: Path) -> None:
    env = {"THREADMILL_PROFILE": "live", "THREADMILL_DATA": "from-env", "THREADMILL_KEPT_COMMITS": "5"}

    settings = read_settings(env, root=root, kept_commits=2, grace=None)

    origins = {setting.name: (setting.value, setting.origin) for setting in describe(settings)}
    file = str(root / "config" / "settings.toml")
    assert (settings.kept_commits, settings.data, settings.workers) == (2, Path("from-env"), 1)
    assert origins["kept_commits"] == ("2", "command line")
    assert origins["data"] == ("from-env", "THREADMILL_DATA")
    assert origins["workers"] == ("1", f"{file} [profiles.live]")
    assert origins["spool_retention"] == ("1d", file)
    assert origins["grace"] == ("1h", "default")


def test_a_profile_brings_its_variables_as_text(root: Path) -> None:
    live = read_settings({}, root=root, profile="live")
    bundled = read_settings({}, root=root)

    assert live.variables == {"START": "2024-01-01", "PLACES": "1,2"}
    assert (live.bundled_apis, bundled.bundled_apis) == (False, True)
    assert bundled.variables == {}


def test_variables_of_the_environment_are_a_json_object_and_empty_is_not_said(root: Path) -> None:
    settings = read_settings(
        {"THREADMILL_VARIABLES": '{"A": "1"}', "threadmill_grace": "2h", "THREADMILL_WORKERS": ""}, root=root
    )

    assert (settings.variables, settings.grace, settings.workers) == ({"A": "1"}, 7200, 3)


def test_variables_of_all_places_are_joined_and_the_nearest_says_what_a_name_means(root: Path) -> None:
    """At the top of the file, as in a profile, dates and numbers are text."""
    file = root / "config" / "settings.toml"
    file.write_text(f"variables = {{START = 2020-01-01, SIZE = 100}}\n{TOML}")

    settings = read_settings({"THREADMILL_VARIABLES": '{"PLACES": "3"}'}, root=root, profile="live")

    described = next(setting for setting in describe(settings) if setting.name == "variables")
    assert settings.variables == {"START": "2024-01-01", "SIZE": "100", "PLACES": "3"}
    assert described.value == "START, SIZE, PLACES"
    assert described.origin == f"THREADMILL_VARIABLES, {file} [profiles.live], {file}"


def test_a_secret_may_be_a_variable_of_the_environment_and_stays_one(root: Path) -> None:
    """Those of settings.toml stand in a committed file, and are none; an empty variable is none at all."""
    source = root / "config" / "shop.yaml"
    source.write_text(
        "base_url: https://a.example\nauth: {bearer: '${SHOP_TOKEN}'}\n"
        "params: {token: '${START}'}\nresources: {r: {path: /x}}\n"
    )

    env = {"THREADMILL_VARIABLES": '{"SHOP_TOKEN": "t0p-s3cret"}', "SHOP_TOKEN": ""}
    project = load_project(env, root=root, profile="live")

    assert project.sources.secrets.hide("t0p-s3cret 2024-01-01") == "*** 2024-01-01"


def test_variables_are_described_by_name_only(root: Path) -> None:
    described = describe(read_settings({}, root=root, profile="live"))

    assert next(setting.value for setting in described if setting.name == "variables") == "START, PLACES"


def test_the_config_folder_says_where_settings_toml_is(root: Path) -> None:
    (root / "config").rename(root / "elsewhere")

    settings = read_settings({"THREADMILL_CONFIG": "elsewhere"}, root=root)

    assert (settings.config, settings.workers) == (Path("elsewhere"), 3)


def test_the_file_dot_env_fills_in_what_the_environment_lacks(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# keys\nSHOP_TOKEN=from-file\nOTHER='a b'\nRAW=${SHOP_TOKEN}\n")

    env = environment(tmp_path, {"SHOP_TOKEN": "from-env"})

    assert env == {"SHOP_TOKEN": "from-env", "OTHER": "a b", "RAW": "${SHOP_TOKEN}"}


def test_the_process_environment_is_not_read_behind_the_callers_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THREADMILL_WORKERS", "7")

    assert read_settings({}, root=tmp_path).workers == "auto"


@pytest.mark.parametrize(
    ("env", "told"),
    [
        pytest.param({"THREADMILL_WORKERS": "0"}, "needs auto or a whole number from 1 to 256", id="zero-workers"),
        pytest.param({"THREADMILL_GRACE": "5"}, "THREADMILL_GRACE: grace: needs a number with its unit", id="no-unit"),
        pytest.param({"THREADMILL_WORKER": "2"}, "did you mean workers?", id="misspelt"),
        pytest.param({"THREADMILL_PROFILE": "liv"}, "no profile 'liv' (did you mean live?)", id="profile"),
        pytest.param({"THREADMILL_VARIABLES": "A=1"}, "THREADMILL_VARIABLES is no JSON", id="variables"),
        pytest.param({"THREADMILL_KEPT_COMMITS": "x"}, "kept_commits: should be a valid integer", id="not-a-number"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_by_name(root: Path, env: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(env, root=root)

    assert told in str(refused.value)
    assert refused.value.exit_code == 2


def test_all_mistakes_of_the_file_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text('worker = 2\ngrace = "5"\n')

    with pytest.raises(ConfigError) as refused:
        read_settings({}, root=tmp_path)

    file = tmp_path / "config" / "settings.toml"
    assert sorted(refused.value.message.splitlines()) == [
        f"{file}: grace: needs a number with its unit, such as 30s, 5min, 1h or 7d",
        f"{file}: worker: no such setting (did you mean workers?)",
    ]


@pytest.mark.parametrize("text", ["workers = [", "profiles = 3", "[profiles]\nlive = 1"])
def test_a_settings_file_that_is_not_toml_or_has_no_tables_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text(text)

    with pytest.raises(ConfigError, match=r"settings\.toml"):
        read_settings({}, root=tmp_path)


@pytest.mark.parametrize(
    "lake", ["s3://KEY:sesame@acme/x", "https://acme.example/x", "s3://acme/x?token=sesame", "acme"]
)
def test_a_lake_is_a_bucket_and_a_prefix_and_what_else_it_says_is_not_told(lake: str) -> None:
    """Credentials belong into AWS_* variables; somebody may write them here all the same."""
    with pytest.raises(ConfigError, match=r"needs s3://bucket/prefix") as refused:
        read_settings({"THREADMILL_LAKE": lake})

    assert "sesame" not in str(refused.value)


def test_the_way_to_a_bucket_is_read_from_the_environment_and_shown_nowhere() -> None:
    settings = read_settings({"THREADMILL_LAKE": "s3://acme/x", "AWS_SECRET_ACCESS_KEY": "sesame"})

    assert settings.remote == Remote("s3://acme/x", {"AWS_SECRET_ACCESS_KEY": "sesame"})
    assert "sesame" not in f"{settings!r}{settings.remote!r}{describe(settings)!r}{settings.model_dump()}"
