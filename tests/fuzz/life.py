"""One life of a real process over a real log, which may end at any instant.

    life(Plan, folder)    open the log ─► look at the thread ─► call, answer, resume … ─► the story is over: exit 0
                             every effect of user code: one line in ``ledger``, written before anything else happens

    did KEY NAME SEQ      a body began; the run's state was at SEQ then
    back SEQ              a call returned, or raised what user code had raised, with the thread at SEQ
    asks ID …             these questions are open
    answered ID …         a call that answers them came back
    old SEQ               state was at SEQ so long ago that the flusher must have written it by now

A life is made of its plan alone, so that a seed replays it. How it dies is part of the plan: by its own hand at the
n-th event (a body, or a fault point, such as right before and after each commit), or by that of whoever started it.

Run as a program, it lives in an interpreter of its own: ``python life.py FOLDER PLAN``.
"""

from __future__ import annotations

import ast
import asyncio
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from fault_points.arming import arm
from simulation.graphs import Flaky, Shape, a_shape, build
from simulation.lives import CONFIG, a_function, edit, next_of

from walgraph import AnswerError, Log, LogError, NotSerializable, StaleWriter, ThreadBusy
from walgraph.engine import recorder
from walgraph.engine.context import here
from walgraph.wal.compaction import compact

OVER, UNEXPECTED = 0, 99
"""Exit codes: the story is over; an error that nothing explains, whose text is in the file ``error``."""
LINGER_SECONDS = 0.4
"""How long a life that lingers waits: many times the flusher's interval."""


class Plan(NamedTuple):
    """What a life is to be: the story's part, which all its lives share, then its own."""

    seed: int
    mode: str
    fsync: str
    kind: str
    """``graph``, ``async graph`` or ``function``."""
    snapshots: int
    """How many records there are between snapshots."""
    life: int = 0
    fate: int = 0
    """The event at which the process kills itself; 0 for never."""
    stops: bool = False
    """Whether the process stops itself there instead, until whoever started it lets it go on or kills it."""
    lingers: bool = False
    """Whether it waits for the flusher before it dies."""
    if_busy: str = "raise"
    guest: bool = False
    """Whether another process owns the thread, and this one only resumes and answers."""


def shape_of(plan: Plan) -> Shape:
    """Return the story's graph."""
    shape = a_shape(random.Random(plan.seed).randrange)
    # Ctrl-C within a coroutine ends the whole event loop, which is not what is looked at here.
    nodes = [node._replace(kind="plain") if node.kind == "aborts" else node for node in shape.nodes]
    inner = [
        node if node.inner is None else node._replace(inner=_without_aborts(node.inner)) for node in nodes
    ]
    return shape._replace(nodes=tuple(inner))


def _without_aborts(shape: Shape) -> Shape:
    nodes = [node._replace(kind="plain") if node.kind == "aborts" else node for node in shape.nodes]
    return shape._replace(nodes=tuple(nodes))


class Ledger:
    """The outside of a real process: a file that is only ever appended to, one write to a line."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.plan = plan
        self.events = 0
        self.counts = Counter(line.split(" ")[1] for line in lines(folder) if line.startswith("did "))
        self.descriptor = os.open(folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *words: Any) -> None:
        """Write a line; it survives this process from then on."""
        os.write(self.descriptor, (" ".join(map(str, words)) + "\n").encode())

    def did(self, key: str, name: str) -> int:
        """Note that a body began, and return how often it did before."""
        key = key.replace(" ", "/")
        state = here().run.recorder.state
        self.write("did", key, name.replace(" ", "_"), state.seq)
        times = self.counts[key]
        self.counts[key] += 1
        self.event()
        return times

    def event(self) -> None:
        """Count an event; die if it is the one."""
        self.events += 1
        if self.events != self.plan.fate:
            return
        if self.plan.lingers:
            self._linger()
        os.kill(os.getpid(), signal.SIGSTOP if self.plan.stops else signal.SIGKILL)

    def _linger(self) -> None:
        """Give the flusher the time that it was promised."""
        try:
            seq = here().run.recorder.state.seq
        except Exception:
            # The event is a commit, outside of any task.
            return
        time.sleep(LINGER_SECONDS)
        self.write("old", seq)


def lines(folder: Path) -> list[str]:
    """Return the ledger's whole lines."""
    path = folder / "ledger"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def live(plan: Plan, folder: Path) -> int:
    """Live, unless death comes first; return the exit code."""
    ledger = Ledger(folder, plan)
    arm(lambda _: ledger.event())
    with (
        mock.patch.object(recorder, "SNAPSHOT_RECORDS", plan.snapshots),
        mock.patch.object(recorder, "SNAPSHOT_GROWTH", 0),
    ):
        log = Log.open(folder / "log", fsync=plan.fsync, strict=True, map_size=1 << 28)  # type: ignore[arg-type]
        code = _tell(plan, ledger, log, folder)
        log.close()
    return code


