"""The documents as data: their fenced blocks, the commands in them, their links and anchors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from braze_etl.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "fixtures/README.md"])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:braze-etl|make) [^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
_SETTING = re.compile(r"[A-Z_]+=\S+")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and text, and the page and line where it begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """The page's path from the root of the project."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    for match in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])


def command_lines(page: Path, program: str) -> Iterator[list[str]]:
    """The words of each command line of *program* on a page, in blocks and in running text."""
    for block in blocks(page):
        if block.language not in {"yaml", "json", "python"}:
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from _words(line.removeprefix("$ "), program)
    for match in _INLINE.finditer(_FENCE.sub("", page.read_text())):
        yield from _words(match[1].replace("\n", " "), program)


def _words(line: str, program: str) -> Iterator[list[str]]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in a log line or in a comment of another language
        return
    while words and _SETTING.fullmatch(words[0]):
        del words[0]
    ends = (index for index, word in enumerate(words) if word in {"|", ">", "<", "&&", "||", ";", "2>&1"})
    if words and words[0] == program:
        yield words[1 : next(ends, len(words))]


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and what is left of them."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = None if "|" in words[0] else command.get_command(click.Context(command), words[0])
        if below is None:
            break
        command, words = below, words[1:]
    return command, words


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Target and anchor of each link to another file or place of the project."""
    for match in _LINK.finditer(_FENCE.sub("", page.read_text())):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if "://" not in target:
            yield target, anchor


def anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page get."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
