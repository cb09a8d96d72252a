"""Where scenarios are played: the commands of a transcript, and the process and the disk that they are carried out on.

    graph EDGES [key=value]       a b c: nodes in a row; a>b,a>c,b&c>d: edges and a join; kinds: asks=, fails=, writes=
    run INPUT | resume | answer   call it; crash="before commit 2" or "after commit 2" or "in b" kills the process there
    history, state, records       look at the thread
    edit, fork, steal …           what else can be done to it

Every effect of a body is counted outside; ``ran`` shows what ran since the last time it was asked.
"""

from __future__ import annotations

import operator
import time
from typing import Annotated, Any, TypedDict

from walgraph import START, Command, MemoryLog, StateGraph, WalgraphError, interrupt
from walgraph.engine.context import here
from walgraph.wal import Summary
from walgraph.wal.claim import Claims
from walgraph.wal.core import Core
from walgraph.wal.errors import LogClosed
from walgraph.wal.memory_store import MemoryStore
from walgraph.wal.record import RunEnded
from walgraph.wal.store import Store

CONFIG = {"configurable": {"thread_id": "t"}, "max_concurrency": 1}


class Killed(BaseException):
    """The process was killed."""


class State(TypedDict, total=False):
    """What the scenarios' graphs share."""

    trace: Annotated[list[str], operator.add]
    only: str


def commits_when_waited_for(log: Any) -> None:
    """Let the log's flusher never look: only what somebody waits for is committed, and commits can be counted."""
    log._core.committer.flusher.wake = lambda: None
    log._core.committer.flusher.asleep = False


