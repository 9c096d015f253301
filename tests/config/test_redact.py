"""No secret leaves through a text that a person may read."""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import threading
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest

from pipelines.config.redact import RedactingFilter, Redactor, escape, redacted

SECRET = "s3cr3t/K+y=ä&1"


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    """A logger whose one handler is guarded, and what it wrote."""
    written = io.StringIO()
    logger = logging.Logger("guarded")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    Redactor([SECRET]).guard(logger)
    return logger, written


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(str, id="plain"),
        pytest.param(lambda value: quote(value, safe=""), id="url-path"),
        pytest.param(quote_plus, id="url-query"),
        pytest.param(lambda value: urlencode({"q": value}), id="urlencode"),
        pytest.param(json.dumps, id="json"),
        pytest.param(lambda value: json.dumps(value, ensure_ascii=False), id="json-utf8"),
        pytest.param(repr, id="repr"),
    ],
)
def test_s05_a_secret_is_hidden_in_every_spelling(spell: Callable[[str], str]) -> None:
    redactor = Redactor([SECRET])

    shown = redactor.hide(f"GET /x?key={spell(SECRET)} failed")

    assert "s3cr3t" not in shown
    assert "***" in shown
    assert shown.endswith(" failed")


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "alice"])
def test_s05_a_password_is_hidden_inside_an_authorization_header(user: str) -> None:
    """Base64 shifts with the length of the user name before it; a bit of each edge may remain."""
    password = "correct horse battery"
    header = base64.b64encode(f"{user}:{password}".encode()).decode()

    shown = Redactor([password]).hide(f"Authorization: Basic {header}")

    left = shown.removeprefix("Authorization: Basic ")
    assert "***" in left
    assert len(left) < len(user) * 2 + 14


def test_the_longest_secret_is_hidden_first() -> None:
    redactor = Redactor(["token", "token-and-more"])

    shown = redactor.hide("a token-and-more b token")

    assert shown == "a *** b ***"


def test_a_value_shorter_than_four_characters_is_reported_and_left_alone() -> None:
    redactor = Redactor()

    short = redactor.add("abc", "abcd")

    assert short == ("abc",)
    assert redactor.hide("abc abcd") == "abc ***"


def test_a_token_that_is_obtained_later_is_hidden_too() -> None:
    redactor = Redactor(["first-token"])

    threads = [threading.Thread(target=redactor.add, args=(f"renewed-{number:03}",)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert redactor.hide(" ".join(f"renewed-{number:03}" for number in range(40))) == " ".join(["***"] * 40)
    assert redactor.hide("first-token") == "***"


def test_neither_repr_nor_pickle_of_a_redactor_holds_a_secret() -> None:
    redactor = Redactor([SECRET])

    stored = pickle.dumps(redactor)

    assert repr(redactor) == "Redactor(1 secrets)"
    assert SECRET.encode() not in stored


def test_s06_a_log_record_loses_the_secret_in_message_arguments_and_traceback(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, written = log

    logger.warning("plain %s of %r", SECRET, {"key": SECRET})
    try:
        raise ValueError(f"no answer from https://api.example/?key={SECRET}")
    except ValueError:
        logger.exception("request failed key=%s", SECRET)

    assert "s3cr3t" not in written.getvalue()
    assert "Traceback" in written.getvalue()
    assert written.getvalue().count("***") >= 4


def test_s27_control_characters_cannot_forge_a_log_line(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log

    logger.error("server said %s", "\x1b[2J\n[ERROR] fake\u2028x")

    assert written.getvalue() == "ERROR server said \\x1b[2J\\n[ERROR] fake\\u2028x\n"


def test_a_mistaken_log_call_is_still_filtered(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log

    logger.error(f"two %s %s {SECRET}", "one")  # noqa: G004  # the mistake in question

    assert written.getvalue() == "ERROR two %s %s ***\n"


def test_a_logger_is_guarded_once(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, _ = log
    redactor = Redactor([SECRET])

    redactor.guard(logger)
    redactor.guard(logger)

    filters = [known for known in logger.handlers[0].filters if isinstance(known, RedactingFilter)]
    assert len([known for known in filters if known.redactor is redactor]) == 1


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        pytest.param(b"bad key " + SECRET.encode(), "bad key ***", id="bytes"),
        pytest.param("line\r\nline\x07", "line\\r\\nline\\x07", id="control"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="not-utf8"),
        pytest.param("x" * 501, "x" * 499 + "…", id="cut"),
        pytest.param("x" * 495 + SECRET, "x" * 495 + "***", id="hidden-before-cut"),
        pytest.param("", "", id="empty"),
    ],
)
def test_s27_an_error_body_is_quoted_short_on_one_line_without_secrets(body: str | bytes, shown: str) -> None:
    redactor = Redactor([SECRET])

    quiet = redactor.quiet(body)

    assert quiet == shown


def test_secrets_are_hidden_at_any_depth_of_a_document() -> None:
    document = {"a": [SECRET, 1, None], "b": {"c": f"Bearer {SECRET}"}}

    shown = redacted(document, Redactor([SECRET]))

    assert shown == {"a": ["***", 1, None], "b": {"c": "Bearer ***"}}


def test_text_without_secrets_is_left_as_it_is() -> None:
    assert Redactor().hide("nothing to hide") == "nothing to hide"
    assert escape("línea única") == "línea única"
