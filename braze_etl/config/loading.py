"""From YAML files and the environment to `Config`; all mistakes at once, each with its line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from braze_etl.config.model import Settings
from braze_etl.config.reading import KeyPath, Place, Problem, YamlReader, dotted
from braze_etl.errors import ConfigError

Examine: TypeAlias = Callable[[Settings], Iterable[tuple[KeyPath, str]]]
"""Looks for mistakes that only others can see; each with the path of the value at fault."""

_SECRETS = frozenset({"api_key", "salt", "webhook", "dead_man", "url"})
"""Keys whose values no message repeats."""
_STAND_INS: dict[KeyPath, str] = {("amplitude", "region"): "US"}
"""For required values that hold no free text, while the variable behind them is unset."""


@dataclass(frozen=True)
class Config:
    """The settings of one pipeline, and which of their values the environment still owes."""

    settings: Settings
    path: Path
    unset: Mapping[KeyPath, str] = field(default_factory=dict)
    """Variable name by the path of the value that needs it."""
    places: Mapping[KeyPath, Place] = field(default_factory=dict)

    def require(self, *sections: str) -> Settings:
        """Return the settings; raises `ConfigError` if a value below one of *sections* (dotted) is unset."""
        missing = [
            f"  {self.places[path]}: {dotted(path)} needs the environment variable {name}: it is not set"
            for path, name in self.unset.items()
            if any(dotted(path).startswith(section) for section in sections)
        ]
        if missing:
            raise ConfigError(
                f"{self.path} can't be used yet:\n" + "\n".join(missing),
                remedy="Set the variables, or give defaults as ${NAME:-default}.",
            )
        return self.settings


def load_config(
    path: Path, environ: Mapping[str, str] = os.environ, *, examine: Examine = lambda _: ()
) -> Config:
    """Read and check a configuration; raises `ConfigError` that names every mistake with its line."""
    reader = YamlReader(environ)
    data = reader.read(_text_of(path))
    problems: list[Problem] = []
    settings: Settings | None = None
    try:
        _include_mapping(data, reader)
        settings = _validated(data, reader.unset)
        problems += [Problem(reader.place(where), words) for where, words in examine(settings)]
    except ValidationError as error:
        problems += _explain(error, reader)
    problems += reader.problems
    if problems or settings is None:
        lines = [f"  {problem.place}: {problem.words}" for problem in sorted(problems)]
        raise ConfigError(
            f"{path} has {len(lines)} mistake{'s' * (len(lines) != 1)}:\n" + "\n".join(lines),
            remedy="Correct the file and try `braze-etl config check` again.",
        )
    return Config(settings, path, reader.unset, reader.places)


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the configuration {path} can't be read: {_reason(error)}",
            remedy="Name a YAML file with -c FILE or $BRAZE_ETL_CONFIG.",
        ) from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return getattr(error, "strerror", None) or "it is not UTF-8 text"


def _include_mapping(data: dict[str, Any], reader: YamlReader) -> None:
    """Put the keys of the mapping file beside those of the section that names it."""
    section = data.get("mapping")
    name = section.get("file") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(name, str) or ("mapping", "file") in reader.unset:
        return
    here = dict(reader.places)
    try:
        text = Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
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


def _validated(data: dict[str, Any], unset: Mapping[KeyPath, str]) -> Settings:
    """Check the data; an unset variable stays as text where that fits, and else gives way to the default."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        owed = {path for path in unset if any(_within(mistake["loc"], path) for mistake in error.errors())}
        if not owed:
            raise
    for path in owed:
        section: Any = data
        for part in path[:-1]:
            section = section[part]
        section[path[-1]] = _STAND_INS.get(path)
        if section[path[-1]] is None:
            del section[path[-1]]
    return Settings.model_validate(data)


def _within(loc: KeyPath, path: KeyPath) -> bool:
    return loc[: len(path)] == path


def _explain(error: ValidationError, reader: YamlReader) -> Iterator[Problem]:
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for mistake in error.errors():
        # A union's branches ("literal", "int") stand at the end of the path; the file has no such keys.
        path: KeyPath = mistake["loc"]
        while path and path not in reader.places and mistake["type"] != "missing":
            path = path[:-1]
        by_path.setdefault(path, []).append(mistake)
    for path, mistakes in by_path.items():
        words = " or ".join(_words(mistake, path) for mistake in mistakes)
        yield Problem(reader.place(path), f"{dotted(path)} {words}")


def _words(mistake: ErrorDetails, path: KeyPath) -> str:
    given = "" if _SECRETS.intersection(path) else f", not {mistake['input']!r}"
    match mistake["type"]:
        case "extra_forbidden":
            return f"is not known{_nearest(path)}"
        case "missing":
            return "is required"
        case "value_error":
            return f"is wrong: {mistake['ctx']['error']}"
        case "literal_error":
            return f"must be {mistake['ctx']['expected']}{given}"
        case _:
            return f"{mistake['msg'].removeprefix('Input ').replace('should', 'must', 1)}{given}"


def _nearest(path: KeyPath) -> str:
    model: type[BaseModel] | None = Settings
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
