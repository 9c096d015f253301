"""The way into a bucket that speaks S3's protocol, for ourselves, for Arrow and for DuckDB.

Address, region and credentials come from the usual `AWS_*` variables, or from
where the AWS tools look on their machines; none of them is ever told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from pipelines.errors import ConfigError, StoreError
from pipelines.load.stores import Remote

_TOLD = (
    *("access_key_id", "secret_access_key", "session_token", "region", "default_region", "endpoint_url"),
    *("endpoint_url_s3", "virtual_hosted_style_request", "checksum_algorithm", "request_payer"),
)
_HINTS = {
    "UnauthenticatedError": "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
    "PermissionDeniedError": "check the AWS_* credentials: they need to list, get, put and delete objects there",
}
_HINT = "check the bucket, AWS_ENDPOINT_URL, AWS_REGION and the network, then run again"


def connect(remote: Remote, source: str) -> Any:
    """The part of the bucket that belongs to *source*."""
    try:
        from obstore.store import S3Store
    except ImportError:
        raise ConfigError(
            f"lake: {remote.url} needs the package obstore", "install it with `pip install obstore`"
        ) from None
    bucket, _, prefix = remote.url.removeprefix("s3://").partition("/")
    inside = "/".join(filter(None, (prefix.strip("/"), source)))
    with bucket_errors(f"connecting to {remote.url}"):
        return S3Store(bucket, prefix=inside or None, **_access(remote))


def _access(remote: Remote) -> dict[str, Any]:
    told = {name: remote.env[f"AWS_{name.upper()}"] for name in _TOLD if remote.env.get(f"AWS_{name.upper()}")}
    is_plain = _endpoint(remote.env).startswith("http://")
    return {
        "config": {"checksum_algorithm": "SHA256", **told},
        "client_options": {"timeout": "60s", "connect_timeout": "10s", "allow_http": is_plain},
        "retry_config": {"max_retries": 4, "retry_timeout": timedelta(seconds=60)},
    }


def for_arrow(remote: Remote) -> Any:
    """The same bucket as Arrow reads it; without keys it looks where the AWS tools do."""
    from pyarrow import fs

    env, endpoint = remote.env, _endpoint(remote.env)
    scheme, _, host = endpoint.rpartition("://")
    return fs.S3FileSystem(
        access_key=env.get("AWS_ACCESS_KEY_ID"),
        secret_key=env.get("AWS_SECRET_ACCESS_KEY"),
        session_token=env.get("AWS_SESSION_TOKEN"),
        region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
        endpoint_override=host.rstrip("/") or None,
        scheme=scheme or "https",
    )


def _endpoint(env: Mapping[str, str]) -> str:
    return env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""


def for_duckdb(remote: Remote) -> Any:
    """The bucket as a file system for DuckDB, which otherwise downloads an extension for it."""
    from obstore.fsspec import FsspecStore

    return FsspecStore("s3", **_access(remote))


@contextmanager
def bucket_errors(doing: str) -> Iterator[None]:
    """Turn what the server refuses into a `StoreError`; of its answer only the status is told."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{doing} failed: there is no such object or bucket", _HINT) from error
    except Exception as error:
        if type(error).__module__ != "obstore.exceptions":
            raise
        status = re.search(r"status code: (\d{3}[\w ]*)", str(error))
        told = status[1] if status else str(error).splitlines()[0].rpartition(" - ")[2]
        raise StoreError(f"{doing} failed: {told}", _HINTS.get(type(error).__name__, _HINT)) from error
