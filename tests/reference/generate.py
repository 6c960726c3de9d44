"""`make reference`: writes docs/reference.md, which says what the code says and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import BaseModel

from braze_etl.cli import cli
from braze_etl.engine.exits import EXIT_CODES
from braze_etl.engine.report import WARNINGS
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.mapping.limits import REPAIRS
from braze_etl.model import Outcome, Reason
from braze_etl.monitoring.metrics import METRICS

PAGE = Path(__file__).parents[2] / "docs/reference.md"
_INTRODUCTION = """# Reference

Written by `make reference` from the code; a test fails when the two differ.

[Commands](#commands) · [configuration](#configuration) · [exit codes](#exit-codes) · [reasons](#reasons) ·
[warnings](#warnings) · [repairs](#repairs) · [metrics](#metrics)
"""


def reference() -> str:
    """The whole page."""
    sections = (
        _INTRODUCTION,
        *_commands(),
        *_configuration(),
        *_exit_codes(),
        *_reasons(),
        *_names(),
        *_metrics(),
    )
    return "\n".join(section.rstrip("\n") + "\n" for section in sections)


def commands(
    command: click.Command = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that name it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from commands(below, (*path, name))


def keys(
    model: type[BaseModel] = Settings, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel], str]]:
    """Every key that holds a value: the path of its section, the section, and its own name."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        if below := _section(field.annotation):
            model_below, mark = below
            yield from keys(model_below, (*path, key + mark))
        else:
            yield path, model, key


def _section(annotation: Any) -> tuple[type[BaseModel], str] | None:
    """The model behind a key, and `[]` where there may be several of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    models = [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    return (models[0], "[]" if Ellipsis in get_args(annotation) else "") if models else None


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield "`braze-etl --version` shows the version; `--help` (`-h`) works everywhere.\n"
    for path, command in commands():
        yield f"### braze-etl {' '.join(path)}\n"
        usage = " ".join(piece for piece in command.collect_usage_pieces(click.Context(command)))
        yield f"`braze-etl {' '.join(path)} {usage}`\n"
        yield _plain(command.help or "") + "\n"
        options = [param for param in command.params if isinstance(param, click.Option)]
        rows = [_option_row(option) for option in options]
        yield _table(("option", "value", "default", "says"), rows)


def _option_row(option: click.Option) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = (
        ""
        if option.is_flag
        else f"`{option.make_metavar(click.Context(cli)).strip('[]')}`".replace("|", "\\|")
    )
    return (
        names,
        value + (", repeatable" if option.multiple else ""),
        _option_default(option),
        _plain(option.help or ""),
    )


def _option_default(option: click.Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.envvar, str):
        return f"`${option.envvar}`"
    default = option.to_info_dict()["default"]
    shown = (
        () if default in (None, False, "", ()) or not isinstance(default, str | int | float) else (default,)
    )
    return "".join(f"`{value}`" for value in shown)


def _configuration() -> Iterator[str]:
    yield "## Configuration\n"
    yield (
        "One YAML file; `${NAME}` and `${NAME:-text}` are replaced from the environment.\n"
        "`braze-etl config schema` prints the JSON Schema for editors. Durations: `90s`, `50m`, `48h`,\n"
        "`7d`; sizes: `500KB`, `18MB`; counts: `500k`, `10M`; shares: `80%`; hours (UTC): `2026-10-01T05`.\n"
        "`[]` marks a list of such sections.\n"
    )
    sections: dict[tuple[str, ...], tuple[type[BaseModel], list[str]]] = {}
    for path, model, key in keys():
        sections.setdefault(path, (model, []))[1].append(key)
    for path, (model, names) in sections.items():
        yield f"### {'.'.join(path) or 'Top level'}\n"
        yield _plain(model.__doc__ or "") + "\n"
        yield _table(("key", "value", "default", "says"), _key_rows(model, names))


def _key_rows(model: type[BaseModel], names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    whole = model.model_json_schema()
    schema = (whole if "properties" in whole else whole["anyOf"][-1])["properties"]
    defaults = model.model_construct().model_dump(mode="json", by_alias=True, warnings=False)
    for name in names:
        required = not any(
            (field.alias or key) == name and not field.is_required()
            for key, field in model.model_fields.items()
        )
        default = "required" if required else _value(defaults[name])
        yield f"`{name}`", _notation(schema[name]), default, _plain(schema[name].get("description", ""))


def _notation(schema: dict[str, Any]) -> str:
    """The type of a key as people write it."""
    if alternatives := schema.get("anyOf"):
        if "18MB" in str(schema) or "10M" in str(schema) or "%" in str(alternatives[0].get("examples", "")):
            return _notation(alternatives[0])
        return " or ".join(dict.fromkeys(_notation(part) for part in alternatives))
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
        return ", ".join(f"`{value}`" for value in values)
    if examples := schema.get("examples"):
        return _NOTATIONS[examples[0]]
    if schema.get("type") == "array":
        return f"list of {_notation(schema.get('items', {}))}"
    return _WORDS.get(str(schema.get("type")), "any value") + _bounds(schema)


_NOTATIONS = {
    "48h": "duration",
    "18MB": "size",
    "10M": "count",
    "80%": "share",
    "2026-10-01T05": "hour",
    "dask://scheduler:8786": "address",
}
_WORDS = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "`true`, `false`",
    "null": "`null`",
    "object": "keys and values",
}


def _bounds(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" {least} to {most}"
    return f" from {least}" if least is not None else ""


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower()}`" if value is not None else "`null`"
    if value in ("", [], {}):
        return "none"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "`--ok-exit 3,4` (or `BRAZE_ETL_OK_EXIT`) makes those 0, for schedulers that know red and green.\n"
    yield _table(("code", "meaning"), ((str(code), _plain(words)) for code, words in EXIT_CODES.items()))


def _reasons() -> Iterator[str]:
    yield "## Reasons\n"
    yield "Each belongs to one outcome for good; filters come in the order of checking.\n"
    ordered = [reason for outcome in Outcome for reason in Reason if reason.outcome is outcome]
    rows = ((f"`{reason}`", reason.outcome.value, _plain(reason.meaning)) for reason in ordered)
    yield _table(("reason", "outcome", "meaning"), rows)


def _names() -> Iterator[str]:
    yield "## Warnings\n"
    yield "In the run report's `warnings`, each with a count.\n"
    yield _table(("warning", "counts"), ((f"`{name}`", _plain(words)) for name, words in WARNINGS.items()))
    yield "## Repairs\n"
    yield "In the run report's `repairs`: what was mended before an event was sent.\n"
    yield _table(("repair", "meaning"), ((f"`{name}`", _plain(words)) for name, words in REPAIRS.items()))


def _metrics() -> Iterator[str]:
    yield "## Metrics\n"
    yield "Each has the label `pipeline` too. How they are exposed: [monitoring](monitoring.md).\n"
    rows = (
        (
            f"`{metric.name}`",
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels),
            _plain(metric.help),
        )
        for metric in METRICS
    )
    yield _table(("metric", "kind", "labels", "says"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _plain(text: str) -> str:
    """Text of the code as one line that a Markdown table can hold; what stands in backticks is left alone."""
    pieces = " ".join(text.replace("\b", "").split()).replace("|", "\\|").split("`")
    return "`".join(
        piece if index % 2 else piece.replace("<", "&lt;").replace("*", "\\*")
        for index, piece in enumerate(pieces)
    )


if __name__ == "__main__":
    PAGE.write_text(reference())
