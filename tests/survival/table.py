"""What survives what: each fault, what we say of it, and the tests that show it.

    MODES        faults by durability mode and ``fsync``; the README's table, and the first of docs/durability.md
    DAMAGE       every kind of damaged or foreign input, and what it comes to
    RESOURCES    what the system, or another process, does to us

A test is named as pytest names it, below ``tests``; one without its parameters stands for all of them. How each ended,
and how much it tried, is in ``results.json`` (``survival.recording``); the pages are made of both (``survival.pages``).
"""

from __future__ import annotations

from typing import NamedTuple

POWER = "powerloss/test_powerloss.py::test_what_was_acknowledged_is_there_after_a_loss_of_power"
LATE = "powerloss/test_powerloss.py::test_without_a_flush_of_the_meta_page_at_most_the_last_commit_is_lost"
UNFLUSHED = "powerloss/test_powerloss.py::test_what_is_not_flushed_is_found_missing"
LOOPS = "fuzz/test_crash_loops.py::test_no_promise_is_broken_by_killing_processes"
PAGES = "wal/test_damage.py::test_damage_of_a_page_kills_nobody_and_loses_nothing_in_silence"
DURABILITY = "engine/test_durability.py::"
ENVIRONMENT = "wal/test_environment.py::"
RESOURCE = "wal/test_resources.py::"
DAMAGED = "wal/test_damage.py::"
STOPPED = "wal/test_stopped.py::"
PROCESSES = "wal/test_processes.py::"


class Cell(NamedTuple):
    """What we say, and the tests that show it."""

    says: str
    tests: tuple[str, ...]


class Row(NamedTuple):
    """A fault, and a cell for each column; one cell stands for all columns."""

    fault: str
    cells: tuple[Cell, ...]


def row(fault: str, *cells: Cell) -> Row:
    """Return a row."""
    return Row(fault, cells)


def cell(says: str, *tests: str) -> Cell:
    """Return a cell."""
    return Cell(says, tests)


COLUMNS = ("`sync`", "`async`", "`exit`", '`fsync="data"`', '`fsync="off"`')
NOTHING = "nothing is lost"
WINDOW = "the last flush window"
RUN = "the run"
LAST = "the last commit, perhaps"
SAME_KILL = cell("as its mode says", LOOPS)

MODES = (
    row(
        "exception, interrupt, drain",
        cell(NOTHING, DURABILITY + "test_a_call_that_returns_has_flushed"),
        cell(NOTHING, DURABILITY + "test_a_call_that_returns_has_flushed"),
        cell(NOTHING, DURABILITY + "test_a_call_that_returns_has_flushed"),
        cell(NOTHING, DURABILITY + "test_a_call_that_returns_has_flushed"),
        cell(NOTHING, DURABILITY + "test_a_call_that_returns_has_flushed"),
    ),
    row(
        "process killed",
        cell(NOTHING, DURABILITY + "test_sync_has_recorded_everything_before_the_next_node_runs", LOOPS),
        cell(WINDOW, DURABILITY + "test_async_loses_no_more_than_its_window", LOOPS),
        cell(RUN, DURABILITY + "test_exit_has_recorded_nothing_when_it_is_killed", LOOPS),
        SAME_KILL,
        SAME_KILL,
    ),
    row(
        "power lost; writes torn at 512 bytes, lost, reordered",
        cell(NOTHING, f"{POWER}[sync]", f"{POWER}[group]"),
        cell(WINDOW, f"{POWER}[async]"),
        cell(RUN, f"{POWER}[exit]"),
        cell(LAST, LATE),
        cell("perhaps the log", f"{UNFLUSHED}[sync-off-faults0]", f"{UNFLUSHED}[group-off-faults1]"),
    ),
    row(
        "power lost while a log is made, compacted, shrunk, backed up, restored, repaired",
        cell(
            NOTHING,
            *(f"{POWER}[{name}]" for name in ("creation", "succession", "compaction", "shrink")),
            *(f"{POWER}[{name}]" for name in ("backup", "restore", "repair")),
        ),
    ),
    row("power lost in two processes at once", cell("as the mode of each says", f"{POWER}[company]")),
    row(
        "power lost again during recovery",
        cell(NOTHING, "powerloss/test_powerloss.py::test_power_may_be_lost_again_during_recovery"),
    ),
    row(
        "disk full",
        cell(
            "`LogFull`; what was recorded stays",
            "wal/test_full_disk.py::test_a_full_disk_is_said_and_loses_nothing_that_was_recorded",
        ),
    ),
    row(
        "a flush or a write fails (EIO, ENOSPC), then power is lost",
        cell("`LogFailed`; nothing acknowledged is lost", f"{POWER}[failing]"),
    ),
)

