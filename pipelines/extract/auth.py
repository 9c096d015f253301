"""How a request proves who asks; added at the last moment, to the configured origins only."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from msgspec import Struct
from pydantic import AfterValidator, Field, JsonValue, model_validator

from pipelines.batch import Json
from pipelines.envelope import dumps
from pipelines.errors import AuthError
from pipelines.extract.origins import origin_of
from pipelines.records import find, selector
from pipelines.values import Line, OneOf, Seconds, Secret, Value


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

    token: Secret = Field(description="the token")

    def headers(self) -> Mapping[str, str]:
        """`Authorization: Bearer TOKEN`."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}


class Basic(Auth):
    """User and password in the Authorization header."""

    user: Line = Field(description="who asks")
    password: Secret = Field(description="their password")

    def headers(self) -> Mapping[str, str]:
        """`Authorization: Basic ...`, in UTF-8."""
        pair = f"{self.user}:{self.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


class ApiKey(Auth):
    """A key in a header or a query parameter of its own."""

    header: Line | None = Field(None, description="request header that takes the key")
    param: str | None = Field(None, description="query parameter that takes the key")
    value: Secret = Field(description="the key")

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


class Granted(Struct, frozen=True):
    """What a token endpoint gave: a token, how long it lasts, and what to renew it with, where that changes."""

    token: str
    lasts_s: float = float("inf")
    refresh: str = ""


class Renewable(Auth):
    """A token that ends: asked for when it is needed, renewed before its end and once on 401."""

    @property
    def address(self) -> str:
        """Where tokens come from; a path is within `base_url`."""
        raise NotImplementedError

    @property
    def first_refresh(self) -> str:
        """The configured refresh token, if there is one."""
        return ""

    def question(self, refresh: str) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of the POST that asks for a token; *refresh* is the newest refresh token."""
        raise NotImplementedError

    def granted(self, answer: Json, headers: Mapping[str, str]) -> Granted:
        """What the token endpoint's *answer* gives.

        Raises:
            AuthError: There is no token in it.
        """
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise AuthError("the token endpoint gave no access_token", "check `auth`")
        refresh = answer.get("refresh_token")
        return Granted(token, _seconds(answer.get("expires_in")), refresh if isinstance(refresh, str) else "")

    def carrying(self, token: str) -> Mapping[str, str]:
        """The headers with which a request carries *token*."""
        return {"Authorization": f"Bearer {token}"}


class OAuth2(Renewable):
    """What the grants of OAuth2 have in common."""

    token_url: Annotated[str, AfterValidator(_checked_url)] = Field(description="where tokens come from")
    scope: str | None = Field(None, description="scopes to ask for, separated by spaces")
    send: Literal["basic", "body"] = Field("basic", description="how id and secret go to token_url: basic or body")

    @property
    def address(self) -> str:
        """`token_url`."""
        return self.token_url

    def _form(self, grant: Mapping[str, str], client: str, secret: str) -> tuple[Mapping[str, str], bytes]:
        form = {**grant, **({"scope": self.scope} if self.scope else {})}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.send == "body" or not secret:
            form |= {"client_id": client, **({"client_secret": secret} if secret else {})}
            return headers, urlencode(form).encode()
        pair = f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()
        return {**headers, "Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}, urlencode(form).encode()


class ClientCredentials(OAuth2):
    """OAuth2 client credentials: a token from `token_url`, renewed before it expires and once on 401."""

    client_id: Line = Field(description="who asks")
    client_secret: Secret = Field(description="its secret")

    def question(self, refresh: str) -> tuple[Mapping[str, str], bytes]:
        """The client's id and secret."""
        return self._form({"grant_type": "client_credentials"}, self.client_id, self.client_secret.get_secret_value())


class RefreshToken(OAuth2):
    """OAuth2 with a refresh token; where each use gives a new one, that is kept in `data/auth/` for the next run."""

    client_id: Line = Field(description="who asks")
    client_secret: Secret | None = Field(None, description="its secret, if it has one")
    refresh_token: Secret = Field(description="the first refresh token; a newer one that was kept goes before it")

    @property
    def first_refresh(self) -> str:
        """`refresh_token`."""
        return self.refresh_token.get_secret_value()

    def question(self, refresh: str) -> tuple[Mapping[str, str], bytes]:
        """The newest refresh token, and who asks."""
        secret = self.client_secret.get_secret_value() if self.client_secret else ""
        return self._form({"grant_type": "refresh_token", "refresh_token": refresh}, self.client_id, secret)


class Session(Renewable):
    """A login that answers with a token or a cookie, which every request then carries."""

    login: str = Field(description="path or URL that the login is posted to")
    body: dict[str, JsonValue] = Field({}, description="what is posted, as JSON", repr=False)
    form: dict[str, str] = Field({}, description="what is posted, as a form", repr=False)
    token: str | None = Field(None, description="JMESPath to the token in the answer")
    cookie: str | None = Field(None, description="name of the cookie that the answer sets")
    header: Line = Field("Authorization", description="request header that takes the token")
    prefix: Line = Field("Bearer ", description="written before the token")
    lasts: Seconds | None = Field(None, description="how long a login is good for; otherwise until a 401")

    @model_validator(mode="after")
    def _one_way(self) -> Session:
        if (self.token is None) == (self.cookie is None):
            raise ValueError("needs one of `token` and `cookie`")
        if self.body and self.form:
            raise ValueError("`body` and `form` exclude each other")
        if self.token:
            selector(self.token)
        return self

    @property
    def address(self) -> str:
        """`login`."""
        return self.login

    def question(self, refresh: str) -> tuple[Mapping[str, str], bytes]:
        """The login."""
        if self.form:
            return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(self.form).encode()
        return {"Content-Type": "application/json", "Accept": "application/json"}, dumps(self.body)

    def granted(self, answer: Json, headers: Mapping[str, str]) -> Granted:
        """The token or cookie that the login gave.

        Raises:
            AuthError: There is none.
        """
        cookies = re.findall(rf"(?:^|,\s*){re.escape(self.cookie or '')}=([^;,]+)", headers.get("set-cookie", ""))
        found = find(answer, self.token) if self.token else cookies and cookies[-1]
        if not isinstance(found, str) or not found:
            what = f"no token at {self.token!r}" if self.token else f"no cookie {self.cookie!r}"
            raise AuthError(f"the login's answer has {what}", "check `auth: {session: ...}`")
        return Granted(found, self.lasts or float("inf"))

    def carrying(self, token: str) -> Mapping[str, str]:
        """The cookie, or the header with the token."""
        return {"Cookie": f"{self.cookie}={token}"} if self.cookie else {self.header: f"{self.prefix}{token}"}


def _seconds(written: Json) -> float:
    return float(written) if isinstance(written, int | float | str) and str(written).isdigit() else float("inf")


AnyAuth = Annotated[
    Bearer | Basic | ApiKey | ClientCredentials | RefreshToken | Session,
    OneOf(
        {
            "bearer": Bearer,
            "basic": Basic,
            "api_key": ApiKey,
            "oauth2_client_credentials": ClientCredentials,
            "oauth2_refresh_token": RefreshToken,
            "session": Session,
        },
        scalar={"bearer": "token"},
    ),
]
