"""How a request proves who asks; added at the last moment, to the configured origins only."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

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


AnyAuth = Annotated[
    Bearer | Basic | ApiKey,
    OneOf({"bearer": Bearer, "basic": Basic, "api_key": ApiKey}, scalar={"bearer": "token"}),
]
