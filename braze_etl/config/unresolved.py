"""Settings on their way to another process, or to another machine: `${NAME}` stays, and no secret travels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from braze_etl.config.yaml import KeyPath, Variables, dotted, texts_in, variables_in
from braze_etl.errors import ConfigError

SettingsT = TypeVar("SettingsT", bound=BaseModel)

_SAME_ENVIRONMENT: Final = "Give workers the environment in which the configuration was read."
_NO_SECRET: Final = re.compile(r"(?:\$\{[A-Za-z_][A-Za-z0-9_]*(?::-)?\}|https?://[\w.-]+(?::\d+)?/?)?")
"""What may stand where a secret is wanted: a variable without a default, an address alone, or nothing."""
_USER: Final = re.compile(r"://([^/?#\s]*)@")
_NAMES_ALONE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|:")


@dataclass(frozen=True, slots=True)
class Unresolved(Generic[SettingsT]):
    """Settings as they are written: who receives them takes what is `${NAME}` from its own environment.

    So no secret travels, unless it stands in the configuration itself: see `refuse_written_secrets`.
    """

    model: type[SettingsT]
    data: dict[str, Any] = field(repr=False)
    """What the configuration and its mapping file hold, as it is written there."""
    fingerprint: str
    """That of all texts as the command has them: with other ones, a worker might send to another project."""
    unset: Mapping[KeyPath, str | None] = field(default_factory=dict)
    """Values that the command does without, for want of a variable, and what stands in for them."""

    def resolve(self, environ: Mapping[str, str] = os.environ) -> SettingsT:
        """The settings in this process; raises `ConfigError` where *environ* is not that of the command."""
        variables = Variables(environ)
        data = variables.resolve(self.data)
        if missing := sorted({name for path, name in variables.unset.items() if path not in self.unset}):
            words = f"a worker needs the environment variable {', '.join(missing)}: it is not set there"
            raise ConfigError(words, remedy=_SAME_ENVIRONMENT)
        try:
            settings = validated(self.model, data, self.unset)
        except ValidationError as error:
            paths = sorted({dotted(mistake["loc"]) for mistake in error.errors()})
            words = f"the environment of a worker makes {', '.join(paths)} wrong"
            raise ConfigError(words, remedy=_SAME_ENVIRONMENT) from None
        if variables.fingerprint != self.fingerprint:
            words = "the environment of a worker gives other values than that of the command"
            raise ConfigError(words, remedy=_SAME_ENVIRONMENT)
        return settings

    def refuse_written_secrets(self) -> None:
        """Raise `ConfigError`, which names the keys, if a secret stands in the configuration or is a default.

        A secret is what a `SecretStr` of the model holds, and a user or password in the address of a URL.
        """
        written = [dotted(path) for path, text in secrets_in(self.model, self.data) if _is_written(text)]
        written += [dotted(path) for path, text in texts_in(self.data) if _names_a_user(text)]
        if written:
            raise ConfigError(
                f"{', '.join(dict.fromkeys(written))}: a secret stands in the configuration, or is a default"
                " there, and the configuration travels to other machines",
                remedy="Write the whole value as ${NAME}, and set that variable here and on each machine.",
            )

    def variables(self) -> list[str]:
        """The names of the variables that stand in the configuration."""
        return sorted({name for _, text in texts_in(self.data) for name in variables_in(text)})


def validated(model: type[SettingsT], data: dict[str, Any], unset: Mapping[KeyPath, str | None]) -> SettingsT:
    """Check the data; an unset variable stays as text where that fits, and else gives way to the default."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        wrong = {mistake["loc"][:end] for mistake in error.errors() for end in range(len(mistake["loc"]) + 1)}
        owed = wrong.intersection(unset)
        if not owed:
            raise
    for path in owed:
        section: Any = data
        for part in path[:-1]:
            section = section[part]
        section[path[-1]] = unset[path]
        if section[path[-1]] is None:
            del section[path[-1]]
    return model.model_validate(data)


def secrets_in(kind: Any, data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Give what *data* holds where *kind*, a section or a type of a field, wants a secret; with its path."""
    origin = get_origin(kind)
    if kind is SecretStr:
        yield path, data
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(data, dict):
        for name, info in kind.model_fields.items():
            key = info.alias or name
            if key in data:
                yield from secrets_in(info.annotation, data[key], (*path, key))
    elif origin is tuple and isinstance(data, list):
        for index, each in enumerate(data):
            yield from secrets_in(get_args(kind)[0], each, (*path, index))
    elif origin is dict and isinstance(data, dict):
        for key, each in data.items():
            yield from secrets_in(get_args(kind)[1], each, (*path, key))
    else:  # what may be one of several types, or has bounds
        for member in get_args(kind):
            yield from secrets_in(member, data, path)


def _is_written(text: Any) -> bool:
    return text is not None and not (isinstance(text, str) and _NO_SECRET.fullmatch(text))


def _names_a_user(text: str) -> bool:
    return any(_NAMES_ALONE.sub("", match[1]) for match in _USER.finditer(text))
