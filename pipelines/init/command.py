"""What `threadmill init` does: draft a source, write its file, prove that it can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.config.loading import load
from pipelines.config.naming import misnamed, not_found
from pipelines.config.redact import Redactor
from pipelines.config.settings import Settings, environment, read_settings
from pipelines.errors import ConfigError, PipelineError, StoreError
from pipelines.extract.origins import origin_of
from pipelines.init.answers import refusal
from pipelines.init.drafting import Draft, draft
from pipelines.init.openapi import MOST_BYTES, describe
from pipelines.init.prober import MOST_REQUESTS, Prober
from pipelines.init.subject import subject_of

_UNSET = "stands-for-what-is-not-set"


def draft_source(  # noqa: PLR0913  # each is one option of the command
    url: str,
    env: Mapping[str, str],
    *,
    name: str | None = None,
    headers: Sequence[str] = (),
    openapi: bool = False,
    most: int = MOST_REQUESTS,
    body: str | None = None,
    graphql: str | None = None,
    config: Path | None = None,
    profile: str | None = None,
) -> Draft:
    """The draft for *url*, which asks at most *most* requests; with *openapi* it may be a file, too.

    Raises:
        ConfigError: *name* cannot name a source; nothing was asked.
        PipelineError: The API gives nothing to draft from.
    """
    if name and (wrong := misnamed(name) or not_found(name)):
        raise ConfigError(f"--name: {wrong}", "such as --name shop")
    env = environment(Path(), env)
    if openapi and not url.startswith(("http://", "https://")):
        return describe(_text(Path(url)), name=name)
    query = _text(Path(graphql[1:])) if graphql and graphql.startswith("@") else graphql
    subject = subject_of(url, headers=headers, env=env, name=name, body=body, graphql=query)
    settings = read_settings(env, config=config, profile=profile)
    with (
        _hiding(subject.secrets),
        _answering(url, settings) as origin_map,
        Prober(subject, most=most, origin_map=origin_map) as prober,
    ):
        if not openapi:
            return draft(prober)
        page = prober.ask(subject.request, "the document", "what does it describe?")
        if page.status >= 400:
            raise refusal(page, prober)
        told = describe(page.body.decode("utf-8", "replace"), origin=subject.request.url, name=name)
    return Draft(told.name, subject.secrets.hide(told.text), tuple(prober.asked), told.to_set)


def place_of(
    name: str | None,
    env: Mapping[str, str],
    *,
    output: Path | None = None,
    config: Path | None = None,
    profile: str | None = None,
) -> Path | None:
    """Where the file of the source *name* goes; None while nobody knows, before the API has been asked.

    Raises:
        ConfigError: A file is there already.
    """
    path = output
    if path is None and name and not misnamed(name):
        path = read_settings(environment(Path(), env), config=config, profile=profile).config / f"{name}.yaml"
    if path is not None and path.exists():
        raise ConfigError(f"{path} exists already", "say --name or --output; - prints the file")
    return path


def save(written: Draft, path: Path, env: Mapping[str, str]) -> None:
    """Write the file of *written* at *path*, and read it as a run would.

    Raises:
        ConfigError: There is a file by now, or the new one is no valid source and was taken away.
        StoreError: It cannot be written.
    """
    env = environment(Path(), env)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(written.text)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}", "say --output") from None
    try:
        load(path, env={**dict.fromkeys(written.to_set, _UNSET), **env})
    except ConfigError as error:
        path.unlink()  # one invalid file keeps every command of the project from working
        told = f"the draft is no valid source and was not kept:\n{error.message}"
        raise ConfigError(told, "`--output -` prints it") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "name a file or a URL") from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path} is larger than 20 MiB", "cut it down to what you need")
    return raw.decode("utf-8-sig", "replace")


@contextmanager
def _hiding(secrets: Redactor) -> Iterator[None]:
    """What is wrong is told without *secrets*: one may stand in the URL."""
    try:
        yield
    except PipelineError as error:
        error.args = (secrets.hide(error.message), secrets.hide(error.hint))
        raise


@contextmanager
def _answering(url: str, settings: Settings) -> Iterator[Mapping[str, str]]:
    """The bundled APIs, where the profile has them answer and *url* is one of theirs."""
    if not settings.bundled_apis:
        yield {}
        return
    from pipelines.demo import serve
    from pipelines.demo.app import APIS

    if origin_of(url) not in APIS:
        yield {}
        return
    with serve(latency="0ms") as origin_map:
        yield origin_map
