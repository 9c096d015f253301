"""Where secrets come from, and that they show nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config.loading import load
from pipelines.config.references import unread
from pipelines.errors import ConfigError
from tests.project import ONE, SHOP, TOKEN, TOP, Project, resource


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project that is the current folder."""
    return Project(tmp_path, monkeypatch)


def test_a_prefect_secret_is_read_by_the_one_who_has_prefect(project: Project) -> None:
    project.write(SHOP.replace('"${SHOP_TOKEN}"', "prefect-secret:shop"))

    salt = {"MASK_SALT": "salt-of-the-test"}
    shop = load(Path("config"), env=salt, prefect_secret={"shop": TOKEN}.__getitem__)["shop"]

    assert shop.auth is not None
    assert shop.auth.headers() == {"Authorization": f"Bearer {TOKEN}"}
    assert shop.secrets.hide(f"x{TOKEN}") == "x***"


SECRETS = {
    "bearer": 'auth: {bearer: "${SHOP_TOKEN}"}',
    "api-key": 'auth: {api_key: {header: X-Key, value: "${SHOP_TOKEN}"}}',
    "basic": 'auth: {basic: {user: u, password: "${SHOP_TOKEN}"}}',
    "header": 'headers: {X-Anything: "v1 ${SHOP_TOKEN}"}',
    "param": 'params: {api_key: "${SHOP_TOKEN}"}',
    "param-by-variable": 'params: {k: "${SHOP_TOKEN}"}',
    "salt": 'resources: {r: {path: /x, mask: {email: {sha256: "${SHOP_TOKEN}"}}}}',
    "literal-salt": f"resources: {{r: {{path: /x, mask: {{email: {{sha256: {TOKEN}}}}}}}}}",
    "literal": f"auth: {{bearer: {TOKEN}}}",
    "literal-in-a-body": f"resources: {{r: {{path: /x, method: POST, body: {{by: [{{apiKey: {TOKEN}}}]}}}}}}",
    "literal-in-variables": f"resources: {{r: {{path: /x, graphql: {{query: q, variables: {{token: {TOKEN}}}}}}}}}",
    "in-a-body": 'resources: {r: {path: /x, method: POST, body: {clientSecret: "${SHOP_PAT}"}}}',
    "in-variables": 'resources: {r: {path: /x, graphql: {query: q, variables: {accessToken: "${SHOP_PAT}"}}}}',
    "default-in-auth": f'auth: {{bearer: "${{T:-{TOKEN}}}"}}',
    "default-of-a-param": f'params: {{api_key: "v1 ${{T:-{TOKEN}}}"}}',
    "default-by-variable": f'params: {{k: "${{SOME_TOKEN:-{TOKEN}}}"}}',
    "default-of-a-salt": f'resources: {{r: {{path: /x, mask: {{email: {{sha256: "${{S:-{TOKEN}}}"}}}}}}}}',
}


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in SECRETS.items()])
def test_s05_a_secret_shows_in_no_repr_dump_or_error(project: Project, line: str) -> None:
    project.write(f"{TOP}{line}\n{'' if 'resources' in line else ONE}")

    shop = project.load()["shop"]

    shown = [
        repr(shop),
        str(shop),
        str(shop.model_dump()),
        shop.model_dump_json(),
        repr(shop.resources),
        shop.config_hash,
    ]
    assert TOKEN not in "".join(shown)
    assert shop.secrets.hide(f"GET /?k={TOKEN}") == "GET /?k=***"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"retry: {TOKEN}", id="wrong-place-literal"),
        pytest.param('auth: {bearer: {tokn: "${SHOP_TOKEN}"}}', id="wrong-key"),
        pytest.param('auth: {basic: "${SHOP_TOKEN}"}', id="wrong-kind"),
        pytest.param('headers: {X: ["${SHOP_TOKEN}"]}', id="wrong-type"),
        pytest.param('timeout: "${SHOP_TOKEN}"', id="wrong-unit"),
        pytest.param(f"auth: {{bearer: [{TOKEN}]}}", id="literal-list"),
    ],
)
def test_s05_an_error_never_quotes_what_a_variable_held(project: Project, line: str) -> None:
    project.write(f'{TOP}{line}\nparams: {{token: "${{SHOP_TOKEN}}"}}\n{ONE}')

    told = "\n".join(project.mistakes())

    assert TOKEN not in told


@pytest.mark.parametrize(
    ("line", "where"),
    [
        pytest.param(SECRETS["bearer"], "auth.bearer: ", id="bearer"),
        pytest.param(SECRETS["api-key"], "auth.api_key.value: ", id="api-key"),
        pytest.param(SECRETS["basic"], "auth.basic.password: ", id="basic"),
        pytest.param(SECRETS["header"], "headers: the header 'X-Anything' ", id="header"),
        pytest.param(
            'resources: {r: {path: /x, headers: {X-Key: "${SHOP_TOKEN}"}}}',
            "resources.r.headers: the header 'X-Key' ",
            id="header-of-a-resource",
        ),
    ],
)
def test_s22_a_secret_with_a_line_break_is_refused_by_its_key(project: Project, line: str, where: str) -> None:
    """As of a file that ends with one; what would be sent with it could only be quoted by whoever refuses it."""
    project.write(f"{TOP}{line}\n{'' if 'resources' in line else ONE}")

    (told,) = project.mistakes(SHOP_TOKEN=f"{TOKEN}\n")

    assert told.startswith(f"config/shop.yaml:2: {where}holds a control character, such as a line break")
    assert TOKEN not in told