class Stage:
    """Where a scenario is played: a disk, a process on it that can die, and the world outside.

    Args:
        store: The disk; by default one in memory.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        self.ran: list[str] = []
        self.failing: set[str] = set()
        self.commits = 0
        self.commits_of_all = 0
        self.places: list[tuple[int, str]] = []
        self.fate: tuple[str, str] | None = None
        self.dead = False
        self.options: dict[str, Any] = {}
        self.edges = ""
        self.mode = "sync"
        self.old_writer: Any = None
        self._start()

    def __call__(self, verb: str, values: list[Any], options: dict[str, Any]) -> list[str]:
        """Do what a command says, and return what it shows."""
        self.fate = tuple(options.pop("crash").rsplit(" ", 1)) if "crash" in options else None
        self.commits = 0
        try:
            shown = getattr(self, f"do_{verb}")(*values, **options)
        except WalgraphError as error:
            notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("written by")]
            shown = [f"{type(error).__name__} {error.code}", error.message.split(";")[0], *notes]
        except (Killed, RuntimeError) as error:
            shown = [f"{type(error).__name__}: {error}"]
        if self.dead:
            # Whatever the dying process said, nobody heard it.
            shown = ["killed"]
            self._start()
        return shown if isinstance(shown, list) else [shown]

    def _start(self) -> None:
        """Start a process: a new log object over what the disk holds."""
        self.dead = False
        log = MemoryLog(strict=True)
        log._core = Core(self.store, Claims(), interval=0.05, flush_bytes=4 << 20, name="")
        commits_when_waited_for(log)

        def deadly(group: Any) -> Any:
            if self.dead:
                raise Killed
            self.count_commit()
            self.die_at(f"before commit {self.commits}")
            verdicts = type(self.store).commit(self.store, group)
            self.die_at(f"after commit {self.commits}")
            return verdicts

        self.store.commit = deadly  # type: ignore[method-assign]
        self.use(log)

    def use(self, log: Any) -> None:
        """Go on with a log, in a process that has just begun."""
        self.log = log
        if self.edges:
            self.graph = self._compiled()

    def count_commit(self) -> None:
        """Count a commit, for this command and for the scenario."""
        self.commits += 1
        self.commits_of_all += 1

    def die_at(self, place: str) -> None:
        """Die if this is where the command says."""
        if " commit " in place:
            self.places.append((self.commits_of_all, place.partition(" ")[0]))
        if self.fate is not None and place == " ".join(self.fate):
            self.die(place)

    def die(self, place: str) -> None:
        """Kill the process."""
        self.dead = True
        self.log._core.committer.failure = LogClosed("The process is gone.")
        raise Killed(place)

    def _until_siblings_are_recorded(self, name: str) -> None:
        """Wait in a body until the log has what the step's other tasks came to: they are done by another thread."""
        run = here().run
        deadline = time.monotonic() + 10
        while any(
            path not in dict(run.graph.outcomes.items()) for path in run.graph.paths() if path != (name,)
        ):
            if self.dead:
                raise Killed
            assert time.monotonic() < deadline, "the siblings never end"
            time.sleep(0.001)

    def _body(self, name: str) -> Any:
        def body(state: State) -> Any:
            if self.dead:
                raise Killed
            self.ran.append(name)
            if self.fate == ("in", name):
                self._until_siblings_are_recorded(name)
            self.die_at(f"in {name}")
            if name in str(self.options.get("fails", "")) and name not in self.failing:
                self.failing.add(name)
                raise RuntimeError(f"{name} failed")
            if name in str(self.options.get("asks", "")):
                return {"trace": [f"{name}: {interrupt(f'{name}?')}"]}
            if name in str(self.options.get("writes", "")):
                return {"trace": [name], "only": name}
            return {"trace": [name]}

        return body

    def _compiled(self) -> Any:
        graph = StateGraph(State)
        names = sorted(set(self.edges) - set(">,&"))
        for name in names:
            graph.add_node(name, self._body(name))
        for edge in self.edges.split(","):
            start, _, end = edge.partition(">")
            graph.add_edge(start.split("&") if "&" in start else start or START, end)
        return graph.compile(self.log, durability=self.mode)  # type: ignore[arg-type]

    # Verbs

    def do_graph(self, edges: str, mode: str = "sync", **options: Any) -> str:
        """Compile a graph."""
        self.edges, self.mode, self.options = edges, mode, options
        self.graph = self._compiled()
        return "ok"

    def _call(self, given: Any, **options: Any) -> list[str]:
        values = self.graph.invoke(given, CONFIG, **options)
        asked = values.pop("__interrupt__", [])
        return [str(values), *[f"asks {item.value}" for item in asked]]

    def do_run(self, *trace: str, **options: Any) -> list[str]:
        """Run with an input."""
        return self._call({"trace": list(trace)}, **options)

    def do_resume(self, **options: Any) -> list[str]:
        """Carry on what is unfinished."""
        return self._call(None, **options)

    def do_answer(self, answer: str, question: str = "") -> list[str]:
        """Answer the one open question, or one by the number that ``questions`` gave it."""
        if question:
            return self._call(Command(resume={self.asked[question]: answer}))
        return self._call(Command(resume=answer))

    def do_questions(self) -> list[str]:
        """Show the open questions, and remember their ids."""
        found = self.graph.get_state(CONFIG).interrupts
        self.asked = {item.value: item.id for item in found}
        return [item.value for item in found] or ["none"]

    def do_ran(self) -> str:
        """Show which bodies ran since this was asked last."""
        ran, self.ran = self.ran, []
        return " ".join(ran) or "nothing"

    def do_state(self) -> list[str]:
        """Show the thread's state."""
        state = self.graph.get_state(CONFIG)
        return [f"{state.values} next {' '.join(state.next) or 'nothing'}"]

    def do_threads(self) -> list[str]:
        """Show the directory of threads."""
        return [f"{head.thread_id} {head.status}" for head in self.log.threads()] or ["none"]

    def do_history(self) -> list[str]:
        """Show the checkpoints, newest first, numbered from the oldest."""
        found = list(self.graph.get_state_history(CONFIG))
        lines = []
        for number, state in zip(reversed(range(len(found))), found, strict=True):
            following = " ".join(state.next) or "nothing"
            lines.append(f"{number} {state.metadata['source']} {state.values} next {following}")
        return lines

    def do_fork(self, number: int, *trace: str) -> list[str]:
        """Run from an older checkpoint, by its number in the history."""
        state = list(self.graph.get_state_history(CONFIG))[::-1][number]
        values = self.graph.invoke({"trace": list(trace)} if trace else None, state.config)
        return [str(values)]

    def do_edit(self, as_node: str, *trace: str) -> str:
        """Change the thread's state from outside."""
        self.graph.update_state(CONFIG, {"trace": list(trace)}, as_node=as_node)
        return "ok"

    def do_records(self) -> list[str]:
        """Show the thread's records by kind."""
        return [f"{seq} {type(record).__name__}" for seq, record in self.log.read("t")]

    def do_claim(self) -> str:
        """Let somebody else claim the thread, and keep it."""
        self.old_writer = self.log.writer("t")
        return f"epoch {self.old_writer.epoch}"

    def do_append(self) -> str:
        """Let the one who claimed the thread append to it."""
        self.old_writer.append([RunEnded("", 0, "done", None)], Summary())
        self.old_writer.flush()
        return "appended"
