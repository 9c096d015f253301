"""A source as its YAML file describes it: the stages' models put together.

Each stage owns the model of its part; a resource is all three parts in one flat
mapping, and projects itself back onto each for the stage that asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, PrivateAttr, SerializerFunctionWrapHandler, model_serializer

from pipelines.batch import Json
from pipelines.config.redact import Redactor, redacted
from pipelines.config.schedule import Schedule
from pipelines.extract.connection import Connection
from pipelines.extract.endpoint import Endpoint
from pipelines.load.target import Target
from pipelines.transform.columns import Shape
from pipelines.values import Value


class Resource(Endpoint, Shape, Target):
    """One table-to-be: how it is fetched, what its rows look like, where they go."""

    def endpoint(self) -> Endpoint:
        """The part that extraction reads; bounds are in the zone of the cursor's column, if they need one."""
        part = Endpoint.model_construct(**_fields(self, Endpoint))
        part._lent = self._lent
        column = self.columns.get(self.incremental.cursor) if self.incremental else None
        if self.incremental is None or column is None or column.zone is None:
            return part
        return part.model_copy(update={"incremental": self.incremental.with_zone(column.zone)})

    def shape(self) -> Shape:
        """The part that the transform stage reads."""
        return Shape.model_construct(**_fields(self, Shape))

    def target(self) -> Target:
        """The part that the load stage reads."""
        return Target.model_construct(**_fields(self, Target))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Path and write mode: headers and parameters may hold secrets."""
        yield "path", self.path
        yield "write", self.write


class Source(Connection):
    """One API: how to reach it, and the resources to take from it."""

    source: str = Field("", description="name of the source; the file's name by default")
    resources: dict[str, Resource] = Field(description="name of each table-to-be, and how to get it")
    defaults: dict[str, Json] = Field(default_factory=dict, description="anything a resource may say, for all of them")
    schedule: Schedule | None = Field(None, description="when a deployment runs this source")

    _secrets: Redactor = PrivateAttr(default_factory=Redactor)
    _config_hash: str = PrivateAttr("")
    _asked: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def name(self) -> str:
        """The name that folders, logs and reports use."""
        return self.source

    @property
    def config_hash(self) -> str:
        """Changes when what is fetched or written may change; secrets count by name, not by value."""
        return self._config_hash

    def asked(self, resource: str) -> str:
        """Changes when other records of *resource* may be asked for, but for those of another time."""
        return self._asked.get(resource, "")

    @property
    def secrets(self) -> Redactor:
        """Hides every secret of the configuration."""
        return self._secrets

    def connection(self) -> Connection:
        """The part that the client reads."""
        return Connection.model_construct(**_fields(self, Connection))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Name and resources: headers and parameters may hold secrets."""
        yield "source", self.source
        yield "resources", list(self.resources)

    @model_serializer(mode="wrap")
    def _without_secrets(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return dict(redacted(serialize(self), self._secrets))


def _fields(model: Value, part: type[Value]) -> dict[str, Any]:
    return {name: getattr(model, name) for name in part.model_fields}
