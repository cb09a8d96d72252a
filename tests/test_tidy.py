"""How walgraph is written, as tests: what the linter has no rule for, each rule with the reason or the replacement.

Rules are functions from one source file to its offences. Each is run twice: over the repository, where it must find
nothing, and over a few lines that break it, where it must find something. So a rule that has gone blind is noticed.

Invariants:
1. Limits are never raised to fit code. Code that does not fit is split, or a missing noun is found.
2. Exceptions are named, one by one, with the reason beside them.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["wal", "replay", "engine", "tools"]
"""The package's parts, each of which may import those before it."""
FOLDERS = [*LAYERS, "tests", "bench", "examples"]

FILE_LINES = 500
FUNCTION_LINES = 70
PARAMETERS = 7

WIDE = {"add_node", "compile", "invoke", "ainvoke", "stream", "astream"}
"""Methods of the engine's public classes, as wide as LangGraph's, so that changing an import is enough to port."""

CLOCK = "take the time from the record or the driver: time enters only through records"
CHANCE = "derive it (replay.identity), or take it from the driver: the same input gives the same id"
BYTES = "encode with wal.codec: a pickle runs code when it is read"
BANNED = {
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "datetime.date.today": CLOCK,
    "os.urandom": CHANCE,
    "random": CHANCE,
    "secrets": CHANCE,
    "uuid.uuid1": CHANCE,
    "uuid.uuid4": CHANCE,
    "print": "return text, or publish an event: only tools talk",
    "pickle": BYTES,
    "cloudpickle": BYTES,
    "dill": BYTES,
    "marshal": BYTES,
    "shelve": BYTES,
}
"""Dotted name (with all that lies below it) → what to use instead."""

APART = ("tools/", "tests/", "bench/", "examples/")
RANDOM = (
    "engine/recorded.py",
    "engine/session.py",  # a run that nobody named gets an id before anything of it is recorded
    "engine/submit.py",  # the same of a run that is handed over
    "engine/attempt.py",  # delays before a retry are jittered
    "engine/messages.py",  # a message gets its id when a task has returned it, before the log
    "wal/",  # the id of a frame must not repeat, and means nothing
)
ALLOWED: dict[str, tuple[str, ...]] = {
    # One clock for the engine; the log stamps frames, items and signals, and items live until a time.
    CLOCK: (
        *APART,
        *(
            "engine/clock.py",
            "wal/table_store.py",
            "wal/table_items.py",
            "wal/item_view.py",
            "wal/mail.py",
            "wal/table_mail.py",
        ),
        "wal/backup.py",  # a backup notes when it was made
        "wal/watch.py",  # a wish that is older than a run is not meant for it
    ),
    CHANCE: (*APART, *RANDOM),
    BANNED["print"]: (*APART, "engine/stream.py"),  # ``print_mode`` is for terminals
    BYTES: (),
}
"""Replacement → the folders and files that may do without it."""

MARKERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file: its path below the root, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @property
    def layer(self) -> str:
        """The top folder; empty for the modules of the root itself."""
        return self.path.rpartition("/")[0].partition("/")[0]

    @property
    def packaged(self) -> bool:
        """Whether the file is shipped."""
        return self.layer in {"", *LAYERS}

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the tree."""
        return list(ast.walk(self.tree))

    def functions(self) -> Iterator[Function]:
        """Yield each function and method, nested ones too."""
        for node in self.nodes:
            if isinstance(node, Function):
                yield node

    def at(self, node: ast.AST, problem: str) -> str:
        """Return the problem with its place before it, as editors link it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {problem}"


Rule = Callable[[Source], Iterator[str]]


@cache
def repository() -> list[Source]:
    """Return every Python file of ours; what tools make (.venv, build) lies outside these folders."""
    paths = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in sorted(paths)]


def short_files(source: Source) -> Iterator[str]:
    """A file fits in one sitting."""
    lines = source.text.count("\n")
    if lines > FILE_LINES:
        yield f"{source.path}: {lines} lines, at most {FILE_LINES}: split it by what its parts are about"


