"""From YAML files and the environment to `Config`; all mistakes at once, each with its line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails

from braze_etl.clock import duration_text
from braze_etl.config.secrets import Veil, is_secret, without_tokens
from braze_etl.config.unresolved import Unresolved, validated
from braze_etl.config.yaml import KeyPath, NoYamlError, Place, Problem, Variables, YamlReader, dotted
from braze_etl.errors import ConfigError
from braze_etl.quoting import masked, visible

SettingsT = TypeVar("SettingsT", bound=BaseModel)

Examine: TypeAlias = Callable[[SettingsT], Iterable[tuple[KeyPath, str]]]
"""Looks for mistakes that only others can see; each with the path of the value at fault."""

_LARGEST: Final = 1_000_000
_SHOWN: Final = 20
_GIVEN: Final = "the configuration"


@dataclass(frozen=True)
class Config(Generic[SettingsT]):
    """The settings of one pipeline, and which of their values the environment still owes."""

    settings: SettingsT
    path: Path | None
    """Where it was read; None where it was given as values."""
    unresolved: Unresolved[SettingsT]
    unset: Mapping[KeyPath, str] = field(default_factory=dict)
    """Variable name by the path of the value that needs it."""
    places: Mapping[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place:
        """The place of a value, or of the nearest one above it that the file has."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path]

    def require(self, *sections: str) -> SettingsT:
        """Return the settings; raises `ConfigError` if a value below one of *sections* (dotted) is unset."""
        missing = [
            f"  {self.places[path]}: {dotted(path)} needs the environment variable {name}: it is not set"
            for path, name in self.unset.items()
            if any(dotted(path).startswith(section) for section in sections)
        ]
        if missing:
            raise ConfigError(
                f"{self.path or _GIVEN} can't be used yet:\n" + "\n".join(missing),
                remedy="Set the variables, or give defaults as ${NAME:-default}.",
            )
        return self.settings


def load(
    source: Path | Mapping[str, Any],
    model: type[SettingsT],
    environ: Mapping[str, str],
    *,
    examine: Examine[SettingsT] = lambda _: (),
    stand_ins: Mapping[KeyPath, str],
) -> Config[SettingsT]:
    """Read and check a configuration; raises `ConfigError` that names every mistake with its line.

    *source* is a file, or what such a file would hold. *stand_ins* are for required values that hold no free
    text, while the variable behind them is unset.
    """
    reader, variables = YamlReader(), Variables(environ)
    path = source if isinstance(source, Path) else None
    problems: list[Problem] = []
    unset: dict[KeyPath, str | None] = {}
    settings: SettingsT | None = None
    try:
        written = reader.read(_text_of(source)) if isinstance(source, Path) else reader.take(source)
        _include_mapping(written, reader, environ)
        data = variables.resolve(written)
        unset = {path: stand_ins.get(path) for path in variables.unset}
        settings = validated(model, data, unset)
        found = islice(examine(settings), _SHOWN + 1)
        problems += [Problem(reader.place(where), words) for where, words in found]
    except NoYamlError as error:  # what it would lack or have too much, nobody can tell
        raise _mistaken(path, [*error.args]) from None
    except ValidationError as error:
        problems += _explain(model, error, reader, variables)
    problems += reader.problems
    for where in variables.no_text:
        words = f"{dotted(where)} holds NUL, or half a surrogate pair: that is no text"
        problems.append(Problem(reader.place(where), words))
    if problems or settings is None:
        raise _mistaken(path, sorted(problems))
    unresolved = Unresolved(model, written, variables.fingerprint, unset)
    return Config(settings, path, unresolved, variables.unset, reader.places)


def _mistaken(path: Path | None, problems: Sequence[Problem]) -> ConfigError:
    lines = [
        visible(f"  {problem.place}: {masked(without_tokens(problem.words))}")
        for problem in problems[:_SHOWN]
    ]
    if more := len(problems) - len(lines):
        lines.append(f"  and {more:,} more")
    number = f"{len(problems):,} mistake{'s' * (len(problems) != 1)}"
    return ConfigError(
        f"{path or _GIVEN} has {number}:\n" + "\n".join(lines),
        remedy="Correct the file and try `braze-etl config check` again."
        if path
        else "Correct the settings.",
    )


