"""What the network and the server can do to one answer, and what we make of it."""

from __future__ import annotations

import gzip
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import brotli  # type: ignore[import-untyped]  # it has no stubs
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from pipelines.errors import DecodeError, PipelineError, Truncated
from pipelines.extract.body import inflate
from tests.extract.conftest import IMPATIENT, WHOLE, Shop, kind_of
from tests.fake_api import Answer, FakeApi, say
from tests.memory import LINUX_ONLY, begin_measuring, peak_bytes
from tests.processes import eventually

LINES = b'{"id": 1}\n{"id": 2}\n' * 200

ROOM_BYTES = 40 << 20


"""What reading one answer may take beyond `max_response`."""


def threads_of_ours() -> list[threading.Thread]:
    """Those that an extraction starts."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(("fetch", "watch"))]


def test_t01_a_body_shorter_than_its_content_length_is_truncated(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(200, b'{"data": [' + b" " * 12880, cut=500))

    assert kind_of(shop) == ("Truncated", 3)


def test_t02_a_chunked_body_without_its_last_chunk_is_truncated(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(200, WHOLE.body, framing="chunked", cut=len(WHOLE.body) + 4))

    assert kind_of(shop) == ("Truncated", 3)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_t03_half_a_gzip_stream_is_truncated_though_its_lines_are_whole(shop: Shop, framing: str) -> None:
    packed = gzip.compress(LINES)
    half = Answer(200, packed[: len(packed) // 2], {"Content-Encoding": "gzip"}, framing=framing)
    shop.api.answer("/orders", half)

    assert kind_of(shop, records="@", format="ndjson") == ("Truncated", 3)


def test_t04_lines_that_only_the_closed_connection_ends_are_truncated(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(200, LINES[:100], framing="close"))

    assert kind_of(shop, records="@", format="ndjson") == ("Truncated", 3)


@pytest.mark.parametrize("format", ["json", "ndjson", "csv"])
def test_t04_an_empty_answer_that_only_the_closed_connection_ends_is_no_empty_page(shop: Shop, format: str) -> None:  # noqa: A002  # its key
    """A server that dies after its head sends as much; one that says `Content-Length: 0` means it."""
    records = "data" if format == "json" else "@"
    shop.api.answer("/orders", Answer(200, b"", framing="close"))

    assert kind_of(shop, format=format, records=records) == ("Truncated", 3)
    shop.api.answer("/orders", Answer(200, b""))
    assert shop.one(format=format, records=records).rows("orders") == []


def test_t04_an_error_that_only_the_closed_connection_ends_is_that_error(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(404, b"not here", framing="close"))

    error = shop.one(records="@", format="csv").error("orders")

    assert (error.kind, "404" in error.message, shop.api.calls["/orders"]) == ("HttpError", True, 1)


def test_t05_two_resets_before_the_headers_are_survived(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(reset=True), Answer(reset=True), WHOLE)

    outcome = shop.one()

    assert (len(outcome.rows("orders")), shop.api.calls["/orders"]) == (2, 3)
    assert outcome.extractions["orders"].retries == 2


def test_t06_after_a_reset_in_page_three_only_page_three_is_asked_again(shop: Shop) -> None:
    shop.api.pages("/orders", records=50, page_size=10)
    whole, broken = shop.api.routed("/orders"), threading.Event()

    def route(asked):  # type: ignore[no-untyped-def]  # as the fake API calls it
        if asked.params.get("page") == "3" and not broken.is_set():
            broken.set()
            return Answer(200, whole(asked).body, cut=40, reset=True)
        return whole(asked)

    shop.api.route("/orders", route)

    outcome = shop.one(paginate="next_url")

    assert [row["id"] for row in outcome.rows("orders")] == list(range(50))
    assert [asked.params.get("page") for asked in shop.api.asked] == [None, "2", "3", "3", "4", "5"]


def test_t07_a_server_that_never_answers_times_out_in_time(shop: Shop) -> None:
    shop.settings = {"timeout": {"read": "200ms"}, "retry": {**IMPATIENT, "attempts": 1}}
    shop.api.answer("/orders", Answer(200, b"[]", delay_s=30))
    began = time.monotonic()

    assert kind_of(shop) == ("Timeout", 1)
    assert time.monotonic() - began < 0.7


@pytest.mark.parametrize("part", ["body", "head"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_t08_a_dripping_server_times_out_at_the_total_deadline(shop: Shop, part: str, framing: str) -> None:
    """A byte each 0.2 s: the answer would be there after more than 6 s."""
    shop.settings = {"timeout": {"total": "400ms"}, "retry": {**IMPATIENT, "attempts": 1}}
    shop.api.answer("/orders", Answer(200, WHOLE.body, drip_s=0.2, drip_from=part, framing=framing))
    began = time.monotonic()

    assert kind_of(shop) == ("Timeout", 1)
    assert time.monotonic() - began < 0.9
    assert threads_of_ours() == []
    eventually(lambda: shop.api.connected == 0, within_s=3)


@LINUX_ONLY
def test_t09_an_endless_body_is_too_large_and_takes_no_more_memory_than_the_cap(shop: Shop) -> None:
    shop.settings = {"max_response": "20MB"}
    shop.api.answer("/orders", Answer(200, b"[", framing="close", endless=b" " * 65536))
    begin_measuring()
    before = peak_bytes()

    assert kind_of(shop) == ("BodyTooLarge", 1)
    assert peak_bytes() - before < 20_000_000 + ROOM_BYTES


@settings(max_examples=300)
@given(
    data=st.one_of(st.binary(max_size=2000), st.text("ab{}", max_size=4000).map(str.encode)),
    damage=st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_a_damaged_gzip_body_is_an_error_or_what_it_was_before(data: bytes, damage: list[tuple[int, int]]) -> None:
    """A few bytes changed anywhere, the head and the checksum included."""
    packed = bytearray(gzip.compress(data))
    for place, change in damage:
        packed[place % len(packed)] ^= change

    try:
        found = inflate(bytes(packed), ["gzip"], 10_000_000)
    except (DecodeError, Truncated):
        return

    assert found == data


def bomb(encoding: str) -> bytes:
    """Spaces, 300 MiB of them, as few bytes."""
    packers: dict[str, Callable[[], Any]] = {
        "gzip": lambda: isal_zlib.compressobj(1, wbits=31),
        "deflate": lambda: isal_zlib.compressobj(1, wbits=15),
        "zstd": zstd.ZstdCompressor,
        "br": lambda: brotli.Compressor(quality=1),
    }
    packer = packers[encoding]()
    pack, end = (packer.process, packer.finish) if encoding == "br" else (packer.compress, packer.flush)
    return b"".join([pack(b" " * (1 << 20)) for _ in range(300)] + [end()])


@LINUX_ONLY
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br", "gzip, gzip"])
def test_t10_s14_a_decompression_bomb_is_too_large(shop: Shop, encoding: str) -> None:
    """300 KiB, or much less, that inflate to 300 MiB."""
    shop.settings = {"max_response": "10MB"}
    inner, _, outer = encoding.partition(", ")
    packed = gzip.compress(bomb(inner)) if outer else bomb(inner)
    shop.api.answer("/orders", Answer(200, packed, {"Content-Encoding": encoding}))
    begin_measuring()
    before = peak_bytes()

    assert kind_of(shop) == ("BodyTooLarge", 1)
    assert peak_bytes() - before < 10_000_000 + ROOM_BYTES


@LINUX_ONLY
def test_p5_no_fault_leaves_a_file_or_a_socket_open(shop: Shop) -> None:
    """Ten kinds of answers with their retries, twice over, and as many files as before."""
    shop.settings = {"timeout": {"connect": "1s", "read": "100ms", "total": "300ms"}}
    answers = [
        Answer(200, WHOLE.body, cut=5),
        Answer(200, WHOLE.body, framing="chunked", cut=9),
        Answer(200, WHOLE.body, cut=5, reset=True),
        Answer(reset=True),
        Answer(200, WHOLE.body, drip_s=0.05),
        Answer(200, WHOLE.body, {"Content-Length": ("3", "4")}),
        Answer(200, b"", {f"X-{number}": "x" for number in range(200)}),
        Answer(503, b"busy"),
        Answer(404),
        WHOLE,
    ]

    def ask() -> None:
        for number, answer in enumerate(answers):
            shop.api.answer(f"/{number}", answer)
            shop.extract({"orders": {"path": f"/{number}", "records": "data"}})

    ask()
    eventually(lambda: shop.api.connected == 0)
    before = open_files()

    for _ in range(2):
        ask()

    eventually(lambda: open_files() <= before)


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


PACKS = [
    pytest.param("gzip", gzip.compress, id="gzip"),
    pytest.param("deflate", zlib.compress, id="deflate"),
    pytest.param("zstd", zstd.compress, id="zstd"),
]


@pytest.mark.parametrize(("encoding", "pack"), PACKS)
def test_t10_streams_in_a_row_beyond_counting_are_a_decode_error(
    shop: Shop, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """Twenty thousand that hold nothing: no cap on what they inflate to would ever end it."""
    shop.api.answer("/orders", Answer(200, pack(b"") * 20_000, {"Content-Encoding": encoding}))

    assert kind_of(shop) == ("DecodeError", 1)


@pytest.mark.parametrize(("encoding", "pack"), PACKS)
def test_streams_in_a_row_are_one_body(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """Thousands of small ones, then two of 700,000 bytes that compress to as many."""
    parts = [b"%d," % number for number in range(5_000)] + [Random(seed).randbytes(700_000) for seed in (1, 2)]

    found = inflate(b"".join(map(pack, parts)), [encoding], 10_000_000)

    assert found == b"".join(parts)


def test_t11_fifty_nested_encodings_are_a_decode_error(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(200, WHOLE.body, {"Content-Encoding": ", ".join(["gzip"] * 50)}))

    assert kind_of(shop) == ("DecodeError", 1)


@pytest.mark.parametrize(
    "headers",
    [{f"X-{number}": "x" for number in range(200)}, {"X-Long": "x" * 70_000}],
    ids=["200-headers", "70-kib-header"],
)
def test_t12_a_flood_of_headers_is_a_protocol_error(shop: Shop, headers: dict[str, str]) -> None:
    shop.api.answer("/orders", Answer(200, WHOLE.body, headers))

    kind, requests = kind_of(shop)

    assert kind == "HttpError"
    assert requests <= 3


def test_t13_two_server_errors_are_survived(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(500), Answer(503), WHOLE)

    outcome = shop.one()

    assert (len(outcome.rows("orders")), shop.api.calls["/orders"]) == (2, 3)
    waits = [event.seconds for event in outcome.events if event.kind == "retried"]
    assert len(waits) == 2
    assert all(0.0025 <= wait <= 0.02 for wait in waits)


def test_t13_waits_grow_with_jitter(shop: Shop) -> None:
    """Nine: the first is at most 1 ms, and all that follow are as short by chance once in 20 billion times."""
    shop.settings = {"retry": {"attempts": 10, "wait": "1ms", "max_wait": "100ms", "total": "30s"}}
    shop.api.answer("/orders", *[Answer(500)] * 9, WHOLE)

    waits = [event.seconds for event in shop.one().events if event.kind == "retried"]

    assert len(set(waits)) == 9
    assert 0.0005 <= waits[0] <= 0.001 < max(waits) <= 0.0505


def test_t14_a_server_that_always_fails_ends_after_the_budget(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(500))

    assert kind_of(shop) == ("HttpError", 3)


def test_t15_a_404_is_an_error_on_page_one_and_on_page_three(shop: Shop) -> None:
    shop.api.pages("/pages", records=20, page_size=10)
    whole = shop.api.routed("/pages")
    shop.api.route("/pages", lambda asked: say({}, 404) if asked.params.get("page") == "3" else whole(asked))

    outcome = shop.extract(
        {
            "orders": {"path": "/orders", "records": "data"},
            "pages": {"path": "/pages", "records": "data", "paginate": "page_number"},
            "lenient": {
                "path": "/pages",
                "records": "data",
                "paginate": "page_number",
                "errors": [{"status": 404, "do": "skip"}],
            },
        }
    )

    assert [outcome.error(name).kind for name in ("orders", "pages")] == ["HttpError", "HttpError"]
    assert "404" in outcome.error("pages").message
    assert shop.api.calls["/orders"] == 1
    assert len(outcome.rows("lenient")) == 20


def test_t19_a_post_is_repeated_only_if_it_may_be(shop: Shop) -> None:
    search = {"path": "/search", "records": "data", "body": {"q": "x"}}
    shop.api.answer("/search", Answer(reset=True), WHOLE)

    refused = shop.extract({"orders": search})
    shop.api.answer("/search", Answer(reset=True), WHOLE)
    repeated = shop.extract({"orders": {**search, "idempotent": True}})

    assert refused.error("orders").kind == "HttpError"
    assert "idempotent: true" in refused.error("orders").hint
    assert len(repeated.rows("orders")) == 2
    assert shop.api.calls["/search"] == 3


def test_t20_a_closed_port_is_an_error_without_the_query(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shop.settings = {"base_url": f"http://127.0.0.1:{port}", "auth": {"api_key": {"param": "key", "value": "canary"}}}

    error = shop.one(params={"q": "quiet"}).error("orders")

    assert error.kind == "HttpError"
    assert "cannot connect" in error.message
    assert "canary" not in str(error)
    assert "quiet" not in str(error)


def test_t20_a_name_that_does_not_resolve_is_an_error(shop: Shop) -> None:
    shop.settings = {"base_url": "http://no-such-host.invalid"}

    error = shop.one().error("orders")

    assert error.kind == "HttpError"
    assert "cannot connect" in error.message


def test_a_run_that_is_asked_to_stop_ends_within_a_second(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(200, b"[]", delay_s=30))
    threading.Timer(0.2, shop.stop.set).start()
    began = time.monotonic()

    outcome = shop.one()

    assert outcome.error("orders").kind == "Interrupted"
    assert time.monotonic() - began < 1.5


def test_an_interrupt_from_the_keyboard_leaves_no_thread(shop: Shop) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    shop.api.answer("/orders", Answer(200, b"[]", delay_s=30))
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            shop.one()
    finally:
        signal.signal(signal.SIGALRM, before)

    assert threads_of_ours() == []


def test_nothing_is_left_running_after_an_extraction(shop: Shop) -> None:
    before = set(threads_of_ours())
    shop.api.pages("/orders", records=50)

    shop.one(paginate="next_url")

    assert set(threads_of_ours()) - before == set()


def test_an_error_pickles_with_message_and_hint(api: FakeApi, shop: Shop) -> None:
    import pickle

    error = shop.one().error("orders")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own error
    assert isinstance(again, PipelineError)
    assert (again.kind, again.message, again.hint) == (error.kind, error.message, error.hint)
