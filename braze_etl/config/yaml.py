"""YAML as data in which every value keeps its place, and `${NAME}` in such data, replaced after parsing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import PurePath
from typing import Any, Final, NamedTuple, TypeAlias

import yaml

from braze_etl.config.secrets import is_secret, key_alone
from braze_etl.quoting import visible

KeyPath: TypeAlias = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.(?:\d+|inf|nan)", re.IGNORECASE)


_MOST_VALUES: Final = 20_000
_DEEPEST: Final = 100
_LONGEST_KEY: Final = 80
_NO_TEXT: Final = re.compile("[\\0\ud800-\udfff]")
_NAMED: Final = re.compile(r" ?'(?!<)[^']{2,}'")
"""What YAML quotes in a complaint: it may be a secret that nobody has put in quotes."""


class Place(NamedTuple):
    """A line of a file; `file` is empty for the configuration itself, `line` 0 for values of a program."""

    file: str
    line: int

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else "as given"
        return f"{self.file} {line}" if self.file else line


class Problem(NamedTuple):
    """A mistake, in words that begin with the key."""

    place: Place
    words: str


class NoYamlError(ValueError):
    """A file that can't be taken apart; its argument is the `Problem`."""


class Variables:
    """Replaces `${NAME}` and `${NAME:-default}` in the texts of a tree of data."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.unset: dict[KeyPath, str] = {}
        """The name of the variable that a value still waits for; until then its text stays."""
        self.no_text: list[KeyPath] = []
        """Values that hold NUL, or half a surrogate pair; they are None."""
        self.texts: list[tuple[KeyPath, str]] = []
        """Every text, as it is in the end."""
        self.from_environment: set[str] = set()

    def resolve(self, value: Any, path: KeyPath = ()) -> Any:
        """Give the *value* at *path* with all variables replaced, as far as they are set."""
        if isinstance(value, dict):
            return {key: self.resolve(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self.resolve(each, (*path, index)) for index, each in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) else value

    @property
    def fingerprint(self) -> str:
        """Tells all texts from other ones, and nothing of them."""
        return sha256(repr(self.texts).encode()).hexdigest()

    def _text(self, text: str, path: KeyPath) -> str | None:
        replaced = _VARIABLE.sub(lambda match: self._value(match, path), text)
        if text and not replaced:
            return None
        self.texts.append((path, replaced))
        if _NO_TEXT.search(replaced):
            self.no_text.append(path)
            return None
        return replaced

    def _value(self, match: re.Match[str], path: KeyPath) -> str:
        name, default = match[1], match[2]
        value = self._environ.get(name) or default
        if value is None:
            self.unset[path] = name
            return match[0]
        self.from_environment.add(value)
        return value


def texts_in(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Give every text of a tree of data, with its path."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts_in(each, (*path, key))
    elif isinstance(value, str):
        yield path, value


def variables_in(text: str) -> list[str]:
    """The names of the variables that stand in a text."""
    return [match[1] for match in _VARIABLE.finditer(text)]


class YamlReader:
    """Reads files into one tree of data; `places` are by path from its root."""

    def __init__(self) -> None:
        self.places: dict[KeyPath, Place] = {(): Place("", 1)}
        self.problems: list[Problem] = []
        self._above: list[yaml.Node] = []
        self._values = 0

    def read(self, text: str, *, file: str = "", root: KeyPath = ()) -> dict[str, Any]:
        """Read a file whose keys belong below *root*; empty when it has no keys, which is a problem.

        Raises `NoYamlError`.
        """
        try:
            loader = _BoundedLoader(text)
            node = loader.get_single_node()
            data = {} if node is None else self._value(loader, node, root, file)
        except yaml.YAMLError as error:
            place = Place(file, _line_of(error, text))
            raise NoYamlError(Problem(place, f"no valid YAML: {_first_words(error)}")) from None
        if not isinstance(data, dict):
            self.problems.append(Problem(Place(file, 1), "the file must be a mapping of keys to values"))
            return {}
        return data

    def take(self, value: Any, path: KeyPath = ()) -> Any:
        """Take over the *value* at *path* that stands in no file, with dicts and lists of its own."""
        self.places[path] = Place("", 0)
        if isinstance(value, Mapping):
            return {str(key): self.take(each, (*path, str(key))) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.take(each, (*path, index)) for index, each in enumerate(value)]
        return str(value) if isinstance(value, PurePath) else value

    def place(self, path: KeyPath) -> Place:
        """The place of a value, or of the nearest one above that has one."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, file: str) -> Any:
        place = Place(file, node.start_mark.line + 1)
        self._values += 1
        if self._values > _MOST_VALUES:  # aliases of aliases
            raise _too_many(node.start_mark)
        if any(each is node for each in self._above):
            self.problems.append(Problem(place, f"{dotted(path)}: an alias stands inside of what it names"))
            return None
        self._above.append(node)
        try:
            return self._content(loader, node, path, place)
        finally:
            self._above.pop()

    def _content(self, loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, place: Place) -> Any:
        file = place.file
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(loader, node, path, file))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.places[(*path, index)] = Place(file, item.start_mark.line + 1)
            return [self._value(loader, item, (*path, index), file) for index, item in enumerate(node.value)]
        try:
            value = loader.construct_object(node)
        except (ValueError, LookupError, AttributeError, ArithmeticError):
            # So PyYAML takes what is no number, date or bool.
            kind = node.tag.rpartition(":")[2]
            self.problems.append(Problem(place, f"{dotted(path)} can't be read: YAML takes it for a {kind}"))
            return None
        if path[:1] == ("mapping",) and _is_ambiguous(node):
            taken = "it for something else" if is_secret(path) else f"{node.value} for {value!r}"
            words = f"{dotted(path)}: YAML takes {taken}; put it in quotes, or write that"
            self.problems.append(Problem(place, words))
        return value

    def _items(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: KeyPath, file: str
    ) -> Iterator[tuple[str, Any]]:
        loader.flatten_mapping(node)
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key, place = _key_text(key_node), Place(file, key_node.start_mark.line + 1)
            if key in seen:
                self.problems.append(Problem(place, f"{dotted((*path, key))} is given twice"))
            seen.add(key)
            self.places[(*path, key)] = place
            yield key, self._value(loader, value_node, (*path, key), file)


