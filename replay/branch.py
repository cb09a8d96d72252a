"""How a branch begins: the thread as it was at a moment, brought to the head of its log.

    moment (a ThreadState)              records of one frame
    ""            the root         ──►  Forked("", …, whole)        everything before is over, subgraphs too
    fetch:4f…     known graph      ──►  Forked(fetch:9a…, …)        its state, with the outcomes of its open step
    load:07…      unknown graph    ──►  its records again           under the new name, since nobody here can fold them

A task's id is made of the barrier that its step follows, and the branch's barriers are new. So all ids that are made
of task ids change with them: namespaces of subgraphs, the calls that run them, and questions. A subgraph is bound to
its caller by its namespace, so that renaming is all that it takes for the caller to find it again.

Invariants:
1. What had ended at the moment does not run again on the branch; what came after it does, under new ids.
2. The new ids are known before anything is appended: they are made of the seqs that the records will have.
3. Subgraphs that were not going on at the moment come along as of their last barrier, if they keep a history.

It must not read a log, nor decide which moment is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wal.named import NamedTuple
from ..wal.record import (
    Forked,
    RunEnded,
    RunResumed,
    RunStarted,
    StateEdited,
    StepCommitted,
    TaskAnswered,
    TaskInterrupted,
)
from .identity import lives_one_step, question_id, task_id
from .ledger import Ledger
from .plain import graph_from_plain, graph_to_plain
from .scopes import above, base_of, caller, is_current
from .state import Unread, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..wal.record import Path, Question, Record
    from .state import GraphState, Outcome, ThreadState


class Branch(NamedTuple):
    """The records that begin a branch, and what became of the names of the moment.

    Args:
        records: To be appended in one frame, right behind the head.
        scopes: Namespace then → namespace on the branch.
        questions: Question id then → question id on the branch.
    """

    records: list[Record]
    scopes: dict[str, str]
    questions: dict[str, str]


def branch(
    thread: str, seq: int, at: int, moment: ThreadState, *, how: str = "fork", scope: str = ""
) -> Branch:
    """Return the records of a branch.

    Args:
        thread: The thread's id.
        seq: The seq of its head.
        at: The time.
        moment: The thread as the branch is to begin.
        how: ``fork`` if the graph's checkpoint is one of its own; ``branch`` if an input or an edit follows in the same
            frame, which then is the checkpoint; ``copy`` for one that stands beside its origin.
        scope: The graph that ``how`` is said of; the graphs around it are forked.
    """
    made = _Making(thread, seq, at, moment)
    for name in sorted({*moment.scopes, *moment.unread}):
        made.bring(name, scope, how)
    return Branch(made.records, made.scopes, made.questions)


def is_copied(state: ThreadState, thread: str) -> bool:
    """Return whether a thread's state was copied from another thread, and nothing was written to the copy yet."""
    return bool(state.thread) and state.thread != thread


def adopted(thread: str, state: ThreadState) -> tuple[ThreadState, dict[str, str]]:
    """Return the state of a copied thread under its own id, and question id before → question id now.

    Nothing else about it changes: its barriers and checkpoints are those that were copied.
    """
    made = _Making(thread, 0, None, state)
    for name in sorted({*state.scopes, *state.unread}):
        made.rename(name)
    scopes = {made.scopes[name]: graph for name, graph in made.graphs.items()}
    unread = {made.scopes[name]: held for name, held in made.unread.items()}
    return state._replace(scopes=scopes, unread=unread, thread=thread), made.questions


def stripped(graph: GraphState) -> GraphState:
    """Return a graph's state as of its last barrier, without what its open step has come to."""
    return graph._replace(opened=False, outcomes=Ledger(), ended=None, reason=None)


