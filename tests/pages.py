"""The pages in Markdown, their code blocks, and the commands in them.

The first word after ``` says what a block is:

shell      commands
console    commands after "$ " and what they print; "..." stands for what is left out
others     code and pictures; the second word is the block's name
"""

import re
import shlex
from typing import NamedTuple

from conftest import PROJECT_DIR

DOCS_DIR = PROJECT_DIR / "docs"
PAGES = [
    *(PROJECT_DIR / "README.md", PROJECT_DIR / "CONTRIBUTING.md"),
    *sorted(DOCS_DIR.glob("*.md")),
]

COMMANDS = ("shell", "console")
BLOCK = re.compile(r"^ *```(.*)\n((?:.*\n)*?) *```$", re.M)
INLINE = re.compile(r"`((?:python |make |train_\w+\.py --)[^`]*)`")


class Block(NamedTuple):
    """A code block: what is after its ```, and its lines."""

    info: str
    text: str

    @property
    def name(self):
        return self.info.rpartition(" ")[2]


class Command(NamedTuple):
    """A command line, and the lines that the page says it prints."""

    line: str
    output: list

    @property
    def words(self):
        return shlex.split(self.line, comments=True)


def read(page):
    return page.read_text(encoding="utf-8")


def blocks(page):
    return [Block(*found) for found in BLOCK.findall(read(page))]


def named_blocks(page):
    """The text of the blocks that are not commands, by name."""
    return {b.name: b.text for b in blocks(page) if b.info not in COMMANDS}


def commands(block):
    """The commands of a `shell` or `console` block."""
    found = []
    for line in block.text.replace("\\\n", "").splitlines():
        if found and is_open(found[-1].line):
            found[-1] = found[-1]._replace(line=f"{found[-1].line}\n{line}")
        elif block.info == "shell":
            found.append(Command(line, []))
        elif line.startswith("$ "):
            found.append(Command(line[2:], []))
        else:
            found[-1].output.append(line)
    return [command for command in found if command.words]


def is_open(line):
    """Whether a quotation goes on in the next line."""
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False


def commands_in_blocks(page):
    return [
        command
        for block in blocks(page)
        if block.info in COMMANDS
        for command in commands(block)
    ]


def commands_in_text(page):
    """The commands between two backticks, with the `python` that some leave out."""
    text = BLOCK.sub("", read(page))
    lines = [" ".join(line.split()) for line in INLINE.findall(text)]
    return [
        Command(f"python {line}" if line.startswith("train_") else line, [])
        for line in lines
    ]
