"""Values that an application's own routes may return: web frameworks can serialise them to JSON."""

from __future__ import annotations

from collections.abc import KeysView
from typing import Any

import msgspec


class Jsonable(msgspec.Struct, frozen=True):
    """A value for which ``dict(value)`` is the JSON that clients receive.

    FastAPI serialises it, both as a return value and as a return annotation.
    """

    def keys(self) -> KeysView[str]:
        """The names of the members, as in JSON."""
        return self._plain().keys()

    def __getitem__(self, name: str) -> Any:
        return self._plain()[name]

    def _plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """For pydantic, if installed."""
        from pydantic_core import core_schema

        return core_schema.any_schema(
            serialization=core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """For OpenAPI of the application; ``GET /api/v1/openapi.json`` lists the members."""
        return {"type": "object", "title": cls.__name__}