def _text_of(path: Path) -> str:
    try:
        return _limited(path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the configuration {path} can't be read: {_reason(error)}",
            remedy="Name a YAML file with -c FILE or $BRAZE_ETL_CONFIG.",
        ) from None


def _limited(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST / 1e6:.0f} MB, which no configuration is")
    return data.decode()


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return getattr(error, "strerror", None) or str(error)


def _include_mapping(written: dict[str, Any], reader: YamlReader, environ: Mapping[str, str]) -> None:
    """Put the keys of the mapping file beside those of the section that names it."""
    section, variables = written.get("mapping"), Variables(environ)
    name = variables.resolve(section.get("file")) if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(name, str) or variables.unset:
        return
    here = dict(reader.places)
    try:
        text = _limited(Path(name))
    except (OSError, ValueError) as error:
        words = f"mapping.file: {name} can't be read: {_reason(error)}"
        reader.problems.append(Problem(reader.place(("mapping", "file")), words))
        return
    for key, value in reader.read(text, file=name, root=("mapping",)).items():
        place = reader.places["mapping", key]
        if key == "file":
            reader.problems.append(Problem(place, "file is not known in a mapping file"))
        elif key in section:
            words = f"mapping.{key} is given here and in the configuration, {here['mapping', key]}"
            reader.problems.append(Problem(place, words))
        else:
            section[key] = value


def _explain(
    model: type[BaseModel], error: ValidationError, reader: YamlReader, variables: Variables
) -> Iterator[Problem]:
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for mistake in error.errors():
        # A union's branches ("literal", "int") stand at the end of the path; the file has no such keys.
        path: KeyPath = mistake["loc"]
        while path and path not in reader.places and mistake["type"] != "missing":
            path = path[:-1]
        by_path.setdefault(path, []).append(mistake)
    veil = _veil(variables)
    for number, path in enumerate(sorted(by_path, key=reader.place)):
        # To look for the nearest key takes a while: only for what is shown.
        near = partial(_nearest, model, path) if number < _SHOWN else str
        words = " or ".join(_words(mistake, path, veil, near) for mistake in by_path[path])
        yield Problem(reader.place(path), f"{dotted(path)} {words}")


def _veil(variables: Variables) -> Veil:
    veil = Veil()
    secrets = (text for path, text in variables.texts if is_secret(path))
    for value in (*variables.from_environment, *secrets):
        veil.add(value)
    return veil


def _words(mistake: ErrorDetails, path: KeyPath, veil: Veil, near: Callable[[], str]) -> str:
    value = mistake["input"]
    given = "" if is_secret(path) else veil.quoted(value)
    match mistake["type"]:
        case "extra_forbidden":
            return f"is not known{near()}"
        case "missing":
            return "is required"
        case "value_error":
            return f"is wrong: {veil.over(str(mistake['ctx']['error']), complained_of=value)}"
        case "literal_error":
            return f"must be {mistake['ctx']['expected']}{given}"
        case _:
            return f"{mistake['msg'].removeprefix('Input ').replace('should', 'must', 1)}{given}"


def _nearest(root: type[BaseModel], path: KeyPath) -> str:
    model: type[BaseModel] | None = root
    for part in path[:-1]:
        if isinstance(part, str) and model is not None:
            model = _model_in(model.model_fields[part].annotation)
    if model is None:
        return ""
    known = [info.alias or name for name, info in model.model_fields.items()]
    near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0)
    return f"; the nearest known key is {dotted((*path[:-1], near[0]))}" if near else ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds: itself, in a tuple, or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Every section and key: types, bounds, descriptions, and defaults as a configuration writes them."""
    schema = model.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


class _AsWritten(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Durations in the notation of the configuration, which is not that of ISO 8601."""
        return super().encode_default(duration_text(dft) if isinstance(dft, timedelta) else dft)