class _BoundedLoader(yaml.SafeLoader):
    """Stops where a file would take for ever; the bounds are far beyond what people write."""

    _nodes = _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._nodes, self._depth = self._nodes + 1, self._depth + 1
        if self._nodes > _MOST_VALUES or self._depth > _DEEPEST:
            mark = self.get_mark()
            raise _too_many(mark) if self._depth <= _DEEPEST else _too_much("nests too deep", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def scan_flow_scalar(self, style: str) -> Any:
        try:
            return super().scan_flow_scalar(style)
        except (ValueError, OverflowError):
            raise _too_much("an escape stands for no character", self.get_mark()) from None

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MOST_VALUES:  # merges of merges
            raise _too_many(node.start_mark)


def _too_much(words: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=words, problem_mark=mark)


def _too_many(mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return _too_much(f"more than {_MOST_VALUES:,} values, aliases counted as often as they stand", mark)


def dotted(path: KeyPath) -> str:
    """A path as people write it: `mapping.rules[0].drop`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_short(part)}" for part in path)
    return text.removeprefix(".") or "the file"


def _short(key: str) -> str:
    key = key_alone(key)
    return visible(key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}...")


def _is_ambiguous(node: yaml.Node) -> bool:
    """Whether YAML 1.1 reads something else in a bare word than the person may have meant: no, 012, 12:30."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return False
    kind = node.tag.rpartition(":")[2]
    if kind == "bool":
        return node.value.lower() not in ("true", "false")
    return kind in ("int", "float") and _NUMBER.fullmatch(node.value) is None


def _key_text(node: yaml.Node) -> str:
    """A key as its file has it: `true` and `1` are keys like any other."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    raise _too_much("a key must be a text", node.start_mark)


def _first_words(error: yaml.YAMLError) -> str:
    words = str(getattr(error, "problem", None) or error).split("\n", maxsplit=1)[0]
    return _NAMED.sub("", words)


def _line_of(error: yaml.YAMLError, text: str) -> int:
    mark = getattr(error, "problem_mark", None)
    # A character that YAML refuses has a position and no mark.
    return mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
