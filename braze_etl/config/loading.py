"""From a YAML file and the environment to `Config`; all mistakes at once, each with its line."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from braze_etl.config.model import Settings
from braze_etl.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_Path: TypeAlias = tuple[str | int, ...]
_STAND_INS: dict[_Path, str] = {("amplitude", "region"): "US"}
"""For required values that hold no free text, while the variable behind them is unset."""


@dataclass(frozen=True)
class Config:
    """The settings of one pipeline, and which of their values the environment still owes."""

    settings: Settings
    path: Path
    unset: Mapping[_Path, str] = field(default_factory=dict)
    """Variable name by the path of the value that needs it."""
    lines: Mapping[_Path, int] = field(default_factory=dict)

    def require(self, *sections: str) -> Settings:
        """Return the settings; raises `ConfigError` if a value below one of *sections* (dotted) is unset."""
        missing = [
            f"  line {self.lines[path]}: {_dotted(path)} needs the environment variable {name}: it is not set"
            for path, name in self.unset.items()
            if any(_dotted(path).startswith(section) for section in sections)
        ]
        if missing:
            raise ConfigError(
                f"{self.path} can't be used yet:\n" + "\n".join(missing),
                remedy="Set the variables, or give defaults as ${NAME:-default}.",
            )
        return self.settings


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration; raises `ConfigError` that names every mistake with its line."""
    reader = _Reader(environ)
    data = reader.read(_text_of(path))
    problems = list(reader.problems)
    settings: Settings | None = None
    try:
        settings = _validated(data, reader.unset)
    except ValidationError as error:
        problems += _explain(error, reader)
    if problems or settings is None:
        lines = [f"  line {line}: {text}" for line, text in sorted(problems)]
        raise ConfigError(
            f"{path} has {len(lines)} mistake{'s' * (len(lines) != 1)}:\n" + "\n".join(lines),
            remedy="Correct the file and try `braze-etl config check` again.",
        )
    return Config(settings, path, reader.unset, reader.lines)


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"the configuration {path} can't be read: {reason}",
            remedy="Name a YAML file with -c FILE or $BRAZE_ETL_CONFIG.",
        ) from None


class _Reader:
    """Walks the YAML nodes, so that every value keeps its line and `${NAME}` is replaced after parsing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.lines: dict[_Path, int] = {(): 1}
        self.unset: dict[_Path, str] = {}
        self.problems: list[tuple[int, str]] = []

    def read(self, text: str) -> dict[str, Any]:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            data = {} if node is None else self._value(loader, node, ())
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self.problems.append((mark.line + 1 if mark else 1, f"no valid YAML: {_first_words(error)}"))
            return {}
        if not isinstance(data, dict):
            self.problems.append((1, "the file must be a mapping of keys to values"))
            return {}
        return data

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, path: _Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(loader, node, path))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
            return [self._value(loader, item, (*path, index)) for index, item in enumerate(node.value)]
        value = loader.construct_object(node)
        return self._substitute(value, path) if isinstance(value, str) else value

    def _items(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: _Path
    ) -> Iterator[tuple[str, Any]]:
        loader.flatten_mapping(node)
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key, line = str(loader.construct_object(key_node)), key_node.start_mark.line + 1
            if key in seen:
                self.problems.append((line, f"{_dotted((*path, key))} is given twice"))
            seen.add(key)
            self.lines[(*path, key)] = line
            yield key, self._value(loader, value_node, (*path, key))

    def _substitute(self, text: str, path: _Path) -> str | None:
        def value_of(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            value = self.environ.get(name) or default
            if value is None:
                self.unset[path] = name
                return match[0]
            return value

        replaced = _VARIABLE.sub(value_of, text)
        return replaced if replaced or not text else None


def _validated(data: dict[str, Any], unset: Mapping[_Path, str]) -> Settings:
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


def _within(loc: _Path, path: _Path) -> bool:
    return loc[: len(path)] == path


def _explain(error: ValidationError, reader: _Reader) -> Iterator[tuple[int, str]]:
    by_path: dict[_Path, list[ErrorDetails]] = {}
    for mistake in error.errors():
        # A union's branches ("literal", "int") stand at the end of the path; the file has no such keys.
        path: _Path = mistake["loc"]
        while path and path not in reader.lines and mistake["type"] != "missing":
            path = path[:-1]
        by_path.setdefault(path, []).append(mistake)
    for path, mistakes in by_path.items():
        line = reader.lines.get(path) or reader.lines.get(path[:-1], 1)
        yield line, f"{_dotted(path)} {' or '.join(_words(mistake, path) for mistake in mistakes)}"


def _words(mistake: ErrorDetails, path: _Path) -> str:
    given = "" if "api_key" in path else f", not {mistake['input']!r}"
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


def _nearest(path: _Path) -> str:
    model: type[BaseModel] = Settings
    for part in path[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        model = annotation
    near = difflib.get_close_matches(str(path[-1]), model.model_fields, n=1, cutoff=0)
    return f"; the nearest known key is {_dotted((*path[:-1], near[0]))}" if near else ""


def _dotted(path: _Path) -> str:
    return ".".join(str(part) for part in path) or "the file"


def _first_words(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).split("\n", maxsplit=1)[0]
