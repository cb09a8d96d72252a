"""Recovers what a crash left, with the library's own code, and compares it with what had been acknowledged.

    python -m powerloss.examine      reads one task a line: {"folder": …, "marks": […], "resume": bool}
                                     answers one line each: a list of what is wrong, empty if nothing is

Each folder is examined in a child of its own, since a damaged file can end a process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from lmdb.verify import verify as verify_pages
from powerloss import copies
from powerloss.counting import STEPS, config_of, counter, finish, values_of

from walgraph import Log, LogStore
from walgraph.wal.backup import manifests
from walgraph.wal.backup_target import open_target
from walgraph.wal.restore import check, restore
from walgraph.wal.verify import verify


class Promise:
    """What had been acknowledged of one log."""

    def __init__(self) -> None:
        self.is_made = False
        self.steps: dict[str, int] = {}
        self.gone: set[str] = set()
        self.items: dict[str, int] = {}
        self.backups: dict[int, dict[str, int]] = {}
        self.pruned = 0
        """Backups older than this one may be gone."""
        self.damaged = ""
        """The digest of a damaged file that must not be lost."""
        self.is_mended = True


def promises(marks: Iterable[str]) -> dict[str, Promise]:
    """Return what marks say, by log."""
    found: dict[str, Promise] = {}
    for line in marks:
        word, log, *rest = line.split()
        promise = found.setdefault(log, Promise())
        promise.is_made = True
        if word == "step":
            promise.steps[rest[0]] = max(int(rest[1]), promise.steps.get(rest[0], 0))
        elif word == "leave":
            promise.steps.pop(rest[0], None)
        elif word == "gone":
            promise.gone.add(rest[0])
        elif word == "item":
            promise.items[rest[0]] = int(rest[1])
        elif word == "kept":
            held = [each.partition("=") for each in rest[1].split(",")]
            promise.backups[int(rest[0])] = {thread: int(n) for thread, _, n in held}
        elif word == "pruning":
            promise.pruned = int(rest[0])
        elif word == "damaged":
            promise.damaged, promise.is_mended = rest[0], False
        elif word == "mended":
            promise.is_mended = True
    return found


def examine(folder: Path, marks: Iterable[str], *, resume: bool) -> list[str]:
    """Return what is wrong with a folder of logs."""
    wrong: list[str] = []
    promised = promises(marks)
    there = {path.name for path in folder.iterdir() if copies.is_log(path) or path.name == "backups"}
    for name in sorted(there | set(promised)):
        promise = promised.get(name, Promise())
        if not (folder / name).exists():
            wrong.append(f"{name}: it is gone")
            continue
        if promise.damaged:
            wrong += _damaged(folder / name, promise)
        look = _backups if name == "backups" else _log
        wrong += [f"{name}: {text}" for text in look(folder / name, promise, resume=resume)]
    return wrong


def _damaged(path: Path, promise: Promise) -> list[str]:
    """See that a damaged file is still somewhere, and repair the log if that had not been done."""
    places = [path, *path.parent.glob(f"{path.name}.damaged-*")]
    if not any(copies.digest(place) == promise.damaged for place in places if (place / "data.mdb").exists()):
        return [f"{path.name}: the damaged file is nowhere"]
    if not promise.is_mended:
        copies.repair(path)
    return []


def _backups(path: Path, promise: Promise, *, resume: bool) -> list[str]:
    """See that each backup is there and whole; with ``resume``, make logs of them."""
    target = open_target(path)
    there = [manifest.generation for manifest in manifests(target)]
    wrong = [
        f"backup {generation} is gone"
        for generation in promise.backups
        if generation >= promise.pruned and generation not in there
    ]
    if not there:
        return wrong
    check(target)
    for generation in there if resume else ():
        restored = path.with_name(f"from-{generation}")
        restore(target, restored, generation=generation)
        held = Promise()
        held.steps = promise.backups.get(generation, {})
        wrong += [f"{generation}: {text}" for text in _log(restored, held, resume=False)]
    return wrong


def _log(path: Path, promise: Promise, *, resume: bool) -> list[str]:
    wrong = [f"pages: {text}" for text in verify_pages(str(path))]
    if wrong:
        return wrong
    with Log.open(path, create=False) as log:
        wrong += [f"verify: {problem}" for problem in verify(log, structure=False).problems]
        graph = counter(log)
        threads = {head.thread_id for head in log.threads()}
        for thread in sorted(threads | set(promise.steps)):
            least = promise.steps.get(thread, 0)
            values = graph.get_state(config_of(thread)).values if thread in threads else {}
            n = values.get("n", 0)
            if n < least:
                wrong.append(f"thread {thread} had got as far as {least}, and is at {n}")
            elif n and dict(values) != values_of(n):
                wrong.append(f"thread {thread} at {n} has other values: {str(values)[:200]}")
            if thread in promise.gone:
                wrong.append(f"thread {thread} had been deleted, and is there")
            if resume and n and finish(graph, thread) != values_of(STEPS):
                wrong.append(f"thread {thread} carried on and ended otherwise")
        for key, least in promise.items.items():
            item = LogStore(log).get(("a",), key)
            if item is None or item.value["n"] < least:
                wrong.append(f"item {key} had been {least}, and is {item and item.value}")
    return wrong


def in_child(folder: Path, marks: list[str], *, resume: bool) -> list[str]:
    """Examine a folder in a child process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        signal.alarm(60)
        try:
            wrong = examine(folder, marks, resume=resume)
        except BaseException as error:
            wrong = ["".join(traceback.format_exception(error))]
        with os.fdopen(writer, "w") as answer:
            json.dump(wrong, answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    status = os.waitpid(child, 0)[1]
    if status or not text:
        return [f"the process that looked at it ended by {status}"]
    found: list[str] = json.loads(text)
    return found


if __name__ == "__main__":
    for line in sys.stdin:
        task = json.loads(line)
        print(
            json.dumps(in_child(Path(task["folder"]), task["marks"], resume=task["resume"])),
            flush=True,
        )
