"""The log on standard error: one shape for programs, lines for people, no secret in either."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.redact import Redactor
from pipelines.extract.events import Event
from pipelines.logs import JsonLines, TextLines, configure
from pipelines.run_log import RunLog
from tests.fake_api import FakeApi, say
from tests.shop import Ended, Shop, environment, start

TOKEN = "sesame-open-7341"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The loggers are as before when a test ends."""
    root, ours = logging.getLogger(), logging.getLogger("pipelines")
    before = (root.level, ours.level, list(root.handlers))
    yield
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    """A project whose second source needs a token."""
    shop = Shop(api, tmp_path)
    shop.edit("bank.yaml", "retry:", "auth: {api_key: {param: api_key, value: '${BANK_KEY}'}}\nretry:")
    return shop


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def told(text: str, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(text) if line["event"] == event]


def test_a_run_without_terminal_logs_json_lines_of_one_shape(shop: Shop) -> None:
    """Beginning, fetched and settled of each resource, commits, end: nothing else by default."""
    ran = shop.run("--json", BANK_KEY=TOKEN)

    run_id = ran.report["run_id"]
    known = {"time", "level", "logger", "event", "source", "resource", "run", "fields"}
    assert {key for line in lines(ran.err) for key in line} <= known
    assert {(line["level"], line["logger"], line["run"]) for line in lines(ran.err)} == {
        ("INFO", "pipelines.run", run_id)
    }
    assert all(line["time"].endswith("Z") for line in lines(ran.err))
    settled = {f"{line['source']}.{line['resource']}": line["fields"] for line in told(ran.err, "resource settled")}
    assert settled.keys() == {"shop.customers", "shop.orders", "shop.events", "bank.accounts"}
    assert (settled["shop.events"]["verdict"], settled["shop.events"]["rows_written"]) == ("complete", 7)
    (end,) = told(ran.err, "run ended")
    assert (end["fields"]["exit_code"], end["fields"]["rows_written"]) == (0, 26)


def test_a_failed_request_is_logged_with_the_line_that_repeats_it_and_no_secret(shop: Shop) -> None:
    """The key comes back in the API's error body and is hidden there, too; the line itself works in a shell."""
    shop.api.route("/bank/accounts", lambda asked: say({"error": f"not {asked.params['api_key']}"}, status=403))

    ran = shop.run("--json", "-v", BANK_KEY=TOKEN)

    (failed,) = told(ran.err, "resource failed")
    problem = ran.resource("bank.accounts")["problem"]
    assert (failed["level"], failed["resource"], failed["fields"]["kind"]) == ("ERROR", "accounts", problem["kind"])
    assert failed["fields"]["repeat"] == problem["curl"]
    assert problem["curl"].startswith("curl --compressed ")
    assert "&api_key=$BANK_KEY" in problem["curl"] or "?api_key=$BANK_KEY" in problem["curl"]
    assert TOKEN not in ran.out + ran.err
    asked = next(one for one in shop.api.asked if one.path == "/bank/accounts")
    repeated = subprocess.run(["bash", "-c", problem["curl"]], env={**os.environ, "BANK_KEY": TOKEN}, check=True,
                              capture_output=True, text=True)  # fmt: skip
    again = shop.api.asked[-1]
    assert json.loads(repeated.stdout) == {"error": f"not {TOKEN}"}
    assert (again.path, again.params) == (asked.path, asked.params)
    assert again.headers["accept"] == asked.headers["accept"]


def test_a_command_that_fails_says_so_as_text_unless_json_lines_are_asked_for(shop: Shop) -> None:
    text = shop.run(BANK_KEY="")
    asked = shop.run("--log-format", "json", BANK_KEY="")
    by_setting = shop.run(data=shop.folder / "config/shop.yaml/x", THREADMILL_LOG_FORMAT="json", BANK_KEY=TOKEN)

    assert text.err.startswith("ConfigError: ")
    assert "\n  hint: " in text.err
    (line,) = lines(asked.err)
    assert (line["event"], line["fields"]["kind"], line["fields"]["exit_code"]) == ("command failed", "ConfigError", 2)
    assert text.code == asked.code == 2
    assert (by_setting.code, lines(by_setting.err)[-1]["fields"]["kind"]) == (1, "StoreError")


