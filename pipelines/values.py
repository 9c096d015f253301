"""The words that every part of the YAML shares: strict values, units, kinds.

A model is frozen and refuses unknown keys. A quantity carries its unit in the
text (`30s`, `10/s`, `64MB`). A choice between kinds is written by its key,
`{page_number: {size: 100}}`, or as a bare word where all options have defaults.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Units of durations, in seconds."""
BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
"""Units of sizes, in bytes."""
_DURATION = rf"^(\d+(?:\.\d+)?) ?({'|'.join(SECONDS)})$"
_SIZE = rf"^(\d+(?:\.\d+)?) ?({'|'.join(BYTES)})$"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
)
"""What Windows takes for devices: no folder or file there can have such a name."""


class Value(BaseModel):
    """A frozen part of the configuration; an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=False, serialize_by_alias=True, defer_build=True
    )


def _parts(text: object, pattern: str, example: str) -> tuple[float, str]:
    match = re.match(pattern, text) if isinstance(text, str) else None
    if match is None:
        raise PydanticCustomError("unit", "needs a number with its unit, such as {example}", {"example": example})
    return float(match[1]), match[2]


def parse_duration(text: object) -> float:
    """Seconds in `30s`, `5min`, `1h` or `7d`."""
    number, unit = _parts(text, _DURATION, "30s, 5min, 1h or 7d")
    return number * SECONDS[unit]


def parse_size(text: object) -> int:
    """Bytes in `64MB` or `64MiB`."""
    number, unit = _parts(text, _SIZE, "64MB or 64MiB")
    return int(number * BYTES[unit])


def _unit(parse: Any, pattern: str, example: str) -> tuple[Any, ...]:
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    return BeforeValidator(parse), WithJsonSchema(schema)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name!r}; write it as Europe/Madrid or UTC") from error
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]
Seconds = Annotated[float, *_unit(parse_duration, _DURATION, "30s")]
Bytes = Annotated[int, *_unit(parse_size, _SIZE, "64MB")]


def holds_control(text: str) -> bool:
    """Whether *text* holds a control character, such as a line break; no header can."""
    return _CONTROL.search(text) is not None


def _one_line(text: str) -> str:
    if holds_control(text):
        raise ValueError("holds a control character, such as a line break at its end")
    return text


def _secret_line(secret: SecretStr) -> SecretStr:
    _one_line(secret.get_secret_value())
    return secret


def _header_lines(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if holds_control(name + value):
            raise ValueError(f"the header {name!r} holds a control character, such as a line break")
    return headers


Line = Annotated[str, AfterValidator(_one_line)]
Secret = Annotated[SecretStr, AfterValidator(_secret_line)]
Headers = Annotated[dict[str, str], AfterValidator(_header_lines)]


class OneOf:
    """An externally tagged choice: `{kind: options}`, or the bare kind.

    `OneOf({"link_header": LinkHeader, "cursor": Cursor})` annotates a field; a
    kind whose options are one scalar names that field in `scalar`, so that
    `bearer: token` means `bearer: {token: token}`.
    """

    def __init__(self, kinds: dict[str, type[BaseModel]], *, scalar: dict[str, str] | None = None) -> None:
        self.kinds = kinds
        self.scalar = scalar or {}

    def _by_kind(self, value: object) -> dict[str, object]:
        """Bring the three ways to write a choice to one: `{kind: {option: value}}`."""
        known = ", ".join(sorted(self.kinds))
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, dict) or len(value) != 1:
            raise PydanticCustomError("kind", "needs exactly one kind; known: {known}", {"known": known})
        ((kind, options),) = value.items()
        if kind not in self.kinds:
            context = {"kind": repr(kind), "known": known, "word": str(kind), "words": sorted(self.kinds)}
            raise PydanticCustomError("unknown_kind", "no kind {kind}; known: {known}", context)
        if kind in self.scalar and not isinstance(options, dict):
            options = {self.scalar[kind]: options}
        return {kind: {} if options is None else options}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Validate by kind; errors keep the kind in their path."""
        fields = {
            kind: core_schema.typed_dict_field(handler.generate_schema(model), required=False)
            for kind, model in self.kinds.items()
        }
        return core_schema.no_info_wrap_validator_function(
            self._choose,
            core_schema.typed_dict_schema(fields),
            serialization=core_schema.plain_serializer_function_ser_schema(self._serialize),
        )

    def _choose(self, value: object, by_kind: core_schema.ValidatorFunctionWrapHandler) -> object:
        if isinstance(value, tuple(self.kinds.values())):
            return value
        (model,) = by_kind(self._by_kind(value)).values()
        return model

    def _serialize(self, value: BaseModel) -> dict[str, Any]:
        (kind,) = (name for name, model in self.kinds.items() if type(value) is model)
        return {kind: value.model_dump(mode="json", exclude_defaults=True)}

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """One branch for each kind, and the bare words."""
        bare = [kind for kind, model in self.kinds.items() if not _has_required(model)]
        branches: list[dict[str, Any]] = [{"enum": sorted(bare)}] if bare else []
        for kind, model in self.kinds.items():
            options = handler(model.__pydantic_core_schema__)
            value = {"anyOf": [options, {"type": ["string", "number"]}]} if kind in self.scalar else options
            branches.append(
                {
                    "type": "object",
                    "description": (model.__doc__ or "").partition("\n")[0],
                    "properties": {kind: value},
                    "required": [kind],
                    "additionalProperties": False,
                }
            )
        return {"anyOf": branches}


def _has_required(model: type[BaseModel]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())
