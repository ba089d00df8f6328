"""The project's pages as data: their text without code, code spans, code blocks, links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CAPTION = re.compile(r"^`(?P<file>[^`\n]+)`:\n\n?$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ASSIGNMENT = re.compile(r"[A-Z_]+=")  # before a command: a variable for it
COMMENT = re.compile(r"(?:^|\s)#.*$")


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is what the line right above it names: `path`:"""

    language: str
    text: str
    file: str


@dataclass(frozen=True)
class Page:
    """One markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        return [Block(m["language"], m["text"], self._caption(m.start())) for m in FENCE.finditer(self.text)]

    @cached_property
    def prose(self) -> str:
        """The page without its blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def spans(self) -> list[str]:
        return SPAN.findall(self.prose)

    @cached_property
    def links(self) -> list[str]:
        return LINK.findall(SPAN.sub("", self.prose))

    @cached_property
    def anchors(self) -> set[str]:
        """The names under which a code host offers the headings."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(self.prose)}

    def section(self, heading: str) -> str:
        """The text below a heading, up to the next of the same level."""
        mark, _, title = heading.partition(" ")
        found = re.search(rf"^{mark} {re.escape(title)}\n(.*?)(?=^{mark} |\Z)", self.text, re.MULTILINE | re.DOTALL)
        assert found, f"{self.name} has no {heading!r}"
        return found[1]

    def commands(self, program: str) -> Iterator[list[str]]:
        """Every call of a program, as words, in spans and in blocks without a language."""
        lines = [line for block in self.blocks if not block.language for line in block.text.splitlines()]
        for text in [*self.spans, *lines]:
            for part in re.split(r"&&|\|\|?|;", COMMENT.sub("", text)):
                words = list(dropwhile(ASSIGNMENT.match, _words(part)))
                if words and Path(words[0]).name == program:
                    yield words[1:]

    def _caption(self, start: int) -> str:
        above = self.text[:start].splitlines(keepends=True)[-2:]
        found = CAPTION.search("".join(above))
        return found["file"] if found else ""


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # prose with an apostrophe
        return []


def pages() -> list[Page]:
    """README, docs/, and the README of each prompt flow."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("flows/*/README.md")]
    return [Page(path) for path in sorted(found)]


def page(name: str) -> Page:
    return Page(ROOT / name)