def short_functions(source: Source) -> Iterator[str]:
    """A function fits on a screen; its docstring is not counted."""
    for function in source.functions():
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        first = function.body[0]
        if ast.get_docstring(function, clean=False) is not None:
            lines -= (first.end_lineno or first.lineno) - first.lineno + 1
        if lines > FUNCTION_LINES:
            yield source.at(function, f"{function.name} has {lines} lines, at most {FUNCTION_LINES}")


def few_parameters(source: Source) -> Iterator[str]:
    """More than seven parameters mean that a noun is missing."""
    for function in source.functions():
        if source.layer == "engine" and function.name in WIDE:
            continue
        arguments = function.args
        names = [a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > PARAMETERS:
            yield source.at(function, f"{function.name} takes {count} parameters, at most {PARAMETERS}")


def module_docstrings(source: Source) -> Iterator[str]:
    """The top of a file tells how to think about it."""
    if not ast.get_docstring(source.tree):
        yield f"{source.path}: no docstring at the top: say what this is, and what it must not do"


def claims(source: Source) -> Iterator[str]:
    """A test states its claim in a sentence."""
    if source.layer in {"tests", "bench"}:
        for function in source.functions():
            if function.name.startswith("test_") and not ast.get_docstring(function):
                yield source.at(function, f"{function.name} has no docstring: state the claim in one line")


def imports(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """Yield each import as (statement, dotted name); relative ones of the package begin with ``walgraph``."""
    folder = ["walgraph", *source.path.split("/")[:-1]]
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            start = ".".join([*base, *filter(None, [node.module])])
            yield from ((node, f"{start}.{alias.name}") for alias in node.names)


def import_direction(source: Source) -> Iterator[str]:
    """Layers import downwards, deferred imports and those for types included; nobody imports the root."""
    if source.layer in LAYERS:
        below = LAYERS[: LAYERS.index(source.layer) + 1]
        for node, name in imports(source):
            top, _, rest = name.partition(".")
            if top == "walgraph" and rest.partition(".")[0] not in below:
                yield source.at(node, f"{source.layer} imports {name}, it may import {', '.join(below)}")


def import_style(source: Source) -> Iterator[str]:
    """Inside the package imports are relative, outside they are absolute: so nothing is ever loaded twice."""
    for node in source.nodes:
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        named += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        absolute = any(name.partition(".")[0] == "walgraph" for name in named)
        if source.packaged and absolute:
            yield source.at(node, "import walgraph inside walgraph: use a relative import")
        if relative and not source.packaged:
            yield source.at(node, "a relative import outside the package: use import walgraph")


def banned_names(source: Source) -> Iterator[str]:
    """What would break a promise is named together with its replacement."""
    known: dict[str, str] = {}
    seen: list[tuple[ast.AST, str]] = []
    for node in source.nodes:
        if isinstance(node, ast.Import):
            known |= {
                (a.asname or a.name).partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                for a in node.names
            }
            seen += [(node, alias.name) for alias in node.names if alias.name in BANNED]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            seen += [(node, f"{node.module}.{alias.name}") for alias in node.names]
    seen += [
        (node, dotted(node, known)) for node in source.nodes if isinstance(node, ast.Name | ast.Attribute)
    ]
    for node, name in seen:
        instead = BANNED.get(name) or BANNED.get(name.partition(".")[0])
        if instead and not source.path.startswith(ALLOWED[instead]):
            yield source.at(node, f"{name}: {instead}")


def dotted(node: ast.expr, known: dict[str, str]) -> str:
    """Return the full name that the expression refers to, as far as imports tell; empty if they do not."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id if node.id == "print" else "")
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, known)
        return f"{base}.{node.attr}" if base else ""
    return ""


def markers(source: Source) -> Iterator[str]:
    """What is left to do is in the tracker, not in the code."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if found := MARKERS.search(line):
            yield f"{source.path}:{number}: {found[0]}: do it, or write down why it is not needed"


def module_names(source: Source) -> Iterator[str]:
    """A module named like a standard one shadows it when a script beside it is run."""
    stem = Path(source.path).stem
    if stem in sys.stdlib_module_names and not stem.startswith("__"):
        yield f"{source.path}: the standard library has a module {stem}: choose another name"


BROKEN: list[tuple[Rule, str, str]] = [
    (short_files, "wal/a.py", "x = 1\n" * (FILE_LINES + 1)),
    (short_functions, "wal/a.py", "def f():\n    '''Say so.'''\n" + "    x = 1\n" * FUNCTION_LINES),
    (few_parameters, "wal/a.py", "def f(a, b, c, d, *, e, f, g, h): ..."),
    (few_parameters, "wal/a.py", "class A:\n    def invoke(self, a, b, c, d, e, f, g, h): ..."),
    (module_docstrings, "wal/a.py", "x = 1"),
    (claims, "tests/test_a.py", "async def test_that_it_holds(): ..."),
    (import_direction, "wal/a.py", "from ..engine import loop"),
    (import_direction, "replay/deep/a.py", "def f():\n    from ...tools.cli import main"),
    (import_direction, "engine/a.py", "from .. import StateGraph"),
    (import_style, "engine/a.py", "import walgraph.wal"),
    (import_style, "__init__.py", "from walgraph.wal import log"),
    (import_style, "tests/a.py", "from .helpers import a_log"),
    (banned_names, "wal/a.py", "import time\ntime.time()"),
    (banned_names, "replay/a.py", "from time import time_ns as now"),
    (banned_names, "wal/a.py", "import datetime as d\nf(default=d.datetime.now)"),
    (banned_names, "engine/a.py", "from uuid import uuid4"),
    (banned_names, "engine/a.py", "import random\nrandom.Random(1)"),
    (banned_names, "engine/a.py", "print('here')"),
    (banned_names, "tests/a.py", "import pickle"),
    (banned_names, "tools/a.py", "from pickle import loads"),
    (markers, "wal/a.py", "# " + "TO" + "DO: later"),
    (module_names, "engine/signal.py", ""),
]
"""Rule, path and text: the least that each rule must object to."""

FINE: list[tuple[Rule, str, str]] = [
    (
        short_functions,
        "wal/a.py",
        "def f():\n    '''" + "\n" * 99 + "'''\n" + "    x = 1\n" * (FUNCTION_LINES - 1),
    ),
    (few_parameters, "wal/a.py", "class A:\n    def f(self, a, b, c, d, e, f, g): ..."),
    (few_parameters, "engine/a.py", "class A:\n    def invoke(self, a, b, c, d, e, f, g, h): ..."),
    (import_direction, "engine/a.py", "from ..wal import log\nfrom .task import run\nimport os"),
    (banned_names, "wal/a.py", "import time\ntime.monotonic()\nself.random.time.time()"),
    (banned_names, "tools/a.py", "import time\nprint(time.time())"),
    (markers, "wal/a.py", "code = 'WAL-EXXX'"),
    (module_names, "engine/signals.py", ""),
]
"""What looks alike and is allowed."""

RULES = list(dict.fromkeys(rule for rule, _, _ in BROKEN))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule: Rule) -> None:
    """No file of ours breaks it."""
    assert "\n".join(offence for source in repository() for offence in rule(source)) == ""


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN, ids=range(len(BROKEN)))
def test_a_rule_objects_to_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    """Each rule still sees what it is for."""
    assert list(rule(Source(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), FINE, ids=range(len(FINE)))
def test_a_rule_allows_what_only_looks_alike(rule: Rule, path: str, text: str) -> None:
    """No rule sees more than it is for."""
    assert list(rule(Source(path, text))) == []


def test_every_package_folder_is_shipped() -> None:
    """The explicit list of packages is the list of our folders that are packages, and nothing else is."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = [
        path.parent.relative_to(ROOT).parts
        for layer in LAYERS
        for path in (ROOT / layer).rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(["walgraph", *(".".join(["walgraph", *parts]) for parts in folders)])


def test_tests_are_not_packages() -> None:
    """A package below the root would be importable as a part of walgraph, and its tests would run twice."""
    assert [
        path for folder in ["tests", "bench", "examples"] for path in (ROOT / folder).rglob("__init__.py")
    ] == []
