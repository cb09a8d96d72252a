"""The documentation is true: its code runs, its output is what the code prints, its tables are what the code says.

Parts that follow from the code stand in the pages between two marks, ``<!-- generated: name -->`` and ``<!-- end -->``.
With ``WALGRAPH_WRITE_DOCS=1`` in the environment they are written anew instead of compared.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from docs_pages import ROOT, agree, alike, pages, prose, run, steps
from survival.pages import short, whole

import walgraph
from walgraph.engine import errors as engine_errors
from walgraph.replay import errors as replay_errors
from walgraph.tools import errors as tool_errors
from walgraph.wal import (
    backup_format,
    blob,
    due,
    envelope,
    exporting,
    frame,
    item_layout,
    keyspace,
    mail_layout,
    record,
    saved_record,
    schedule_layout,
    store,
    submission_layout,
    tables,
    tagged,
    values,
    wire,
)
from walgraph.wal import errors as wal_errors

PAGES = pages()
ERRORS = (wal_errors, replay_errors, engine_errors, tool_errors)
GENERATED = re.compile(r"<!-- generated: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")
SENTENCES = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!\d)[.!?] +[A-Z]")


def name_of(path: Path) -> str:
    """Return how a page is called in the list of tests."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """Every python and console block is run, in order, and what is shown below it is what it printed."""
    files, work, _ = steps(page.read_text("utf-8"))
    if not work:
        return
    for step, real in zip(work, run(files, work, tmp_path), strict=True):
        if step.claim is not None:
            claim = alike(step.claim)
            assert agree(claim, alike(real)), f"claimed:\n{step.claim}\nprinted:\n{real}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_names_only_make_targets_that_exist(page: Path) -> None:
    """``make`` commands in the documentation are targets of the Makefile."""
    text = page.read_text("utf-8")
    named = {*steps(text)[2], *re.findall(r"`make (\w+)`", text)}
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_links_only_to_files_that_exist(page: Path) -> None:
    """Relative links lead somewhere."""
    targets = [match[1] for match in LINK.finditer(prose(page.read_text("utf-8")))]
    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", [path for path in PAGES if "docs" in path.parts], ids=name_of)
def test_a_page_of_docs_has_one_sentence_per_line(page: Path) -> None:
    """A changed sentence is then a changed line, and nothing else is."""
    lines = prose(GENERATED.sub("", page.read_text("utf-8"))).splitlines()
    assert [line for line in lines if not line.startswith("|") and SENTENCES.search(line)] == []


def docstring(module: ModuleType) -> str:
    """Return a module's docstring as a text block."""
    return f"```text\n{inspect.getdoc(module)}\n```\n"


def error_table() -> str:
    """Return the table of all errors with a code: from the classes, and from the trees in their modules' headers."""
    rows = []
    for module in ERRORS:
        for cls in own_errors(module):
            owner = re.search(rf"\b{cls.__name__}\s+{cls.code}\s+([\w ]+): ", module.__doc__ or "")
            assert owner is not None, f"{module.__name__} does not say who must act on {cls.__name__}"
            rows.append((cls.code, cls.__name__, owner[1], (cls.__doc__ or "").splitlines()[0]))
    lines = [f"| {code} | `{name}` | {owner} | {text} |" for code, name, owner, text in sorted(rows)]
    return "\n".join(["| code | error | who must act | what happened |", "|---|---|---|---|", *lines, ""])


def own_errors(module: ModuleType) -> Iterator[type[walgraph.WalgraphError]]:
    """Yield a module's own error classes that have a code of their own."""
    for name, cls in vars(module).items():
        is_error = isinstance(cls, type) and issubclass(cls, walgraph.WalgraphError) and "code" in vars(cls)
        # Another name of an error is no other error.
        is_own = is_error and cls.__module__ == module.__name__ and cls.__name__ == name
        if is_own and cls is not walgraph.WalgraphError:
            yield cls


def module_list() -> str:
    """Return every module with the first line of its header, layer by layer, the lowest first."""
    lines = []
    for layer in ("wal", "replay", "engine", "tools"):
        lines += [f"### {layer}", "", "| module | what it is |", "|---|---|"]
        for path in sorted((ROOT / layer).glob("*.py")):
            header = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            if path.name != "__init__.py":
                lines.append(
                    f"| `{path.name}` | {header.splitlines()[0].replace('``', '`').replace('|', '/')} |"
                )
        lines.append("")
    return "\n".join(lines)


