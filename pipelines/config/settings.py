"""How a run is set up: folders, workers, memory, retention, profile.

Command line > environment (`THREADMILL_*`, also from `.env`) > the profile's table
in `config/settings.toml` > the file's top > default. A profile also names the
variables that the YAML files may use, and whether the bundled APIs answer.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import PydanticCustomError, from_json

from pipelines.config.problems import nearest
from pipelines.errors import ConfigError
from pipelines.load.stores import Remote
from pipelines.values import Bytes, Seconds

PREFIX = "THREADMILL_"
FILE = "settings.toml"


def _workers(value: object) -> object:
    if value == "auto":
        return value
    if not str(value).isdigit() or not 1 <= int(str(value)) <= 256:
        raise PydanticCustomError("workers", "needs auto or a whole number from 1 to 256")
    return int(str(value))


Workers = Annotated[Literal["auto"] | int, BeforeValidator(_workers)]


def _bucket(value: object) -> object:
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[\w.=-]+)*/?", str(value), re.ASCII):
        # the value is not told: somebody may have put credentials into it
        raise PydanticCustomError("bucket", "needs s3://bucket/prefix; credentials are read from AWS_* variables")
    return value


Bucket = Annotated[str, BeforeValidator(_bucket)]


class Setting(Struct, frozen=True):
    """One setting as `threadmill settings` prints it: value as written, and where it came from."""

    name: str
    value: str
    origin: str
    description: str


class Settings(BaseModel):
    """All run settings; frozen, so that a run means the same from its first step to its last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Path = Field(Path("config"), description="folder of the source files and of settings.toml")
    data: Path = Field(Path("data"), description="folder for lake, spool and the Parquet view")
    lake: Bucket | None = Field(
        None, description="bucket that keeps what is committed, instead of the data folder: s3://bucket/prefix"
    )
    transforms: Path | None = Field(None, description="folder of transform modules instead of pipelines/transforms")
    profile: str = Field("live", description="which table of [profiles] applies")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="how log lines look: text, json, or auto, which is text in a terminal and JSON elsewhere"
    )
    workers: Workers = Field(
        "auto", description="worker processes; auto is one for each CPU, as far as free memory allows 200 MB each"
    )
    threads: Workers = Field(
        "auto",
        description="threads that fetch from one source; auto is up to one for each request in flight, while they wait",
    )
    engine: Literal["processes", "dask", "ray"] = Field(
        "processes", description="where batches and marts are computed: processes here, or a cluster of dask or ray"
    )
    engine_address: str = Field("", description="where the cluster is: tcp://host:8786 (dask), host:6379 (ray)")
    batch_size: Bytes = Field("16MB", validate_default=True, description="JSON that one worker gets at a time")
    memory: Bytes = Field(
        "256MB",
        validate_default=True,
        description="fetched pages of a resource that may wait for workers",
    )
    spool_retention: Seconds = Field(
        "7d", validate_default=True, description="how long fetched pages are kept for replay"
    )
    kept_commits: int = Field(
        10, ge=1, description="commits of a source that stay; each run, and vacuum, forgets older ones"
    )
    grace: Seconds = Field(
        "1h", validate_default=True, description="how long replaced files stay for readers that still have them open"
    )
    bundled_apis: bool = Field(False, description="answer from the bundled APIs on loopback instead of the internet")
    bundled_latency: Seconds = Field(
        "35ms", validate_default=True, description="median wait before an answer of the bundled APIs"
    )
    bundled_chaos: float = Field(
        0.0, ge=0, le=1, description="share of requests to the bundled APIs that go wrong, 0 to 1"
    )
    bundled_seed: int = Field(0, description="which requests to the bundled APIs go wrong, and how")
    variables: dict[str, str] = Field(
        default_factory=dict,
        description="values for ${NAME} in the YAML files; joined from settings.toml, its profile and the environment",
    )

    _origins: dict[str, tuple[str, str]] = PrivateAttr(default_factory=dict)
    _access: dict[str, str] = PrivateAttr(default_factory=dict)
    _given: dict[str, str] = PrivateAttr(default_factory=dict)

    def completed(self, env: Mapping[str, str]) -> dict[str, str]:
        """*env*, and what it lacks of `THREADMILL_VARIABLES`: these stand in no file, and may be secrets as well."""
        return {**env, **{name: value for name, value in self._given.items() if not env.get(name)}}

    @property
    def access(self) -> dict[str, str]:
        """The `AWS_*` variables: how to get to buckets."""
        return dict(self._access)

    @property
    def remote(self) -> Remote | None:
        """The lake's bucket, with the `AWS_*` variables that lead there; None where the data folder keeps it all."""
        return Remote(self.lake, self._access) if self.lake else None