def _tell(plan: Plan, ledger: Ledger, log: Log, folder: Path) -> int:
    """Carry the story on until it is over."""
    shape = shape_of(plan)
    is_crowded = (folder / "crowd").exists()
    chance = random.Random(plan.seed * 1000 + plan.life)
    if plan.kind == "function":
        graph = a_function(shape, ledger, log, plan.mode)
    else:
        asynchronous = plan.kind == "async graph"
        graph = build(shape, ledger, asynchronous=asynchronous).compile(log, durability=plan.mode)  # type: ignore[arg-type]
    begun = (graph.get_state(CONFIG).metadata or {}).get("turn", 0)
    for turn in range(begun, shape.turns):
        while True:
            act = next_of(graph, shape, turn, chance, alone=not is_crowded)
            if act.do == "rest":
                # Under another name first, since the other process may be killed while it writes the same.
                (folder / f"values-{os.getpid()}").write_text(repr(act.given))
                (folder / f"values-{os.getpid()}").replace(folder / "values")
                break
            if plan.guest and act.do in {"start", "edit"}:
                # Only one of two processes may begin something: the other cannot know that it was begun already.
                return OVER
            ledger.write("asks", *act.asked)
            try:
                if act.do == "edit":
                    edit(graph, act.given)
                else:
                    _call(plan, graph, act.given, {"turn": turn} if act.do == "start" else {})
            except (ThreadBusy, AnswerError, StaleWriter):
                # The other process was faster; without it this would be an error of its own.
                if not is_crowded:
                    raise
                time.sleep(0.001)
                continue
            except (Flaky, NotSerializable):
                # What user code raises is an end like any other: what was done before is kept.
                pass
            ledger.write("back", log.head("thread").seq)  # type: ignore[union-attr]
            ledger.write("answered", *act.answered)
    return OVER


def _call(plan: Plan, graph: Any, given: Any, metadata: dict[str, Any]) -> None:
    # Only the run that begins a turn notes which it is: a resume by a process that is behind would say it wrongly.
    config = {**CONFIG, "metadata": metadata}
    if plan.kind == "async graph":
        asyncio.run(graph.ainvoke(given, config, if_busy=plan.if_busy))
    elif plan.life % 3 == 0:
        for _ in graph.stream(given, config, stream_mode=["updates", "values"], if_busy=plan.if_busy):
            pass
    else:
        graph.invoke(given, config, if_busy=plan.if_busy)


def live_and_exit(plan: Plan, folder: Path) -> None:
    """Live in this process, to its end."""
    code = UNEXPECTED
    try:
        code = live(plan, folder)
    except LogError as error:
        if (folder / "crowd").exists() and "taken over" in str(error):
            code = OVER
        else:
            (folder / "error").write_text(traceback.format_exc())
    except BaseException:
        (folder / "error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def compact_and_exit(folder: Path) -> None:
    """Compact the log while others live on it, to the end of this process."""
    code = UNEXPECTED
    try:
        with Log.open(folder / "log", fsync="off", map_size=1 << 28) as log:
            for _ in range(8):
                head = log.head("thread")
                if head is not None:
                    compact(log, {"thread": head.seq})
                time.sleep(0.001)
        code = OVER
    except BaseException:
        (folder / "error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


if __name__ == "__main__":
    live_and_exit(Plan(*ast.literal_eval(sys.argv[2])), Path(sys.argv[1]))