def field_list(kinds: dict[str, tuple[str, ...]]) -> str:
    """The names of things, and their fields in order."""
    return "".join(f"- `{name}`: {', '.join(fields)}\n" for name, fields in kinds.items())


def table_names() -> str:
    """The tables' names in LMDB, in the order of their constants."""
    constants = [
        "META",
        "THREADS",
        "NAMES",
        "LOG",
        "SNAPS",
        "BLOBS",
        "MARKS",
        "ITEMS",
        "CACHED",
        "SUBMITTED",
        "MAIL",
        "DUE",
        "SCHEDULED",
    ]
    names = [each.decode() for each in (*tables.TABLE_NAMES, *tables.LATER_NAMES)]
    assert [getattr(tables, each) for each in constants] == list(range(len(names)))
    return ", ".join(f"{constant} `{name}`" for constant, name in zip(constants, names, strict=True)) + "\n"


def kind_list() -> str:
    """Each kind of record with its number and its fields."""
    kinds = {number: (kind.__name__, kind._fields) for kind, number in record.NUMBERS.items()}
    kinds |= {number: (kind.__name__, kind._fields) for number, kind in saved_record.SAVED_KINDS.items()}
    return "".join(
        f"- {number} `{name}`: {', '.join(fields)}\n" for number, (name, fields) in sorted(kinds.items())
    )


SOURCES = {
    "tables": lambda: docstring(tables),
    "names": table_names,
    "keyspace": lambda: docstring(keyspace),
    "rows": lambda: field_list({"Row": store.Row._fields, "Position": store.Position._fields}),
    "kinds": kind_list,
    "wire": lambda: docstring(wire),
    "values": lambda: docstring(values),
    "blob": lambda: docstring(blob),
    "envelope": lambda: docstring(envelope),
    "modules": module_list,
    "record": lambda: docstring(record),
    "frame": lambda: docstring(frame),
    "saved": lambda: docstring(saved_record),
    "items": lambda: docstring(item_layout),
    "backup": lambda: docstring(backup_format),
    "mail": lambda: docstring(mail_layout),
    "submissions": lambda: docstring(submission_layout),
    "schedules": lambda: docstring(schedule_layout),
    "due": lambda: docstring(due),
    "export": lambda: docstring(exporting),
    "tagged": lambda: docstring(tagged),
    "errors": error_table,
    "survives": short,
    "survival": whole,
}


@pytest.mark.parametrize("page", [p for p in PAGES if "<!-- generated" in p.read_text("utf-8")], ids=name_of)
def test_a_generated_part_is_what_the_code_says(page: Path) -> None:
    """The format on disk is described in the docstrings that own it; pages only repeat them."""
    text = page.read_text("utf-8")
    fresh = GENERATED.sub(lambda m: f"<!-- generated: {m[1]} -->\n{SOURCES[m[1]]()}<!-- end -->", text)
    if os.environ.get("WALGRAPH_WRITE_DOCS"):
        page.write_text(fresh, "utf-8")
    else:
        assert text == fresh, "run this test with WALGRAPH_WRITE_DOCS=1 and read what it changed"


def test_every_error_code_belongs_to_one_error() -> None:
    """A code that is looked up leads to one explanation."""
    codes = [cls.code for module in ERRORS for cls in own_errors(module)]
    assert len(codes) == len(set(codes))


def test_a_claim_with_dots_leaves_lines_out() -> None:
    """A line of three dots stands for any number of lines, and for nothing else."""
    assert agree(["a", "...", "c"], ["a", "b", "b", "c"])
    assert agree(["...", "c"], ["c"])
    assert not agree(["a", "...", "d"], ["a", "b", "c"])


def test_times_and_ids_may_differ_and_nothing_else() -> None:
    """Loose comparison is loose about what changes from run to run only."""
    one = "order at 2026-01-02T03:04:05Z took 3.1 ms, 88 B, id 0123456789abcdef in /tmp/a/orders.wal"
    two = "order at 2027-11-12T13:14:15Z took 12 ms, 4.2 KiB, id fedcba9876543210 in /var/b/orders.wal"
    assert alike(one) == alike(two)
    assert alike("3 threads") != alike("4 threads")