def environment(root: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The variables of *env*, and those of the file `.env` in *root* that *env* does not have."""
    file = root / ".env"
    if not file.is_file():
        return dict(env)
    from dotenv import dotenv_values

    written = dotenv_values(file, interpolate=False)
    return {**{name: value for name, value in written.items() if value is not None}, **env}


def read_settings(env: Mapping[str, str], *, root: Path = Path(), **given: Any) -> Settings:
    """The settings of the project in *root*; *given* are those of the command line, None where not said.

    Raises:
        ConfigError: An unknown setting, a value that does not fit, or a profile that the file has not.
    """
    given = {name: value for name, value in given.items() if value is not None}
    told = _environment(env)
    folder = root / Path(str(given.get("config", told.get("config", "config"))))
    file, profiles = _file(folder / FILE)
    layers = [("command line", given), ("environment", told), (str(folder / FILE), file)]
    profile = str(_first(layers, "profile", "live"))
    layers.insert(2, (f"{folder / FILE} [profiles.{profile}]", _profile(profiles, profile, folder / FILE)))
    merged = _merged(layers)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise _refuse(error, layers) from None
    settings._origins.update(_origins(layers, merged))
    settings._given.update(Settings(variables=told["variables"]).variables if "variables" in told else {})
    settings._access.update({name: value for name, value in env.items() if name.startswith("AWS_")})
    return settings


def describe(settings: Settings) -> list[Setting]:
    """Each setting with the text it was given as and where it came from; variables by name only."""
    described = []
    for name, field in Settings.model_fields.items():
        value, origin = settings._origins.get(name, (field.get_default(call_default_factory=True), "default"))
        described.append(Setting(name, _shown(value), _spelled(name, origin), field.description or ""))
    return described


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = ", ".join(value) if isinstance(value, dict) else str("" if value is None else value)
    return text or "-"


def _spelled(name: str, origin: str) -> str:
    return f"{PREFIX}{name.upper()}" if origin == "environment" else origin


def _environment(env: Mapping[str, str]) -> dict[str, Any]:
    """The settings that *env* names; empty is not said, and `variables` are a JSON object."""
    names = {name.lower() for name in env if name.upper().startswith(PREFIX)}
    unknown = sorted(names - {f"{PREFIX}{name}".lower() for name in Settings.model_fields})
    if unknown:
        word = unknown[0].removeprefix(PREFIX.lower())
        known = ", ".join(Settings.model_fields)
        message = f"{unknown[0].upper()}: no such setting{nearest(word, Settings.model_fields)}"
        raise ConfigError(message, f"known settings: {known}")
    told: dict[str, Any] = {name.lower(): value for name, value in env.items() if value and name.lower() in names}
    told = {name.removeprefix(PREFIX.lower()): value for name, value in told.items()}
    if "variables" in told:
        try:
            told["variables"] = from_json(told["variables"])
        except ValueError:
            # the text is not told: values of variables may be secrets
            raise ConfigError(f"{PREFIX}VARIABLES is no JSON", 'write an object: {"NAME": "value"}') from None
    return _with_texts(told)


def _file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The top of settings.toml and its profiles; both empty where there is no file."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "check its permissions") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}", "see https://toml.io") from None
    profiles = data.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        raise ConfigError(f"{path}: profiles: needs one table for each, such as [profiles.live]", "see docs")
    return _with_texts(data), profiles


def _profile(profiles: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    if name not in profiles and (profiles or name != "live"):
        known = ", ".join(sorted(profiles)) or "none"
        raise ConfigError(f"{path}: no profile {name!r}{nearest(name, profiles)}", f"known profiles: {known}")
    return _with_texts(profiles.get(name, {}))


def _with_texts(table: Mapping[str, Any]) -> dict[str, Any]:
    """*table* with its variables as text, which they are always: TOML and JSON have numbers, TOML has dates."""
    variables = table.get("variables")
    if not isinstance(variables, dict):
        return dict(table)
    return {**table, "variables": {key: str(value) for key, value in variables.items()}}


def _merged(layers: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Of each setting the value of the first of *layers* that has it; `variables` are joined name by name."""
    merged = {name: value for _, layer in reversed(layers) for name, value in layer.items()}
    tables = [layer["variables"] for _, layer in reversed(layers) if "variables" in layer]
    if tables and all(isinstance(table, dict) for table in tables):
        merged["variables"] = {name: value for table in tables for name, value in table.items()}
    return merged


def _first(layers: list[tuple[str, dict[str, Any]]], name: str, default: Any) -> Any:
    return next((layer[name] for _, layer in layers if name in layer), default)


def _origins(layers: list[tuple[str, dict[str, Any]]], merged: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Where each of the *merged* settings came from; variables, wherever any did."""
    origins = {name: (merged[name], origin) for origin, layer in reversed(layers) for name in layer}
    if "variables" in merged:
        found = [_spelled("variables", origin) for origin, layer in layers if "variables" in layer]
        origins["variables"] = (merged["variables"], ", ".join(found))
    return origins


def _refuse(error: ValidationError, layers: list[tuple[str, dict[str, Any]]]) -> ConfigError:
    """All that is wrong with the settings, each with where it was said."""
    lines: dict[str, str] = {}
    for item in error.errors():
        name = str(item["loc"][0])
        origin = _spelled(name, _origins(layers, _merged(layers)).get(name, ("", "default"))[1])
        unknown = item["type"] == "extra_forbidden"
        told = f"no such setting{nearest(name, Settings.model_fields)}" if unknown else item["msg"]
        lines.setdefault(name, f"{origin}: {name}: {told.replace('Input should', 'should')}")
    return ConfigError("\n".join(lines.values()), f"known settings: {', '.join(Settings.model_fields)}")