class _Making:
    """A branch in the making: what is known of names so far, outer graphs first."""

    def __init__(self, thread: str, seq: int, at: int | None, moment: ThreadState) -> None:
        self.thread = thread
        self.before = moment.thread or thread
        """The id that the thread had at the moment, which is another one in a copy."""
        self.seq = seq
        self.at = at
        self.moment = moment
        self.records: list[Record] = []
        self.scopes: dict[str, str] = {}
        self.questions: dict[str, str] = {}
        self.tasks: dict[str, str] = {}
        self.bases: dict[str, int] = {}
        """Namespace then → the barrier that its open step follows on the branch."""
        self.graphs: dict[str, GraphState] = {}
        self.unread: dict[str, Unread] = {}
        """Of a thread that is only renamed: what it consists of, by the namespaces then."""

    def add(self, record: Record) -> int:
        """Take a record on, and return the seq that it will have."""
        self.records.append(record)
        return self.seq + len(self.records)

    def bring(self, scope: str, aim: str, how: str) -> None:
        """Bring one graph along, if it goes on or keeps a history, and before it the one that runs it."""
        is_going_on = is_current(self.moment, scope)
        if scope in self.scopes or (not is_going_on and lives_one_step(scope)):
            return
        if is_going_on and scope:
            self.bring(above(self.moment, scope), aim, how)
        if scope:
            self._name_callers(scope)
        new = self.scopes[scope] = self._renamed(scope)
        graph = self.moment.scopes.get(scope)
        if graph is not None:
            graph = graph if is_going_on else stripped(graph)
            self._fork(new, graph, graph.base, how if scope == aim else "fork")
            self.bases[scope] = self.seq + len(self.records)
        self._repeat(scope, new, listed(self.moment.unread.get(scope)), whole=is_going_on)

    def rename(self, scope: str) -> None:
        """Take one graph over as it is, under the name that it has in another thread."""
        if scope in self.scopes:
            return
        if scope and is_current(self.moment, scope):
            self.rename(above(self.moment, scope))
            self._name_callers(scope)
        new = self.scopes[scope] = self._renamed(scope)
        graph = self.moment.scopes.get(scope)
        then = 0
        if graph is not None:
            self.graphs[scope] = self._moved(new, graph, graph.base)._replace(ended=graph.ended)
            then = graph.base
        renamed: Unread | None = None
        for each in listed(self.moment.unread.get(scope)):
            then = each.seq if _is_barrier(each.record) else then
            renamed = Unread(renamed, each.seq, self._again(scope, new, then, then, each.record))
        if renamed is not None:
            self.unread[scope] = renamed
        self.bases[scope] = then

    def _name_callers(self, scope: str) -> None:
        """Note the new ids of the tasks that run a subgraph: of the one that called it, and of those around that."""
        path, outer = caller(self.moment, scope), above(self.moment, scope)
        if path is None or outer not in self.bases:
            return
        then, now = base_of(self.moment, outer), self.bases[outer]
        for length in range(1, len(path) + 1):
            self._name(outer, self.scopes[outer], then, now, path[:length])

    def _name(self, old_scope: str, new_scope: str, then: int, now: int, path: Path) -> tuple[str, str]:
        old = task_id(self.before, old_scope, then, path)
        new = self.tasks[old] = task_id(self.thread, new_scope, now, path)
        return old, new

    def _renamed(self, text: str) -> str:
        """Return a namespace or a call with the new ids of the tasks in it."""
        for old, new in self.tasks.items():
            if old in text:
                text = text.replace(old, new)
        return text

    def _fork(self, new: str, graph: GraphState, origin: int, how: str) -> None:
        """Add a graph's state under its new name."""
        state = self._moved(new, graph, self.seq + len(self.records) + 1)
        assert self.at is not None
        self.add(Forked(new, self.at, origin, how, graph_to_plain(state), not new))

    def _moved(self, new: str, graph: GraphState, base: int) -> GraphState:
        """Return a graph's state with the names that it has on the branch, where ``base`` is its barrier."""
        old = next((held for held, name in self.scopes.items() if name == new), new)
        # Those in pages asked nothing, so they are the same under any name.
        outcomes: Ledger[Outcome] = Ledger.over(graph.outcomes.pages, ())
        for path, outcome in graph.outcomes.recent():
            moved = outcome
            if outcome.questions or outcome.answers:
                ids = self._name(old, new, graph.base, base, path)
                questions = tuple(self._asked(question, *ids) for question in outcome.questions)
                answers = tuple((self.questions.get(key, key), answer) for key, answer in outcome.answers)
                moved = outcome._replace(questions=questions, answers=answers)
            outcomes = outcomes.put(path, moved)
        run = self._renamed(graph.run) if new else graph.run
        outer = None if graph.above is None else self._renamed(graph.above)
        return graph._replace(outcomes=outcomes, run=run, above=outer, ended=graph.ended if new else None)

    def _asked(self, question: Question, old: str, new: str) -> Question:
        """Return a question with the id that the task will ask it by, and note that it changed."""
        if question.id != question_id(old, question.position):
            # It was asked by a graph of which nothing is kept, which asks anew.
            return question
        moved = question._replace(id=question_id(new, question.position))
        self.questions[question.id] = moved.id
        return moved

    def _repeat(self, old: str, new: str, held: Sequence[Unread], *, whole: bool) -> None:
        """Add the records of a graph again that nobody here knows, under its new name."""
        if not whole:
            barriers = [place for place, each in enumerate(held) if _is_barrier(each.record)]
            held = held[: barriers[-1] + 1] if barriers else ()
        graph = self.moment.scopes.get(old)
        then = 0 if graph is None else graph.base
        now = self.bases.get(old, 0)
        for each in held:
            record = each.record
            is_barrier = _is_barrier(record)
            if is_barrier:
                then, now = each.seq, self.seq + len(self.records) + 1
            self.add(self._again(old, new, then, now, record))
        self.bases[old] = now

    def _again(self, old: str, new: str, then: int, now: int, record: Any) -> Record:
        """Return one record with the names that it has on the branch."""
        is_timed = self.at is not None and isinstance(record, _TIMED)
        record = record._replace(scope=new, at=self.at) if is_timed else record._replace(scope=new)
        match record:
            case RunStarted():
                outer = None if record.above is None else self._renamed(record.above)
                run = self._renamed(record.run)
                return record._replace(run=run, above=outer)
            case RunResumed():
                return record._replace(run=self._renamed(record.run))
            case Forked():
                begun = graph_from_plain(record.state)._replace(base=then)
                return record._replace(state=graph_to_plain(self._moved(new, begun, now)))
            case TaskInterrupted(_, path, questions):
                ids = self._name(old, new, then, now, path)
                asked = tuple(self._asked(question, *ids) for question in questions)
                return record._replace(questions=asked)
            case TaskAnswered(_, _, answers):
                given = tuple((self.questions.get(key, key), answer) for key, answer in answers)
                return record._replace(answers=given)
            case _:
                return record  # type: ignore[no-any-return]  # of any kind


_TIMED = (RunStarted, RunResumed, StepCommitted, RunEnded, StateEdited, Forked)
"""Records with the thread's time, which never runs backwards."""


def _is_barrier(record: Record) -> bool:
    match record:
        case RunStarted() | StepCommitted() | Forked() | StateEdited(how="update" | "clear" | "input"):
            return True
        case _:
            return False
