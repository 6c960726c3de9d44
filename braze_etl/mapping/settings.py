"""The `mapping` section and the mapping file as types: what a record becomes, and whether it is sent."""

from __future__ import annotations

from datetime import timedelta
from math import isfinite
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)

from braze_etl.config.values import Duration, Hour, Section, StoreUri
from braze_etl.mapping.limits import MAX_INTEGER, MAX_TEXT

Scalar: TypeAlias = bool | int | float | str | None
"""A plain YAML value."""

Property: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]

_EVERY_TYPE: tuple[str, ...] = ("*",)
_TYPES = "Types: globs, `!glob` excludes; or the groups engagement, behavior."


def _listed(value: Any) -> Any:
    """One thing alone stands for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


def _one_or_more(**item: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


def _or_text(schema: dict[str, Any]) -> None:
    """Let the JSON Schema of a model know that it may be written as a text."""
    model = {**schema}
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, model]


def _sendable(value: Scalar) -> Scalar:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"JSON has no number {value}")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"{value} lies beyond 2^53, where JSON loses digits; in quotes it is sent as text")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"the text has {len(value)} characters; Amplitude takes {MAX_TEXT}")
    return value


def _comparable(value: Scalar) -> Scalar:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"{value} lies beyond 2^53; in quotes it is compared as text")
    return value


Sent: TypeAlias = Annotated[Scalar, AfterValidator(_sendable)]
"""A value that goes to Amplitude as it is (amplitude.md, 1.4)."""
Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed), _one_or_more(type="string")]
Properties: TypeAlias = Annotated[
    tuple[Property, ...], BeforeValidator(_listed), _one_or_more(type="string", minLength=1)
]
Condition: TypeAlias = Annotated[
    tuple[Annotated[Scalar, AfterValidator(_comparable)], ...],
    Field(min_length=1),
    BeforeValidator(_listed),
    _one_or_more(type=["boolean", "number", "string", "null"]),
]
Lifted: TypeAlias = Annotated[
    tuple[Literal["device", "location"], ...],
    BeforeValidator(_listed),
    _one_or_more(enum=["device", "location"]),
]
Conditions: TypeAlias = dict[str, Condition]


class Selector(Section):
    """Records of these types of which all conditions hold; a text alone names the types."""

    model_config = ConfigDict(json_schema_extra=_or_text)

    events: Texts = Field(default=_EVERY_TYPE, min_length=1, description=_TYPES)
    where: Conditions = Field(
        default_factory=dict,
        description="Field -> value or values, of which one holds. Texts are globs, `!glob` is its contrary, "
        "null is an absent field. `properties.<key>` looks into a JSON text.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"events": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_something(self) -> Selector:
        if not self.model_fields_set:
            raise ValueError("it names neither events nor where")
        return self


class Choose(Section):
    """Which records are sent: those that some `include` names (without one, all), and no `exclude` does."""

    include: tuple[Selector, ...] = ()
    exclude: tuple[Selector, ...] = ()


class Rule(Section):
    """Changes to the events of some types. Rules are applied in their order; inside of one, in this order."""

    rule: str | None = Field(default=None, description="A name for people.")
    events: Texts = Field(default=_EVERY_TYPE, min_length=1, description=_TYPES)
    name: str | None = Field(
        default=None,
        description="The event's name. {title} is the preset's without its prefix, {name_before} the one so "
        "far, {event_type} the Currents type; {field:-text} a field's text, or that one where it is null.",
    )
    parse: dict[str, str] = Field(
        default_factory=dict,
        description="Field with a JSON object as text -> prefix of the properties that its keys become.",
    )
    lift: Lifted = Field(
        default=(), description="Groups of Amplitude's own fields; sent where the whole group is there."
    )
    add: Texts = Field(default=(), description="Fields (globs) that the preset leaves out.")
    keep: Texts | None = Field(default=None, description="Only these fields (globs) become properties.")
    drop: Texts = Field(default=(), description="Fields (globs) that become no property.")
    rename: dict[str, Property] = Field(
        default_factory=dict,
        description="Field (glob) -> property; {field} is the field's name, {property} its name so far.",
    )
    copy_to: dict[str, Properties] = Field(
        default_factory=dict, alias="copy", description="Field -> further properties with the same value."
    )
    values: dict[str, dict[str, Sent]] = Field(
        default_factory=dict,
        description="Field -> its values -> what is sent instead; `*` is any other, null sends nothing.",
    )
    set_to: dict[Property, Sent] = Field(
        default_factory=dict, alias="set", description="Property -> a value that all events get."
    )


class Privacy(Section):
    """What must not travel."""

    drop: Texts = Field(default=(), description="Fields (globs), or the group pii: never sent.")
    hash: Texts = Field(
        default=(), description="Fields (globs), or the group pii: sent as SHA-256 of salt and value."
    )
    salt: SecretStr = Field(default=SecretStr(""), description="For `hash`; from the environment.")
    suppress: StoreUri | None = Field(
        default=None, description="A list of ids whose records are not sent: a file or an s3 uri."
    )


class Lookup(Section):
    """A table from an id of Braze to Amplitude's user id."""

    uri: StoreUri = Field(description="A CSV or SQLite file, or an s3 uri of one.")
    key: Literal["external_user_id", "user_id"] = Field(
        default="external_user_id",
        description="The field whose value is looked up; user_id is Braze's own id.",
    )
    table: str | None = Field(default=None, description="SQLite: the table; null: the only one.")
    key_column: str | None = Field(default=None, description="null: the first column.")
    value_column: str | None = Field(default=None, description="null: the second column.")
    missing: Literal["pass", "filter", "quarantine"] = Field(
        default="pass",
        description="What becomes of ids that the table does not have; pass: sent as they are.",
    )


