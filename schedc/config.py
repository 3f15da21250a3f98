"""Schedules in configuration files: `Schedule`, a text that has been checked when the configuration is loaded.

    class Train(BaseModel):
        lr: Schedule

    config = load_yaml("train.yaml", Train)
    scheduler = config.lr.plan.scheduler(optimizer)

It works in pydantic models, in dataclasses that jsonargparse reads, and as an OmegaConf resolver.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import PydanticCustomError, core_schema

from schedc.compiler.diagnostics import Diagnostic, Label
from schedc.compiler.source import Source, Span
from schedc.errors import SchedError, needs

if TYPE_CHECKING:
    from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler

    from schedc.plan import Plan

M = TypeVar("M", bound="BaseModel")


class Schedule(str):
    """A program as a text that has been checked: making one of a faulty text raises SchedError, with all messages.

    It is a `str`, so it compares, hashes, copies and saves as its text. `plan` is what it means. What the text does
    not say of the run, `steps_per_epoch` say, is given to the constructor or, in pydantic, as validation context:
    `Train.model_validate(data, context={"steps_per_epoch": 1252})`.
    """

    __slots__ = ("_given", "_plan")
    _plan: Plan | None
    _given: dict[str, Any]

    def __new__(cls, text: str, **given: Any) -> Schedule:
        """Check the text; `given` are keywords of `schedc.compile`."""
        return cls._made(str(text), given, _compiled(text, given))

    @classmethod
    def _made(cls, text: str, given: dict[str, Any], plan: Plan | None) -> Schedule:
        made = str.__new__(cls, text)
        made._given = given
        made._plan = plan
        return made

    @property
    def text(self) -> str:
        """The program as written."""
        return str.__str__(self)

    @property
    def plan(self) -> Plan:
        """What the program means."""
        if self._plan is None:
            self._plan = _compiled(self.text, self._given)
        return self._plan

    def compile(self, **given: Any) -> Plan:
        """The plan with other keywords of `schedc.compile`: params, or what is known of the run only now."""
        return _compiled(self.text, {**self._given, **given})

    def __repr__(self) -> str:
        return f"Schedule({self.text!r})"

    # A copy, and one that was pickled, need no second check.
    def __reduce__(self) -> tuple[Any, ...]:
        return Schedule._made, (self.text, self._given, None)

    def __copy__(self) -> Schedule:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Schedule:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(
                str.__str__, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def _validated(cls, value: Any, info: core_schema.ValidationInfo) -> Schedule:
        if isinstance(value, Schedule):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise PydanticCustomError(
                "schedule_type", "A number alone is no schedule: write 'lr = {number}', in quotes", {"number": value}
            )
        if not isinstance(value, str):
            raise PydanticCustomError("schedule_type", "Input should be a schedule, as a text")
        context = info.context if isinstance(info.context, Mapping) else {}
        given = {k: v for k, v in context.items() if k in _context_keywords()}
        try:
            return cls._made(str.__str__(value), given, _compiled(value, given))
        except SchedError as error:
            # The first line stands alone, so that the carets below keep their columns.
            raise PydanticCustomError(
                "schedule", "{message}", {"message": "\n" + _indented(str(error)), "error": error}
            ) from None

    @classmethod
    def __get_pydantic_json_schema__(cls, _: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "sched"}


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.split("\n"))


def _context_keywords() -> frozenset[str]:
    from schedc.plan import KEYWORDS

    return frozenset(KEYWORDS)


class PlacedText(str):
    """A text that stands in a file, at `start` (0-based line and column).

    `offsets` are where its characters stand in the file's text, and one more for its end; None if that is not known.
    """

    __slots__ = ("file", "offsets", "start")
    file: Source
    start: tuple[int, int]
    offsets: list[int] | None

    def source(self) -> Source:
        """The text as a source whose first line is numbered as in the file."""
        return Source(self.file.name, str.__str__(self), *self.start)

    def moved(self, said: Diagnostic, inner: Source) -> Diagnostic:
        """A message about the text as one about the file, so that it shows the file's own lines."""
        offsets = self.offsets
        if offsets is None:
            return said

        def label(one: Label) -> Label:
            span = one.span
            if span.source is not inner:
                return one
            start = offsets[span.start]
            return Label(
                Span(self.file, start, offsets[span.end - 1] + 1 if span.end > span.start else start), one.text
            )

        # A fix of the text would have to be escaped for the file.
        return replace(said, primary=label(said.primary), labels=tuple(map(label, said.labels)), fix=None)


def _compiled(text: str, given: dict[str, Any]) -> Plan:
    from schedc.plan import compile, compile_source, from_keywords

    if not isinstance(text, PlacedText):
        return compile(str(text), **given)
    source = text.source()
    try:
        return compile_source(source, from_keywords({"root": Path(source.name).parent, **given}))
    except SchedError as error:
        raise type(error)((text.moved(d, source) for d in error.diagnostics), error.words) from None


class ConfigError(SchedError):
    """A configuration file with faults. `diagnostics` are those of its schedules; as text, every fault is shown."""


def load_yaml(path: str | Path, model: type[M], *, context: Mapping[str, Any] | None = None) -> M:
    """The YAML file as an instance of the pydantic model.

    Messages point at lines of the file. `context` is pydantic's validation context; for schedules the keywords of
    `schedc.compile`, as in `{"steps_per_epoch": 1252}`.
    """
    try:
        import yaml

        from schedc import yaml_places
    except ModuleNotFoundError as error:
        raise needs("yaml", "config", "load_yaml")(error) from None
    from pydantic import ValidationError

    file = Source(str(path), Path(path).read_text(encoding="utf-8-sig"))
    try:
        data, root = yaml_places.load(file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = file.name if mark is None else f"{file.name}:{mark.line + 1}:{mark.column + 1}"
        words = f"{place}: {error.problem or error.context}"
        if "mapping values are not allowed" in str(error.problem):
            words += " (a schedule with a `:` in it stands in quotes, or below `|`)"
        raise ConfigError(words=words) from None
    try:
        return model.model_validate(data, context=None if context is None else dict(context))
    except ValidationError as error:
        said: list[Diagnostic] = []
        faults: list[str] = []
        for one in error.errors():
            cause = one.get("ctx", {}).get("error")
            if isinstance(cause, SchedError):
                said += cause.diagnostics
                faults += [cause.words] if cause.words else []
            else:
                name = ".".join(map(str, one["loc"]))
                faults.append(f"{yaml_places.place(root, one['loc'], file)}: {name + ': ' if name else ''}{one['msg']}")
        raise ConfigError(said, "\n".join(faults)) from None


def register_omegaconf(name: str = "sched") -> None:
    """Make `${sched:'warmup 500 -> cosine 10k'}` a checked Schedule in OmegaConf's (and Hydra's) configurations."""
    try:
        from omegaconf import OmegaConf
    except ModuleNotFoundError as error:
        raise needs("omegaconf", "config", "register_omegaconf")(error) from None
    # `register_resolver` came with 2.4, and with it the end of the other name.
    register: Any = getattr(OmegaConf, "register_resolver", None) or OmegaConf.register_new_resolver
    register(name, _resolved, replace=True)


def _resolved(text: str) -> Schedule:
    return Schedule(text)


def register_jsonargparse() -> None:
    """Let jsonargparse (and with it LightningCLI) read a field of type `Schedule` from a text.

    Importing this module does it where jsonargparse is imported already.
    """
    from jsonargparse.typing import register_type

    register_type(Schedule, serializer=str.__str__, deserializer=Schedule)


if "jsonargparse" in sys.modules:
    register_jsonargparse()