DAMAGE = (
    row(
        "file cut short",
        cell(
            "`LogCorrupt`; examined in a child, not opened",
            ENVIRONMENT + "test_a_file_cut_short_is_not_opened",
        ),
    ),
    row(
        "file below 8 KiB, text, SQLite, zeroes",
        cell("`NotALog`; left untouched", ENVIRONMENT + "test_a_file_that_is_no_log_is_left_untouched"),
    ),
    row(
        "data file empty or missing",
        cell(
            "`NotALog`; no new log",
            ENVIRONMENT + "test_a_file_that_is_no_log_is_left_untouched[empty]",
            DAMAGED + "test_a_missing_data_file_is_no_new_log",
            ENVIRONMENT + "test_nothing_is_made_unless_asked_for",
        ),
    ),
    row("one meta page zeroed", cell("`LogCorrupt`", ENVIRONMENT + "test_a_zeroed_meta_page_is_reported")),
    row("meta pages swapped", cell("`LogCorrupt`", DAMAGED + "test_swapped_meta_pages_are_refused")),
    row("a page zeroed", cell("a typed error, or all that was there", f"{PAGES}[zeroed page]")),
    row("a page overwritten", cell("a typed error, or all that was there", f"{PAGES}[random page]")),
    row(
        "a page from elsewhere", cell("a typed error, or all that was there", f"{PAGES}[page from elsewhere]")
    ),
    row(
        "a page that is older than the others",
        cell(
            "a typed error, or all that was there",
            DAMAGED + "test_a_page_that_is_older_than_the_others_is_noticed",
        ),
    ),
    row("a bit flipped", cell("a typed error, or all that was there", f"{PAGES}[flipped bit]")),
    row(
        "a record damaged",
        cell(
            "`LogCorrupt` names it; other threads are read and written",
            DAMAGED + "test_a_damaged_record_leaves_the_other_threads_readable",
        ),
    ),
    row(
        "a log that cannot be opened",
        cell(
            "`wal repair` keeps what can be read",
            DAMAGED + "test_what_cannot_be_opened_can_be_salvaged",
            "wal/test_repair.py::test_random_damage_of_the_file_is_survived",
        ),
    ),
    row(
        "an item of a store damaged",
        cell(
            "reported, never handed out",
            "wal/test_items_damage.py::test_a_damaged_item_is_reported_and_never_handed_out",
        ),
    ),
    row(
        "a newer format, ours or LMDB's",
        cell("`FormatTooNew`; nothing is changed", ENVIRONMENT + "test_a_newer_format_is_refused"),
    ),
    row(
        "an LMDB file of somebody else",
        cell("`NotALog`", ENVIRONMENT + "test_an_lmdb_file_of_somebody_else_is_refused"),
    ),
    row(
        "a record of an unknown kind",
        cell(
            "its thread is refused, the others are read",
            DAMAGED + "test_a_record_of_an_unknown_kind_stops_its_thread_alone",
            "wal/test_codec_hostile.py::test_an_unknown_kind_and_unknown_fields_are_refused",
        ),
    ),
    row("`lock.mdb` damaged", cell("made anew", DAMAGED + "test_a_damaged_lock_file_is_made_anew")),
    row("files of locks missing", cell("made anew", DAMAGED + "test_a_missing_file_of_locks_is_made_anew")),
    row(
        "`lock.mdb` deleted while the log is open",
        cell(
            "`LogFailed` before anything is written",
            STOPPED + "test_a_deleted_lock_file_is_noticed_before_anything_is_written",
        ),
    ),
    row(
        "a backup damaged",
        cell("`BackupDamaged`; nothing appears", "wal/test_backup.py::test_a_damaged_backup_is_refused"),
    ),
    row(
        "noise, or a hostile file",
        cell(
            "a typed error; nothing is imported or called",
            "wal/test_codec_hostile.py::test_random_bytes_end_well",
            "wal/test_codec_hostile.py::test_names_in_data_are_never_imported_or_called",
        ),
    ),
    row(
        "ids of threads: long, empty, with zero bytes, no text",
        cell(
            "each is one thread, or refused",
            DAMAGED + "test_any_text_is_the_id_of_a_thread",
            "wal/test_log.py::test_thread_ids_may_be_text_numbers_and_uuids",
        ),
    ),
    row(
        "values that would not come back",
        cell(
            "refused before anything is recorded",
            "wal/test_codec_values.py::test_what_would_not_come_back_is_refused",
            "wal/test_codec_values.py::test_deep_values_come_back_and_deeper_ones_are_refused",
        ),
    ),
)