def test_a_literal_secret_is_warned_about(project: Project) -> None:
    project.write(f"{TOP}auth:\n  bearer: {TOKEN}\nheaders: {{X-Api-Key: abcdefgh, Accept: text/csv}}\n{ONE}")

    warnings = project.load().warnings

    assert warnings == (
        "config/shop.yaml:3: auth.bearer: a literal secret; write ${NAME} and set it in `.env`",
        "config/shop.yaml:4: headers.X-Api-Key: a literal secret; write ${NAME} and set it in `.env`",
    )


def test_a_secret_that_is_a_default_is_warned_about_where_it_is_used(project: Project) -> None:
    """One that may be seen is none, such as the type of a header."""
    project.write(
        f'{TOP}auth: {{bearer: "${{T:-{TOKEN}}}"}}\n'
        'headers: {Accept: "${ACCEPT:-text/csv}", X-Token: "${X:-}"}\n'
        'params: {key: "${KEY:-live_4f9a22}", from: "${FROM:-2024-01-01}"}\n' + ONE
    )

    used, unused = project.load(), project.load(T="a-token-of-the-test", KEY="a-key-of-the-test")

    assert used.warnings == (
        "config/shop.yaml:2: auth.bearer: its default is a literal secret; write ${T} and set it in `.env`",
        "config/shop.yaml:4: params.key: its default is a literal secret; write ${KEY} and set it in `.env`",
    )
    assert used.secrets.hide(f"{TOKEN} live_4f9a22 text/csv 2024-01-01") == "*** *** text/csv 2024-01-01"
    assert unused.warnings == ()


def test_what_a_body_asks_for_is_no_secret(project: Project) -> None:
    project.write(resource("path: /x", "method: POST", "body: {sort: {key: created}, keys: [name], max_tokens: many}"))

    sources = project.load()

    assert (sources.warnings, sources.secrets.hide("created name many")) == ((), "created name many")


def test_a_plain_variable_is_no_secret(project: Project) -> None:
    project.write(resource("path: /x", 'params: {from: "${FROM:-2024-01-01}", token: "${PUBLIC}"}'))

    sources = load(Path("config"), env={"FROM": "2025-06-01"}, variables={"PUBLIC": "profile-value"})

    assert sources.secrets.hide("2025-06-01 profile-value") == "2025-06-01 profile-value"


def test_the_hash_follows_the_configuration_and_not_the_secrets(project: Project) -> None:
    def hashed(content: str, **env: str) -> str:
        project.write(content)
        return project.load(**env)["shop"].config_hash

    base = hashed(SHOP)

    assert hashed("# a comment\n" + SHOP, SHOP_TOKEN="rotated-token") == base
    assert hashed(SHOP.replace("rate: 10/s", "rate: 5/s")) == base
    assert hashed(SHOP.replace("per_page: 100", "per_page: 50")) != base
    assert hashed(SHOP.replace("per_page: 100", "per_page: '${N}'"), N="1") != hashed(
        SHOP.replace("per_page: 100", "per_page: '${N}'"), N="2"
    )


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        pytest.param(None, "prefect-secret:shop can be read in a Prefect flow only", id="no-prefect"),
        pytest.param({}.__getitem__, "Prefect has no Secret block 'shop'", id="no-block"),
    ],
)
def test_a_prefect_secret_that_cannot_be_read_is_a_mistake(
    project: Project, reader: Callable[[str], str] | None, told: str
) -> None:
    project.write(SHOP.replace('"${SHOP_TOKEN}"', "prefect-secret:shop"))

    with pytest.raises(ConfigError, match=re.escape(f"config/shop.yaml:2: auth.bearer: {told}")):
        load(Path("config"), env={}, prefect_secret=reader)


@pytest.mark.parametrize(
    ("token", "salt"),
    [
        pytest.param("${SHOP_TOKEN}", "${MASK_SALT}", id="variables"),
        pytest.param("prefect-secret:shop", "prefect-secret:salt", id="blocks"),
    ],
)
def test_where_secrets_are_not_needed_they_count_by_name_and_what_is_no_secret_must_be_there(
    project: Project, token: str, salt: str
) -> None:
    """A name may be shorter than a salt, which has eight letters; it is hidden nowhere."""
    text = SHOP.replace("${SHOP_TOKEN}", token).replace("${MASK_SALT}", salt)
    project.write(text)
    known = load(
        Path("config"), env={"SHOP_TOKEN": TOKEN, "MASK_SALT": "salt-of-the-test"}, prefect_secret="value-of-{}".format
    )

    named = load(Path("config"), env={}, prefect_secret=unread, unset_secret=unread)
    project.write(text.replace("per_page: 100", "per_page: '${SIZE}'"))
    with pytest.raises(ConfigError, match=r"\$\{SIZE\} is not set") as refused:
        load(Path("config"), env={}, prefect_secret=unread, unset_secret=unread)

    assert named["shop"].config_hash == known["shop"].config_hash
    assert (named.warnings, named.secrets.hide("shop salt")) == ((), "shop salt")
    assert len(refused.value.message.splitlines()) == 1