class Identity(Section):
    """Who an event belongs to."""

    anonymous: Literal["drop", "device", "braze_id"] = Field(
        default="device",
        description="Records without external id. device: sent under their device id, if they have one; "
        "braze_id: without one, under `braze:<user_id>`; drop: filtered.",
    )
    user_prefix: str = Field(default="", description="Stands before every user id.")
    device_prefix: str = Field(default="", description="Stands before every device id.")
    lower_case: bool = Field(default=False, description="User ids in lower case.")
    lookup: Lookup | None = None
    shared: Texts = Field(default=(), description="Ids that many people share; their records are not sent.")
    flag_above: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Tell of ids with more events a day than this."
    )


class LoopGuard(Section):
    """Custom events that came from Amplitude in the first place are not sent back."""

    names: Texts = Field(default=(), description="Their names (globs).")
    properties: Conditions = Field(default_factory=dict, description="Marker: key of `properties` -> value.")


class Purchase(Section):
    """What Amplitude makes of a purchase."""

    revenue: Literal["count", "ignore"] | None = Field(
        default=None, description="count: price and productId go to the top. null: as the preset has it."
    )


class Time(Section):
    """Bounds for an event's time; beyond them it is quarantined as `invalid_event`."""

    min: Hour | None = Field(default=None, description="First UTC hour.")
    max_future: Annotated[Duration, Field(ge=timedelta(0))] | None = Field(
        default=None, description="Most that it may lie behind its file's hour."
    )


class Example(Section):
    """A record, and the event that it must become, or the reason why it must not be sent."""

    test: str | None = Field(default=None, description="A name for people.")
    event_type: str = Field(description="The Currents type of the record.")
    record: dict[str, Any] = Field(description="Fields; what an event needs and is not given is filled in.")
    event: dict[str, Any] | None = Field(
        default=None, description="What must be in the event; null: must be absent."
    )
    not_sent: str | None = Field(default=None, description="The reason, such as not_selected.")

    @model_validator(mode="after")
    def _has_one_end(self) -> Example:
        if (self.event is None) == (self.not_sent is None):
            raise ValueError("give one of event and not_sent")
        return self


class MappingSection(Section):
    """What a record becomes, over a preset. The keys of a mapping file are these, without `file`."""

    file: str | None = Field(default=None, description="A YAML file with any of these keys.")
    preset: Literal["native", "raw"] = Field(
        default="native", description="native: as Braze's own connector; raw: as Currents."
    )
    send: Texts = Field(
        default=(),
        max_length=1000,
        description="Event types (globs, `!glob` excludes) that the preset leaves out.",
    )
    fields: Texts = Field(
        default=(), description="Fields that Braze has added since this release, to be known by name."
    )
    unknown_types: Literal["send", "hold"] = Field(
        default="send", description="Event types that the preset does not list; hold: filtered as held."
    )
    unknown_fields: Literal["send", "drop"] = Field(
        default="send", description="Fields that the preset does not know."
    )
    test_events: Literal["filter", "send"] = Field(
        default="filter", description="Placeholder records of Braze's `Send Test Events`."
    )
    choose: Choose = Choose()
    rules: tuple[Rule, ...] = ()
    privacy: Privacy = Privacy()
    identity: Identity = Identity()
    loop_guard: LoopGuard = LoopGuard()
    purchase: Purchase = Purchase()
    time: Time = Time()
    tests: tuple[Example, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All that decides an outcome, as plain JSON: no secret, no test, nothing that is as by default."""
        return self.model_dump(
            mode="json",
            by_alias=True,
            exclude_defaults=True,
            exclude={"file": True, "tests": True, "privacy": {"salt"}},
        )
