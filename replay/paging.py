"""Moving outcomes out of memory, as they become many: from a state to the same state with pages, and their blobs.

    outcomes of an open step ──► final ones, a page's worth at a time ──► blobs, named by the snapshot of the state
                             └─► all others, and what fills no page     stay in memory, and in the snapshot itself

Invariants:
1. A state with pages equals the state without them.
2. Nothing is stored here: whoever asks for pages stores their blobs together with a snapshot that names them.
3. What may still change, or is looked for among all outcomes (questions, waits, intents), is in no page.

It must not decide when there is a snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.codec import Encoder
from ..wal.named import NamedTuple
from ..wal.record import Path, Reference
from .ledger import Ledger
from .page import write
from .pages import RUN_LENGTH, Leaf, Pages
from .plain_outcome import outcome_to_plain
from .state import FINISHED, KEPT, OUTCOMES, Outcome, ThreadState, with_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..wal.blob import Blob
    from ..wal.codec import Decoder

PAGE_OUTCOMES = 512
"""How many outcomes fill a page."""
PAGE_BYTES = 128 * 1024
"""… unless they weigh this much before."""


class Paged(NamedTuple):
    """A state whose outcomes lie in pages as far as they fill some, and the blobs that are to be stored for that.

    ``moved`` has, for each scope, what went into new pages.
    """

    state: ThreadState
    blobs: tuple[Blob, ...]
    moved: dict[str, dict[Path, Outcome]]


def paged(state: ThreadState, decoder: Decoder) -> Paged:
    """Return the state with as many outcomes in pages as fill some."""
    blobs: list[Blob] = []
    scopes, moved = dict(state.scopes), {}
    for scope, graph in state.scopes.items():
        outcomes = graph.outcomes
        if outcomes.recency < PAGE_OUTCOMES:
            continue
        pages = outcomes.pages or Pages(decoder)
        gone, made = _filled(outcomes, pages, blobs)
        if made:
            rest = [(path, outcome) for path, outcome in outcomes.recent() if path not in gone]
            new = Ledger.over(pages.adding(made), rest)
            scopes[scope], moved[scope] = with_field(graph, OUTCOMES, new), gone
    return Paged(state._replace(scopes=scopes), tuple(blobs), moved)


def adopted(now: ThreadState, done: Paged) -> ThreadState:
    """Return the state of now, which came from the one that was paged, without what lies in pages meanwhile."""
    scopes = dict(now.scopes)
    for scope, gone in done.moved.items():
        graph, then = scopes.get(scope), done.state.scopes[scope]
        if graph is None or graph.base != then.base or not graph.outcomes:
            # The step is over, and with it its outcomes.
            continue
        rest = [(path, outcome) for path, outcome in graph.outcomes.recent() if gone.get(path) is not outcome]
        scopes[scope] = with_field(graph, OUTCOMES, Ledger.over(then.outcomes.pages, rest))
    return now._replace(scopes=scopes)


def _filled(
    outcomes: Ledger[Outcome], pages: Pages, blobs: list[Blob]
) -> tuple[dict[Path, Outcome], list[tuple[Leaf, bytes]]]:
    """Return what fills pages, and the pages; add their blobs, and those that these name."""
    encoder = Encoder()
    gone: dict[Path, Outcome] = {}
    made: list[tuple[Leaf, bytes]] = []
    batch: dict[Path, tuple[Outcome, bytes]] = {}
    inner: list[Blob] = []
    size = 0
    for path, outcome in outcomes.recent():
        # One that lies in a page already has come to something else since, and stays in memory for good.
        if not _is_final(path, outcome) or pages.get(path) is not None:
            continue
        packed = encoder.value([list(path), outcome_to_plain(outcome)])
        batch[path] = outcome, packed.data
        inner += packed.blobs
        size += len(packed.data)
        if len(batch) == PAGE_OUTCOMES or size >= PAGE_BYTES:
            leaf, blob = _leaf({held: data for held, (_, data) in batch.items()})
            made.append((leaf, blob.data))
            blobs += (*inner, blob)
            gone.update((held, each) for held, (each, _) in batch.items())
            batch, inner, size = {}, [], 0
    return gone, made


def _is_final(path: Path, outcome: Outcome) -> bool:
    """Return whether an outcome is that of a call which came to an end, and of which nothing is open."""
    return (
        outcome.status in {FINISHED, KEPT}
        and outcome.call is not None
        and len(path) > 1
        and not (outcome.questions or outcome.answers or outcome.waits)
        and outcome.intent is None
    )


def _leaf(batch: dict[Path, bytes]) -> tuple[Leaf, Blob]:
    """Return a page of these entries: the loose ones first, then the runs."""
    numbers: dict[Path, list[int]] = {}
    for path in batch:
        if isinstance(path[-1], int):
            numbers.setdefault(path[:-1], []).append(path[-1])
    runs = [(caller, *ends) for caller, held in numbers.items() for ends in _runs(held)]
    within = {(*caller, number) for caller, first, last in runs for number in range(first, last + 1)}
    loose = [path for path in batch if path not in within]
    order: Sequence[Path] = [*loose, *(path for path in batch if path in within)]
    blob = write([(path, batch[path]) for path in order], list(dict.fromkeys(path[:-1] for path in loose)))
    reference = Reference(blob.digest, len(blob.data))
    return Leaf(reference, len(batch), len(loose), tuple(runs)), blob


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last of each long run of consecutive numbers."""
    ends: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ends and ends[-1][1] == number - 1:
            ends[-1] = (ends[-1][0], number)
        else:
            ends.append((number, number))
    return [(first, last) for first, last in ends if last - first + 1 >= RUN_LENGTH]
