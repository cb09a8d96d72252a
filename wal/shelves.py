"""What a store over tables has beside the records: items, mail, handed-over runs, schedules; made when asked for.

Most programs have none, and so never load what reads and writes them.

It must not know what items or messages are.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .tables import CACHED, ITEMS, SUBMITTED, Tables

if TYPE_CHECKING:
    from .items import Items
    from .schedules import Schedules
    from .submissions import Submissions
    from .table_mail import TableMail


class Shelves:
    """The tables as a whole; what stores, caches and mailboxes keep beside the records, and runs handed over."""

    _tables: Tables

    @property
    def all_tables(self) -> Tables:
        """What keeps the tables; for what copies or mends a log as a whole."""
        return self._tables

    @cached_property
    def items(self) -> Items:
        """What stores keep."""
        return _shelf(self._tables, ITEMS)

    @cached_property
    def cached(self) -> Items:
        """What caches keep."""
        return _shelf(self._tables, CACHED)

    def has_submissions(self) -> bool:
        """Tell whether a run was ever handed over."""
        return self._tables.prepare(SUBMITTED, create=False)

    @cached_property
    def submissions(self) -> Submissions:
        """The runs that were handed over."""
        from .submissions import Submissions

        return Submissions(self._tables)

    @cached_property
    def schedules(self) -> Schedules:
        """What is to be handed over again and again."""
        from .schedules import Schedules

        return Schedules(self._tables, self.submissions)

    @cached_property
    def mail(self) -> TableMail:
        """The signals that wait for threads."""
        from .table_mail import TableMail

        return TableMail(self._tables)

    def renew_shelves(self) -> None:
        """Forget the shelves, with whoever waited at them; for a forked child, which lacks those threads."""
        for name in ("items", "cached"):
            vars(self).pop(name, None)


def _shelf(tables: Tables, table: int) -> Items:
    from .table_items import TableItems

    return TableItems(tables, table)
