"""Building blocks of the schema: strict tables, described knobs, knobs that only sometimes apply."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from workbench.support.toml_text import toml_literal

ABOVE_ZERO = "above 0"


class Table(BaseModel):
    """A TOML table of a recipe: unknown keys are refused, types are strict, values cannot change.

    A knob made with `only_if` belongs to one choice of another key in the same table. Setting it while that
    choice is not made is an error, since it would be ignored; `applicable` tells which knobs count.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _refuse_ignored_knobs(self) -> Table:
        ignored = []
        for name in sorted(self.model_fields_set):
            unmet = unmet_condition(self, name)
            if unmet is not None:
                key = unmet[0]
                because = f"has no effect while {key} = {toml_literal(getattr(self, key))}"
                ignored.append((name, because, " ".join(unmet)))
        if ignored:
            said = "; ".join(f"{name} {because}" for name, because, _ in ignored)
            raise PydanticCustomError("ignored_knob", "{said}", {"said": said, "ignored": ignored})
        return self


def disagreement(message: str, *keys: str) -> PydanticCustomError:
    """The error of knobs that are fine alone and not together, for a validator to raise.

    Args:
        message: the whole story in one sentence.
        keys: the knobs it is about, dotted from the validator's own table, the one to change first.
    """
    return PydanticCustomError("disagreement", "{said}", {"said": message, "keys": keys})


def knob(
    default: Any = ...,
    *,
    help: str,
    unit: str = "",
    source: str = "",
    unset: str = "",
    only_if: tuple[str, Sequence[object] | str] | None = None,
    **constraints: Any,
) -> Any:
    """A described field. The form, `recipe show`, `recipe new` and the docs read what is said here.

    Args:
        help: one sentence: what it does; the default's reason if it needs one.
        unit: such as "degrees" or "epochs"; empty for a choice or a plain number.
        source: paper and place, where the default or the formula comes from one.
        unset: what leaving the knob out means, where its default is None.
        only_if: (key of the same table, values): the knob counts only while that key has one of them;
            (key, ABOVE_ZERO) while that key is positive.
        constraints: pydantic's (`ge`, `le`, `gt`, `lt`, `max_length`, …).
    """
    extra: dict[str, Any] = {"unit": unit, "source": source, "unset": unset, "only_if": only_if}
    return Field(default, description=help, json_schema_extra=extra, **constraints)


def knob_extra(field: FieldInfo) -> dict[str, Any]:
    """What `knob` was told beside pydantic's own: keys unit, source, unset, only_if."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def unmet_condition(table: BaseModel, name: str) -> tuple[str, str] | None:
    """The (key, what it would have to be) that keeps knob `name` from counting, or None when it counts."""
    field = type(table).model_fields.get(name)
    condition = knob_extra(field).get("only_if") if field is not None else None
    if condition is None:
        return None
    key, choices = condition
    value = getattr(table, key)
    if choices == ABOVE_ZERO:
        if value <= 0:
            return key, ABOVE_ZERO
    elif value not in choices:
        return key, "= " + " or ".join(map(toml_literal, choices))
    return unmet_condition(table, key)


def applicable(table: BaseModel) -> Iterator[tuple[str, Any]]:
    """(name, value) of every knob that counts and has a value, in the schema's order."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        if value is not None and unmet_condition(table, name) is None:
            yield name, value


@dataclass(frozen=True, slots=True)
class Described:
    """Metadata of an annotation: its allowed values in words, where they do not follow from its type."""

    words: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Metadata of an annotation: text that is one of these names, which may be more with other packages."""

    names: Collection[str]


def tuple_from_list(value: object) -> object:
    """A TOML list as the tuple that a frozen table holds; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _refuse_stand_ins(value: object) -> object:
    # To Python 0 equals False and True equals 1; to a reader of TOML they are different things.
    if value is not False:
        raise ValueError("not false")
    return value


Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Off = Annotated[Literal[False], BeforeValidator(_refuse_stand_ins)]
Range = Annotated[tuple[float, float], BeforeValidator(tuple_from_list)]
Tag = Annotated[str, Field(min_length=1, max_length=60)]
Tags = Annotated[tuple[Tag, ...], BeforeValidator(tuple_from_list), Field(max_length=20)]
EvaluationView = Literal["centre", "full", "squash", "close"]
EvaluationViews = Annotated[
    tuple[EvaluationView, ...],
    BeforeValidator(tuple_from_list),
    Field(min_length=1, max_length=4),
    Described('a list of one or more of "centre", "full", "squash" and "close"'),
]
ALL_VIEWS: tuple[EvaluationView, ...] = ("centre", "full", "squash", "close")
"""In the order in which shipped recipes name them: of each order features are kept apart."""
RunName = Annotated[str, Field(min_length=1, max_length=400)]
RunNames = Annotated[
    tuple[RunName, ...],
    BeforeValidator(tuple_from_list),
    Field(min_length=1, max_length=16),
    Described("a list of finished runs"),
]
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$")]
Names = Annotated[
    tuple[GroupName, ...],
    BeforeValidator(tuple_from_list),
    Field(max_length=64),
    Described("a list of the backbone's layer groups"),
]
