"""Rules that hold twice: in Python when an App is written, as CEL when it reaches the API server.

A rule carries both forms and one message, so that both places refuse the same with the same words.
"""

import ast
import difflib
import functools
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pydantic
import pydantic_core
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text must match *regex* as a whole (RE2 syntax, which Python's `re` shares here)."""

    regex: str
    message: str
    """Completes "host ": "must be …"."""

    @property
    def cel(self) -> str:
        """The rule as the API server runs it."""
        return f"self.matches(r'^({self.regex})$')"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        rule = {"rule": self.cel, "message": self.message}
        return {**made, "x-kubernetes-validations": [rule]}

    def _checked(self, value: str) -> str:
        if not _compiled(self.regex).fullmatch(value):
            raise _refusal(self.message)
        return value


@functools.cache
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


@dataclass(frozen=True, slots=True)
class Rule:
    """A relation between the fields of one object."""

    message: str
    cel: str
    """Over `self`, the object."""
    holds: Callable[[Any], bool]
    """The same over the model."""


@dataclass(frozen=True, slots=True)
class Unique:
    """A list holds each *key* (or each value, without a key) once."""

    key: str | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        if self.key is None:
            return {**made, "x-kubernetes-list-type": "set"}
        return {
            **made,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [self.key],
        }

    def _checked(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        seen: set[Any] = set()
        for value in values:
            mark = value if self.key is None else getattr(value, self.key)
            if mark in seen:
                raise _refusal(f"Duplicate value: {mark!r}")
            seen.add(mark)
        return values


class Model(pydantic.BaseModel):
    """What every part of an App has in common: closed, frozen, strict, camelCase outside."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler.resolve_ref_schema(handler(schema))
        texts = _docstrings(cls)
        for name, field in cls.model_fields.items():
            made["properties"][field.alias]["description"] = texts[name]
        return made


class Spec(Model):
    """A part that people write: obeys rules between its fields, and helps with misspelt ones."""

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _suggest(cls, value: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        """Say which field a misspelt one may have meant."""
        try:
            return handler(value)
        except pydantic.ValidationError as refused:
            if all(error["type"] != "extra_forbidden" for error in refused.errors()):
                raise
            raise pydantic.ValidationError.from_exception_data(
                refused.title, [cls._explained(error) for error in refused.errors()]
            ) from None

    @pydantic.model_validator(mode="after")
    def _obeys(self) -> Self:
        for rule in self.RULES:
            if not rule.holds(self):
                raise _refusal(rule.message)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = super().__get_pydantic_json_schema__(schema, handler)
        if cls.RULES:
            made["x-kubernetes-validations"] = [
                {"rule": rule.cel, "message": rule.message} for rule in cls.RULES
            ]
        return made

    @classmethod
    def _explained(cls, error: pydantic_core.ErrorDetails) -> pydantic_core.InitErrorDetails:
        message = error["msg"]
        if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
            known = [*cls.model_fields, *(f.alias or "" for f in cls.model_fields.values())]
            close = difflib.get_close_matches(str(error["loc"][0]), known, n=1)
            message = f"unknown field; did you mean {close[0]!r}?" if close else "unknown field"
        return pydantic_core.InitErrorDetails(
            type=_refusal(message, error["type"]), loc=error["loc"], input=error["input"]
        )


def _docstrings(model: type) -> dict[str, str]:
    """Read what stands below each field of the model.

    Pydantic would read it of every class as that is made: a tenth of the time that a start takes,
    for texts that only a CustomResourceDefinition shows.
    """
    found: dict[str, str] = {}
    for each in reversed(model.__mro__[: model.__mro__.index(Model)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)  # noqa: S101 - it is the source of a class
        for field, below in itertools.pairwise(body.body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = inspect.cleandoc(text)
    return found


def _refusal(message: str, kind: str = "rule") -> pydantic_core.PydanticCustomError:
    # The template holds only a placeholder: a message may contain braces of its own.
    return pydantic_core.PydanticCustomError(kind, "{message}", {"message": message})