def test_quieter_and_louder_may_stand_before_and_after_the_command(shop: Shop) -> None:
    """-q leaves warnings, and there are none; -v adds a line for each request."""
    quiet = [Ended.of(start(shop.folder, *one, BANK_KEY=TOKEN)) for one in (["-q", "run"], ["run", "--quiet"])]
    loud = shop.run("-v", BANK_KEY=TOKEN)

    assert [(one.code, one.err) for one in quiet] == [(0, ""), (0, "")]
    answers = told(loud.err, "request answered")
    assert len(answers) >= 4
    assert {line["level"] for line in answers} == {"DEBUG"}
    assert answers[0]["fields"].keys() == {"seconds", "wire_bytes", "status"}
    assert [line for line in lines(loud.err) if not line["logger"].startswith("pipelines")] == []


def test_in_a_terminal_the_log_is_text_and_a_run_without_trouble_says_nothing_but_its_table(shop: Shop) -> None:
    """-v shows resources as lines for people; a failure is told once, by the table."""
    code, plain = in_terminal(shop.folder, BANK_KEY=TOKEN)
    shop.day = 2
    _, loud = in_terminal(shop.folder, "-v", BANK_KEY=TOKEN)
    shop.api.route("/bank/accounts", lambda asked: say({}, status=404))
    _, failed = in_terminal(shop.folder, BANK_KEY=TOKEN)

    assert code == 0
    assert "rows written in" in plain
    assert "INFO" not in plain
    assert "INFO    shop.events: resource settled verdict=complete rows_written=7" in loud
    assert "{" not in loud
    assert failed.count("bank.accounts: HttpError") == 1
    assert "ERROR" not in failed
    assert "repeat: curl " in failed


def in_terminal(folder: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """The exit code of a run in a terminal, and all that it wrote there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pipelines", "run", *arguments]
    terminal = {**environment(**env), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(command, cwd=folder, env=terminal, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while read := os.read(ours, 65_536):
            written += read
    except OSError:
        pass  # the terminal is closed once nobody writes to it
    os.close(ours)
    return process.wait(60), written.decode()


def record(message: str, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("pipelines.run").makeRecord(
        "pipelines.run", logging.WARNING, "file", 1, message, (), None, extra=extra
    )


def test_fields_pass_the_redactor_like_everything_else(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    Redactor([TOKEN]).guard(logging.getLogger())

    logging.getLogger("pipelines.run").warning("asked", extra={"fields": {"url": f"/x?k={TOKEN}", "all": [TOKEN]}})

    (line,) = lines(capsys.readouterr().err)
    assert line["fields"] == {"url": "/x?k=***", "all": ["***"]}


def test_text_of_others_cannot_forge_a_line() -> None:
    forged = record("first\n10:00:00 ERROR second", source="shop", resource="events", fields={"note": "a\nb \x1b[2J"})

    text, line = TextLines().format(forged), JsonLines().format(forged)

    assert len(text.splitlines()) == len(line.splitlines()) == 1
    assert "\x1b" not in text + line
    assert 'WARNING shop.events: first\\n10:00:00 ERROR second note="a\\nb \\x1b[2J"' in text


def test_a_traceback_is_part_of_the_line() -> None:
    try:
        raise ValueError("deep")
    except ValueError:
        made = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "broke", (), sys.exc_info())

    line = json.loads(JsonLines().format(made))

    assert (line["logger"], line["event"]) == ("x", "broke")
    assert "ValueError: deep" in line["error"]


def test_retries_of_one_kind_are_told_once_in_ten_seconds_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand in 25 s are three lines."""
    now = [0.0]
    log = RunLog("r1", clock=lambda: now[0])
    with caplog.at_level(logging.WARNING, "pipelines.run"):
        for number in range(1_000):
            now[0] = number * 0.025
            log.listen("shop", Event("retried", "events", now[0], 0.5, note="HttpError"))

    fields = [getattr(one, "fields", {}) for one in caplog.records]
    assert [one["times"] for one in fields] == [1, 401, 801]
    assert {(one["kind"], one["wait_s"]) for one in fields} == {("HttpError", 0.5)}
