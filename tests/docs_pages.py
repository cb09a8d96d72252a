"""Pages of documentation as something that runs: their code blocks in order, and the output that they claim.

    ```python        run in the page's namespace and folder; if its first line is ``# name.py``, saved there instead
    ```text          directly below a python block: what the block printed
    ```console       ``$ command`` lines with their output; ``wal``, ``walgraph`` and ``python`` are run
                     ``make`` must name a target, ``pip`` is not run
    ```mermaid, …    not looked at

Each page runs in a process and an empty folder of its own. Claimed and real output are compared after what differs
from run to run (times, ids, sizes, paths) was made equal; a line of ``...`` stands for any number of lines.

``python tests/docs_pages.py FILE…`` writes the real output into the pages: read what it changed before you keep it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"^# ([\w./-]+\.py)\n")
TIMEOUT = 60

SAME: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{8,}…?(?=\W|$)"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?\b"), "<time>"),
    (re.compile(r"[+-]?\b\d[\d,.]*\s*(ns|µs|us|ms|s|min|m|h|d)( ago)?\b|\bnow\b|\bjust now\b"), "<span>"),
    (re.compile(r"\b\d[\d,.]*\s*(B|KiB|MiB|GiB|KB|MB|GB|bytes?)\b"), "<size>"),
    (re.compile(r"[+-]?\b\d+\.\d{6}\b"), "<span>"),
    (re.compile(r"\b\d+(?= +(<time>|on disk|inside|are live))"), "<size>"),
    (re.compile(r"\b(was|is|to|free|freed) \d{4,}"), r"\1 <size>"),
    (re.compile(r"\b(pid|process) \d+"), r"\1 <pid>"),
    (re.compile(r"\s*[─━-]{4,}"), " <rule>"),
    (re.compile(r"(?<![\w.])/(?:[\w.+-]+/)*[\w.+-]+"), "<path>"),
    (re.compile(r"[ \t]+"), " "),
]
"""What differs from run to run, and what it is taken for."""

RUNNER = """
import contextlib, io, json, subprocess, sys, types
page = types.ModuleType("page")
sys.modules["page"] = page
results = []
for kind, text in json.load(open(sys.argv[1])):
    if kind == "python":
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(text, "<block>", "exec"), page.__dict__)
        results.append(out.getvalue())
    else:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        ran = subprocess.run(text, **streams, text=True)
        results.append(ran.stdout + ("Killed\\n" if ran.returncode == -9 else ""))
json.dump(results, open(sys.argv[2], "w"))
"""


@dataclass
class Step:
    """One thing to run, what the page claims about its output, and where in the page the claim stands."""

    kind: str
    work: str | list[str]
    claim: str | None
    span: tuple[int, int] = (0, 0)


def pages() -> list[Path]:
    """Return every page of ours; the code in CONTRIBUTING.md shows shapes, and does not run."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", text)


def console(block: str, start: int) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Yield command, claimed output and the output's place, for each ``$`` line of a console block."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    position = start + len(parts[0])
    for command, output in zip(parts[1::2], parts[2::2], strict=True):
        position += len(command) + 3
        yield command.split("  # ")[0].strip(), output, (position, position + len(output))
        position += len(output)


def steps(text: str) -> tuple[dict[str, str], list[Step], list[str]]:
    """Return a page's files to save, its steps, and the make targets that it names."""
    files: dict[str, str] = {}
    found: list[Step] = []
    targets: list[str] = []
    end = -1
    for match in FENCE.finditer(text):
        language, block = match[1], match[2]
        if language == "python" and (name := SAVED.match(block)):
            files[name[1]] = block
        elif language == "python":
            found.append(Step("python", block, None))
            end = match.end()
        elif language == "text" and found and not text[end : match.start()].strip() and end > 0:
            found[-1].claim, found[-1].span = block, match.span(2)
        elif language == "console":
            for command, output, span in console(block, match.start(2)):
                words = command.split()
                if words[0] == "make":
                    targets += words[1:]
                elif words[0] in {"wal", "walgraph"}:
                    found.append(
                        Step("console", [sys.executable, "-m", "walgraph", *words[1:]], output, span)
                    )
                elif words[0] == "python":
                    found.append(Step("console", [sys.executable, *words[1:]], output, span))
                elif words[0] != "pip":
                    raise AssertionError(f"what to do with `{command}`?")
    return files, found, targets


def run(files: dict[str, str], work: list[Step], folder: Path) -> list[str]:
    """Run steps in a folder and return what each printed."""
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    inside = folder / ".run"
    inside.mkdir()
    (inside / "steps.json").write_text(json.dumps([(step.kind, step.work) for step in work]), "utf-8")
    fixed = {"COLUMNS": "110", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    environment = {**os.environ, **fixed}
    given, answer = str(inside / "steps.json"), str(inside / "results.json")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER, given, answer],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    results: list[str] = json.loads((inside / "results.json").read_text("utf-8"))
    return results


def alike(output: str) -> list[str]:
    """Return the lines of an output without what differs from run to run."""
    for pattern, instead in SAME:
        output = pattern.sub(instead, output)
    return [line.strip() for line in output.strip().splitlines()]


def agree(claim: list[str], real: list[str]) -> bool:
    """Return whether the lines match; a claimed ``...`` stands for any lines."""
    if not claim:
        return not real
    if claim[0] == "...":
        return any(agree(claim[1:], real[start:]) for start in range(len(real) + 1))
    return bool(real) and claim[0] == real[0] and agree(claim[1:], real[1:])


def rewrite(path: Path) -> None:
    """Write the real output into a page, where it claims one without ``...``."""
    text = path.read_text("utf-8")
    files, work, _ = steps(text)
    with tempfile.TemporaryDirectory() as folder:
        results = [real.replace(folder, "/srv/app") for real in run(files, work, Path(folder))]
    for step, real in reversed(list(zip(work, results, strict=True))):
        if step.claim is not None and "..." not in step.claim.splitlines():
            kept = "\n".join(line.rstrip() for line in real.rstrip().splitlines())
            trail = "\n" if step.kind == "console" and step.claim.endswith("\n\n") else ""
            text = text[: step.span[0]] + (kept + "\n" if kept else "") + trail + text[step.span[1] :]
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument))
