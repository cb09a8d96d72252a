"""One moment of a log, held still: whoever looks for long sees no half of what is written meanwhile.

    with still(log) as moment: …        moment is a log for reading, as it stands now, whatever others write

Invariants:
1. Everything that is read within is of one state of all tables (``wal.still_tables``).
2. The log itself is not closed with the moment, nor the moment with the log.

This module must not know what is looked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .core import Core
from .log import Log
from .still_tables import StillStore, held
from .table_store import TableStore


class _StillCore(Core):
    """What the moment's log object needs of a core; committer and claims are the log's own."""

    def __init__(self, core: Core, store: StillStore) -> None:
        self.store = store
        self.claims = core.claims
        self.committer = core.committer
        self.vault = core.vault
        self.is_encrypted = core.is_encrypted
        self.name = core.name
        self.fsync = core.fsync
        self.references = 1
        self.closed = False
        self.forked = False

    def release(self) -> None:
        """Leave everything open, since nothing here is its own."""


@contextlib.contextmanager
def still(log: Log) -> Iterator[Log]:
    """Hand out a log for reading that stays as it is now.

    Raises:
        LogCorrupt: LMDB itself found damage while reading.
    """
    log.flush()
    store = log.store
    assert isinstance(store, TableStore), "every store of ours is one over tables"
    with held(store) as tables:
        moment = StillStore(store, tables)
        options = log.options._replace(readonly=True)
        yield Log(_StillCore(log.core, moment), path=log.path, options=options)
