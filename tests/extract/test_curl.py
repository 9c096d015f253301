"""The line that repeats a request: it works in a shell, and its secrets are names or stars."""

from __future__ import annotations

import base64
import pickle
import shlex

import pytest

from pipelines.config.redact import Redactor
from pipelines.errors import HttpError
from pipelines.extract.curl import curl_line

URL = "https://api.example/orders"
SECRET = "s3cr3t/+&=value"


@pytest.fixture
def redactor() -> Redactor:
    """Knows one secret of the environment and one that an API gave."""
    redactor = Redactor([SECRET, "granted-token"])
    redactor.name({"SHOP_KEY": SECRET})
    return redactor


@pytest.mark.parametrize(
    ("headers", "url", "expected"),
    [
        pytest.param({}, f"{URL}?page=2&since=2024-01-01", [f"{URL}?page=2&since=2024-01-01"], id="plain"),
        pytest.param({"X-Key": SECRET}, URL, ["--header", "X-Key: $SHOP_KEY", URL], id="header"),
        pytest.param(
            {"Authorization": f"Bearer {SECRET}"},
            URL,
            ["--header", "Authorization: Bearer $SHOP_KEY", URL],
            id="bearer",
        ),
        pytest.param(
            {"Authorization": "Bearer granted-token"}, URL, ["--header", "Authorization: Bearer ***", URL], id="granted"
        ),
        pytest.param(
            {"Authorization": "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()},
            URL,
            ["--user", "me:$SHOP_KEY", URL],
            id="basic",
        ),
        pytest.param({}, f"{URL}?key=s3cr3t%2F%2B%26%3Dvalue&n=1", [f"{URL}?key=$SHOP_KEY&n=1"], id="query"),
        pytest.param({}, f"{URL}?access_token=from-a-link&n=1", [f"{URL}?access_token=***&n=1"], id="link"),
        pytest.param({}, f"{URL}?q=a%20b%26c", [f"{URL}?q=a%20b%26c"], id="encoded"),
        pytest.param({"X-Login": "abc"}, URL, ["--header", "X-Login: ***", URL], id="short, but named"),
    ],
)
def test_secrets_are_names_of_variables_or_stars(
    redactor: Redactor, headers: dict[str, str], url: str, expected: list[str]
) -> None:
    line = curl_line("GET", url, headers, None, secret=["x-login"], refer=redactor.refer)

    assert shlex.split(line) == ["curl", "--compressed", *expected]
    assert SECRET not in line
    assert "granted-token" not in line


def test_a_post_repeats_its_body_and_quotes_of_others_stay_text(redactor: Redactor) -> None:
    body = b'{"q": "$(rm -rf /) `x` \'", "key": "s3cr3t/+&=value"}'

    line = curl_line("POST", URL, {}, body, secret=[], refer=redactor.refer)

    assert '--data-raw "{\\"q\\": \\"\\$(rm -rf /) \\`x\\` \'\\", \\"key\\": \\"$SHOP_KEY\\"}"' in line
    assert "--request" not in line


def test_an_error_carries_its_line_through_a_process_border() -> None:
    error = HttpError("GET /x: 500", "run again")
    error.curl = "curl https://api.example/x"

    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301  # as a worker's pipe does

    assert str(arrived) == "GET /x: 500\n  hint: run again\n  repeat: curl https://api.example/x"
