"""How a request proves who asks; added at the last moment, to the configured origins only."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field, SecretStr, model_validator

from pipelines.extract.origins import origin_of
from pipelines.values import OneOf, Value


class Auth(Value):
    """What all kinds answer; most add headers."""

    def headers(self) -> Mapping[str, str]:
        """Headers to add."""
        return {}

    def params(self) -> Mapping[str, str]:
        """Query parameters to add."""
        return {}


class Bearer(Auth):
    """A token in the Authorization header."""

    token: SecretStr

    def headers(self) -> Mapping[str, str]:
        """`Authorization: Bearer TOKEN`."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}


class Basic(Auth):
    """User and password in the Authorization header."""

    user: str
    password: SecretStr

    def headers(self) -> Mapping[str, str]:
        """`Authorization: Basic ...`, in UTF-8."""
        pair = f"{self.user}:{self.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


class ApiKey(Auth):
    """A key in a header or a query parameter of its own."""

    header: str | None = Field(None, description="request header that takes the key")
    param: str | None = Field(None, description="query parameter that takes the key")
    value: SecretStr

    @model_validator(mode="after")
    def _one_place(self) -> ApiKey:
        if (self.header is None) == (self.param is None):
            raise ValueError("needs one of `header` and `param`")
        return self

    def headers(self) -> Mapping[str, str]:
        """The key, where it goes into a header."""
        return {self.header: self.value.get_secret_value()} if self.header else {}

    def params(self) -> Mapping[str, str]:
        """The key, where it goes into the query."""
        return {self.param: self.value.get_secret_value()} if self.param else {}


def _checked_url(url: str) -> str:
    origin_of(url)
    return url


class ClientCredentials(Auth):
    """OAuth2 client credentials: a token from `token_url`, renewed before it expires and once on 401."""

    token_url: Annotated[str, AfterValidator(_checked_url)] = Field(description="where tokens come from")
    client_id: str
    client_secret: SecretStr
    scope: str | None = Field(None, description="scopes to ask for, separated by spaces")
    send: Literal["basic", "body"] = Field("basic", description="how id and secret are sent to token_url")

    def token_request(self) -> tuple[Mapping[str, str], bytes]:
        """Headers and form body of the request for a token."""
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        secret = self.client_secret.get_secret_value()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.send == "body":
            return headers, urlencode({**form, "client_id": self.client_id, "client_secret": secret}).encode()
        pair = f"{quote(self.client_id, safe='')}:{quote(secret, safe='')}".encode()
        return {**headers, "Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}, urlencode(form).encode()


AnyAuth = Annotated[
    Bearer | Basic | ApiKey | ClientCredentials,
    OneOf(
        {"bearer": Bearer, "basic": Basic, "api_key": ApiKey, "oauth2_client_credentials": ClientCredentials},
        scalar={"bearer": "token"},
    ),
]