RESOURCES = (
    row(
        "map full",
        cell(
            "`LogFull`; what was recorded stays",
            "wal/test_failures.py::test_a_full_map_says_so_and_keeps_what_was_recorded",
        ),
    ),
    row(
        "no file descriptors, at opening",
        cell(
            "`OutOfResources`, or it opens",
            RESOURCE + "test_a_log_is_not_opened_without_file_descriptors",
            RESOURCE + "test_a_log_is_not_made_without_file_descriptors",
        ),
    ),
    row(
        "no file descriptors for the child that examines",
        cell(
            "`OutOfResources`; not called damaged",
            RESOURCE + "test_a_doubtful_file_is_not_opened_when_no_child_can_look_at_it",
        ),
    ),
    row(
        "no file descriptors, at a backup",
        cell(
            "`OutOfResources`; former backups stay",
            RESOURCE + "test_a_backup_without_file_descriptors_leaves_the_former_one",
        ),
    ),
    row(
        "too little address space",
        cell(
            "a smaller map, then `OutOfResources`",
            ENVIRONMENT + "test_a_small_address_space_gets_a_smaller_map",
            RESOURCE + "test_a_log_without_room_for_its_map_says_so",
        ),
    ),
    row(
        "a writer stopped while it writes",
        cell(
            "`WriterStopped` names it",
            STOPPED + "test_a_stopped_writer_is_named_to_who_opens_the_log",
            STOPPED + "test_a_run_is_told_who_keeps_it_from_recording",
            STOPPED + "test_items_and_signals_are_refused_by_name_too",
        ),
    ),
    row(
        "the same, for commands",
        cell(
            "exit code 4; `wal doctor` names it; readers do not wait",
            STOPPED + "test_commands_name_a_stopped_writer",
        ),
    ),
    row(
        "a writer that takes long",
        cell("waited for, and said so", STOPPED + "test_a_writer_that_goes_on_in_time_is_waited_for"),
    ),
    row("two writers, two processes", cell("both write", PROCESSES + "test_two_processes_append_to_one_log")),
    row(
        "two processes, one thread",
        cell(
            "`ThreadBusy`; who was replaced gets `StaleWriter`",
            PROCESSES + "test_a_claim_keeps_other_processes_out_and_dies_with_its_owner",
            PROCESSES + "test_a_thread_stolen_from_another_process_is_lost_to_it",
        ),
    ),
    row(
        "fork at any time",
        cell(
            "the child opens the log anew; nothing is lost",
            RESOURCE + "test_a_fork_at_any_time_harms_neither_side",
            PROCESSES + "test_a_forked_child_opens_the_log_again_and_owns_nothing",
            "wal/test_forks.py::test_a_fork_does_not_happen_while_another_thread_is_inside_lmdb",
        ),
    ),
    row(
        "a thread dies in a transaction",
        cell("undone; others write", RESOURCE + "test_a_thread_that_dies_in_a_transaction_frees_the_log"),
    ),
    row(
        "a process dies in a transaction",
        cell(
            "undone; the lock is free at once",
            RESOURCE + "test_a_process_that_dies_in_a_transaction_frees_the_log",
        ),
    ),
    row(
        "Ctrl-C in a commit",
        cell("it is finished first", "wal/test_failures.py::test_an_interrupted_commit_is_finished_first"),
    ),
    row(
        "clocks that jump",
        cell(
            "order and times stay",
            RESOURCE + "test_a_clock_that_jumps_changes_no_order",
            "engine/test_sleep.py::test_a_clock_that_is_put_back_neither_fires_early_nor_for_ever",
        ),
    ),
    row(
        "readers that were killed",
        cell(
            "`wal doctor` names them; the next writer clears them",
            "tools/test_cmd_looking.py::test_leftovers_and_readers_that_are_gone_are_noticed",
        ),
    ),
    row(
        "no right to write",
        cell(
            "`LogReadOnly`; reading works",
            ENVIRONMENT + "test_a_directory_without_the_right_to_write_can_be_read",
        ),
    ),
    row(
        "a network file system",
        cell(
            "`RemoteDisk`, unless forced", ENVIRONMENT + "test_a_network_file_system_is_refused_unless_forced"
        ),
    ),
    row(
        "killed while a log is made",
        cell("nothing, or a whole log", ENVIRONMENT + "test_a_kill_during_creation_leaves_nothing_or_a_log"),
    ),
    row(
        "killed in a compaction",
        cell("a whole log", "tools/test_cmd_compact.py::test_a_kill_at_any_instant_leaves_a_whole_log"),
    ),
    row(
        "killed in a backup, a restore, a repair",
        cell(
            "what was there before, or all of it",
            "wal/test_backup.py::test_a_killed_backup_leaves_the_former_one",
            "wal/test_backup.py::test_a_killed_restoring_leaves_nothing_or_all",
            "wal/test_repair.py::test_a_killed_repair_leaves_the_log_damaged_or_whole",
        ),
    ),
)

TABLES = (MODES, DAMAGE, RESOURCES)


def tests() -> list[str]:
    """Return all tests that are named, each once, in order."""
    return list(
        dict.fromkeys(test for table in TABLES for each in table for one in each.cells for test in one.tests)
    )
