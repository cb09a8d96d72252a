"""Mailboxes, and the index of what is due, in both stores and in whole logs."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from wal_helpers import a_step, created, end, heard, start, tell

from walgraph.wal import (
    Log,
    LogReadOnly,
    MemoryLog,
    NotSerializable,
    StaleWriter,
    Summary,
    ThreadDeleted,
    UnknownType,
)
from walgraph.wal import table_mail as mail_module
from walgraph.wal.compaction import compact, shrink
from walgraph.wal.environment import open_environment
from walgraph.wal.head import nanoseconds
from walgraph.wal.lmdb_store import LmdbStore
from walgraph.wal.memory_store import MemoryStore
from walgraph.wal.record import SignalReceived
from walgraph.wal.store import Committed, Conflict, Frame, Group, Store
from walgraph.wal.tables import DUE, MAIL
from walgraph.wal.verify import verify

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NIL = b"\xc0"


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path) -> Iterator[Store]:
    """A new store of each kind."""
    made: Store = (
        MemoryStore() if request.param == "memory" else LmdbStore(open_environment(str(tmp_path / "store")))
    )
    yield made
    made.close()


@pytest.fixture(params=["memory", "lmdb"])
def log(request, tmp_path) -> Iterator[Log]:
    """A new log of each kind, whole at the end of each test."""
    made = MemoryLog() if request.param == "memory" else Log.open(tmp_path / "log")
    yield made
    if not made.closed:
        assert verify(made, structure=False).problems == ()
        made.close()


def received(name: str, number: int, payload: object = None) -> SignalReceived:
    """The record of a signal that was received."""
    return SignalReceived("", ("node",), 0, 0, name, number, None, payload)


def a_frame(thread: str, after: int, due_at: int | None = None, **changes: object) -> Frame:
    """A frame of one record, after which the thread is due."""
    body, frame_id = b"\x90", f"{thread}{after}".encode()[-8:].rjust(8)
    frame = Frame(thread, after, after + 1, 1, 1, frame_id, body, Summary("sleeping", due_at=due_at))
    return frame._replace(**changes)


def due(store: Store, before: int = 1 << 62) -> list[tuple[str, int | None]]:
    """The threads that are due, with their times."""
    return [(row.thread, row.due_at) for row in store.due(before)]


# Sending and receiving


def test_messages_are_numbered_and_wait_in_their_order(store: Store) -> None:
    """Across names one count, within a name the order of sending."""
    mail = store.mail
    for name in ("a", "b", "a"):
        assert mail.post("t", name, NIL)
    mail.post("other", "a", NIL)
    assert [(m.number, m.name) for m in mail.waiting("t")] == [(1, "a"), (2, "b"), (3, "a")]
    assert [m.number for m in (mail.first("t", "a"), mail.first("t", "a", 1), mail.first("t", "b")) if m] == [
        1,
        3,
        2,
    ]
    assert mail.first("t", "a", 3) is None
    assert mail.first("t", "c") is None
    assert mail.full() == [("other", 1), ("t", 3)]


def test_an_empty_store_has_no_mail_and_nothing_due(store: Store) -> None:
    """Nothing is made by looking."""
    assert (store.mail.waiting("t"), store.mail.first("t", "a"), store.mail.full()) == ([], None, [])
    assert due(store) == []
    assert store.mail.check(lambda _: None) == (0, [])
    assert store.check_due() == []


def test_a_message_goes_with_the_frame_that_received_it(store: Store) -> None:
    """A frame that is refused takes nothing; one that is written takes what it names and nothing else."""
    for name in ("a", "a", "b"):
        store.mail.post("t", name, NIL)
    taking = a_frame("t", 0, received=(("a", 1), ("b", 3)))
    assert type(store.commit(Group((taking._replace(after=7),)))[0]) is Conflict
    assert len(store.mail.waiting("t")) == 3
    assert type(store.commit(Group((taking,)))[0]) is Committed
    assert [m.number for m in store.mail.waiting("t")] == [2]
    store.commit(Group((a_frame("t", 1, received=(("a", 2),)),)))
    assert store.mail.full() == []
    assert store.mail.post("t", "a", NIL)
    assert store.mail.full() == [("t", 4)]
    assert store.mail.check(lambda _: None) == (1, [])


def test_an_id_is_sent_once_even_after_it_was_received(store: Store) -> None:
    """The second is answered no, whatever it carries."""
    assert store.mail.post("t", "a", NIL, "x")
    assert not store.mail.post("t", "b", b"\xc3", "x")
    store.commit(Group((a_frame("t", 0, received=(("a", 1),)),)))
    assert not store.mail.post("t", "a", NIL, "x")
    assert store.mail.post("t", "a", NIL, "y")
    assert store.mail.post("other", "a", NIL, "x")


def test_the_oldest_ids_are_forgotten(store: Store, monkeypatch) -> None:
    """A mailbox knows so many ids and no more."""
    monkeypatch.setattr(mail_module, "KNOWN_IDS", 3)
    for number in range(5):
        assert store.mail.post("t", "a", NIL, f"{number}")
    assert [store.mail.post("t", "a", NIL, f"{number}") for number in (2, 3, 4)] == [False, False, False]
    assert store.mail.post("t", "a", NIL, "0")
    assert store.mail.check(lambda _: None) == (6, [])


def test_names_of_the_same_hash_do_not_mix(store: Store, monkeypatch) -> None:
    """The hash only finds the place; the name decides."""
    monkeypatch.setattr(
        mail_module, "messages_of", lambda box, name=None: b"\x02" + box + (b"" if name is None else b"8" * 8)
    )
    monkeypatch.setattr("walgraph.wal.mail_layout.messages_of", mail_module.messages_of)
    for name in ("a", "a", "b"):
        store.mail.post("t", name, NIL)
    found = store.mail.first("t", "b")
    assert found is not None
    assert found.number == 3


def test_a_deleted_thread_keeps_no_mail_and_takes_none(store: Store) -> None:
    """What waited is gone; a new signal is refused until a thread of that id begins anew."""
    store.commit(Group((a_frame("t", 0),)))
    store.mail.post("t", "a", NIL, "x")
    assert store.delete("t")
    assert store.mail.waiting("t") == []
    with pytest.raises(ThreadDeleted, match="'t' was deleted"):
        store.mail.post("t", "a", NIL)
    store.commit(Group((a_frame("t", 0),)))
    assert store.mail.post("t", "a", NIL, "x")
    assert [m.number for m in store.mail.waiting("t")] == [1]


def test_a_thread_that_never_was_can_be_deleted_with_its_mail(store: Store) -> None:
    """A mailbox without a thread is something to delete; nothing at all is not, and is not remembered."""
    store.mail.post("t", "a", NIL)
    assert store.delete("t")
    with pytest.raises(ThreadDeleted):
        store.mail.post("t", "a", NIL)
    assert not store.delete("nobody")
    assert store.mail.post("nobody", "a", NIL)


def test_after_a_month_it_is_forgotten_that_a_thread_was_deleted(store: Store, monkeypatch) -> None:
    """What is remembered of deleted threads does not grow for ever."""
    store.commit(Group((a_frame("old", 0), a_frame("new", 0))))
    store.delete("old")
    monkeypatch.setattr(mail_module, "GONE_NANOSECONDS", 0)
    store.delete("new")
    assert store.mail.post("old", "a", NIL)
    with pytest.raises(ThreadDeleted):
        store.mail.post("new", "a", NIL)


def test_a_copy_begins_with_an_empty_mailbox(store: Store) -> None:
    """What was sent to one thread reaches that one."""
    store.commit(Group((a_frame("t", 0),)))
    store.mail.post("t", "a", NIL)
    store.copy("t", "copy")
    assert store.mail.full() == [("t", 1)]


# What is due


def test_threads_are_found_in_the_order_in_which_they_are_due(store: Store) -> None:
    """Each stands there once, under the time of its newest frame, and not before that time."""
    store.commit(Group((a_frame("a", 0, 30),)))
    store.commit(Group((a_frame("b", 0, 10), a_frame("c", 0, 20), a_frame("d", 0))))
    assert due(store) == [("b", 10), ("c", 20), ("a", 30)]
    assert due(store, 20) == [("b", 10), ("c", 20)]
    assert due(store, 9) == []
    store.commit(Group((a_frame("b", 1, 40),)))
    store.commit(Group((a_frame("c", 1),)))
    assert due(store) == [("a", 30), ("b", 40)]
    assert store.check_due() == []


def test_a_frame_that_is_refused_moves_nothing(store: Store) -> None:
    """The index follows the directory."""
    store.commit(Group((a_frame("a", 0, 30),)))
    store.commit(Group((a_frame("a", 5, 10), a_frame("b", 0, 20))))
    assert due(store) == [("b", 20), ("a", 30)]


def test_deleting_and_copying_know_what_is_due(store: Store) -> None:
    """A copy is due when the original is; a deleted thread never."""
    store.commit(Group((a_frame("a", 0, 30),)))
    store.copy("a", "b")
    assert due(store) == [("a", 30), ("b", 30)]
    store.delete("a")
    assert due(store) == [("b", 30)]
    assert store.check_due() == []


def test_more_threads_than_a_page_are_due(store: Store) -> None:
    """None is left out, none comes twice."""
    store.commit(Group(tuple(a_frame(f"t{number}", 0, 1 + number % 7) for number in range(600))))
    found = due(store)
    assert len(found) == len(set(found)) == 600
    assert found == sorted(found, key=lambda pair: (pair[1], int(pair[0][1:])))


def test_another_object_of_the_same_log_knows_the_index(tmp_path: Path) -> None:
    """Who opened the log before the index was made keeps it up all the same."""
    with Log.open(tmp_path / "log") as log:
        log.flush()
        process = start(
            """
            log = Log.open(path)
            writer = log.writer("t")
            writer.append(created(), Summary("sleeping", due_at=5))
            writer.close()
            say("parked")
            """,
            tmp_path / "log",
        )
        assert heard(process) == "parked"
        end(process)
        with log.writer("t") as writer:
            writer.append(a_step(0), Summary())
        assert due(log.store) == []
        assert log.store.check_due() == []


# Logs


def test_a_signal_waits_with_all_that_it_carries(log: Log) -> None:
    """Before the thread exists, while somebody owns it, and whatever the payload is."""
    large = ["large"] * 50_000
    assert log.signal("t", "a", {"by": "ada", "when": NOON}, id="1")
    with log.writer("t") as writer:
        writer.append(created(), Summary())
        assert log.signal("t", "b")
        assert log.signal(7, "a", large)
    assert not log.signal("t", "a", {"by": "bob"}, id="1")
    found = log.mailbox("t")
    assert [(s.number, s.name, s.id, s.payload) for s in found] == [
        (1, "a", "1", {"by": "ada", "when": NOON}),
        (2, "b", None, None),
    ]
    assert abs(found[0].sent_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert [s.payload for s in log.mailbox("7")] == [large]
    assert log.signalled() == [("7", 1), ("t", 2)]


def test_a_signal_waits_no_more_once_its_record_is_durable(log: Log) -> None:
    """Not before: until then a crash must find it waiting."""
    log.signal("t", "a", 1)
    log.signal("t", "a", 2)
    with log.writer("t") as writer:
        writer.append([*created(), received("a", 1, 1)], Summary(), awaited=True)
        assert len(log.store.mail.waiting("t")) == 2
        writer.flush()
        assert [s.payload for s in log.mailbox("t")] == [2]
        writer.receive("a", 2)
        assert [s.payload for s in log.mailbox("t")] == [2]
        writer.append(a_step(0), Summary())
    assert log.mailbox("t") == []


def test_a_writer_that_lost_its_thread_takes_no_signal(log: Log) -> None:
    """The signal is there for who took over."""
    log.signal("t", "a", 1)
    former = log.writer("t")
    former.append(created(), Summary())
    former.flush()
    with log.writer("t", if_busy="steal") as writer:
        with pytest.raises(StaleWriter):
            former.append([received("a", 1, 1)], Summary())
        assert len(log.mailbox("t")) == 1
        writer.append([received("a", 1, 1)], Summary())
    assert log.mailbox("t") == []


@pytest.mark.parametrize(
    ("name", "id"), [("", None), (None, None), (5, None), ("a", ""), ("a", 5), ("\ud800", None)]
)
def test_a_name_or_id_that_is_none_is_refused(log: Log, name, id) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r"text that is not empty|surrogates"):
        log.signal("t", name, id=id)
    assert log.mailbox("t") == []


def test_a_payload_that_cannot_be_written_is_refused(log: Log) -> None:
    """Before anything is sent; and one whose class is not known is not handed out as something else."""
    with pytest.raises(NotSerializable):
        log.signal("t", "a", lambda: None)
    assert log.mailbox("t") == []


def test_a_payload_of_an_unknown_class_waits_until_it_is_known(tmp_path: Path) -> None:
    """Reading it fails closed, and loses nothing."""
    process = start(
        """
        from dataclasses import dataclass
        @dataclass
        class Approval:
            by: str
        log = Log.open(path)
        log.signal("t", "a", Approval("ada"))
        say("sent")
        """,
        tmp_path / "log",
    )
    assert heard(process) == "sent"
    end(process)
    with Log.open(tmp_path / "log") as log:
        with pytest.raises(UnknownType):
            log.mailbox("t")
        assert len(log.mailbox("t", decoder=log.decoder(lenient=True))) == 1
        assert verify(log).ok


def test_deleting_a_thread_drops_its_mailbox(log: Log) -> None:
    """And who sends to it afterwards is told."""
    log.signal("t", "a")
    log.delete_thread("t")
    with pytest.raises(ThreadDeleted, match="WAL-E403"):
        log.signal("t", "a")
    assert (log.mailbox("t"), log.signalled()) == ([], [])


def test_due_threads_are_found_by_time(log: Log) -> None:
    """A time without a zone says nothing, so it is refused."""
    for thread, hours in (("late", 2), ("soon", 1)):
        with log.writer(thread) as writer:
            at = nanoseconds(NOON + timedelta(hours=hours))
            writer.append(created(thread), Summary("sleeping", due_at=at))
    assert [head.thread_id for head in log.due(NOON + timedelta(hours=3))] == ["soon", "late"]
    assert [(h.thread_id, h.due_at) for h in log.due(NOON + timedelta(hours=1))] == [
        ("soon", NOON + timedelta(hours=1))
    ]
    assert list(log.due(NOON)) == []
    with pytest.raises(ValueError, match="no time zone"):
        list(log.due(datetime(2026, 3, 1)))  # noqa: DTZ001 - the point


def test_compacting_and_shrinking_keep_mail_and_what_is_due(tmp_path: Path) -> None:
    """Nothing of a mailbox leans on records, and the smaller file has it all."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        log.signal("t", "a", ["large"] * 50_000, id="x")
        with log.writer("t") as writer:
            writer.append(created(), Summary("sleeping", due_at=5))
        compact(log)
    shrink(path)
    with Log.open(path) as log:
        assert [s.payload for s in log.mailbox("t")] == [["large"] * 50_000]
        assert not log.signal("t", "a", id="x")
        assert due(log.store) == [("t", 5)]
        assert verify(log).ok


def test_a_log_without_the_tables_opens_and_stays_as_it_was(tmp_path: Path) -> None:
    """Reading makes nothing; what reads only is refused to send."""
    path = tmp_path / "log"
    with Log.open(path) as log, log.writer("t") as writer:
        writer.append(created(), Summary())
    with Log.open(path, readonly=True) as log:
        assert (log.mailbox("t"), log.signalled(), list(log.due(NOON))) == ([], [], [])
        assert not {"mail", "due"} & set(log.store.facts()["tables"])  # type: ignore[call-overload]
        with pytest.raises(LogReadOnly):
            log.signal("t", "a")


def test_damage_of_mail_and_index_is_found(tmp_path: Path) -> None:
    """Each row that is not what was written is named, and a damaged signal is never handed out."""
    with Log.open(tmp_path / "log") as log:
        log.signal("t", "a", 1)
        log.signal("t", "a", 2)
        with log.writer("t") as writer:
            writer.append(created(), Summary("sleeping", due_at=5))
        tables = log.store._tables  # type: ignore[attr-defined]
        with tables.write() as txn:
            (key, row), (second, _) = txn.scan(MAIL, b"\x02", 2)
            txn.put(MAIL, key, row[:-1] + bytes([row[-1] ^ 1]))
            txn.delete(MAIL, second)
            (index,) = txn.keys(DUE, b"\x00", 1)
            txn.delete(DUE, index)
            txn.put(DUE, bytes(7) + b"\x09" + index[8:], b"")
        wrong = [problem.what for problem in verify(log, structure=False).problems]
        assert any("message 1 of a mailbox is damaged" in what for what in wrong)
        assert any("1 messages wait for thread 't', its mailbox says 2" in what for what in wrong)
        assert any("thread 't' is due, and the index of what is due lacks it" in what for what in wrong)
        assert any("names thread number 1, which is not due then" in what for what in wrong)


# Processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals are POSIX")
def test_many_senders_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Two processes and a thread send the same fifty ids beside a live owner: fifty arrive, in the order of numbers."""
    body = """
    log = Log.open(path)
    say("ready")
    listen()
    for number in range(50):
        log.signal("t", "a", number, id=f"{number}")
    say("sent")
    """
    with Log.open(tmp_path / "log") as log, log.writer("t") as writer:
        writer.append(created(), Summary())
        senders = [start(body, tmp_path / "log") for _ in range(2)]
        for process in senders:
            assert heard(process) == "ready"
        for process in senders:
            tell(process)
        own = threading.Thread(target=lambda: [log.signal("t", "a", n, id=f"{n}") for n in range(50)])
        own.start()
        for number in range(5):
            writer.append(a_step(number), Summary())
            writer.flush()
        own.join()
        for process in senders:
            assert heard(process) == "sent"
            end(process)
        found = log.mailbox("t")
        assert sorted(s.payload for s in found) == list(range(50))
        assert [s.number for s in found] == list(range(1, 51))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals are POSIX")
def test_a_killed_sender_has_sent_what_it_was_told_it_had(tmp_path: Path) -> None:
    """What ``signal`` returned from is there; the one that was under way is there wholly or not at all."""
    process = start(
        """
        import itertools
        log = Log.open(path)
        for number in itertools.count():
            log.signal("t", "a", number, id=f"{number}")
            say(number)
        """,
        tmp_path / "log",
    )
    told = [int(heard(process)) for _ in itertools.repeat(None, 20)]
    process.send_signal(signal.SIGKILL)
    end(process)
    with Log.open(tmp_path / "log") as log:
        found = [s.payload for s in log.mailbox("t")]
        assert found == list(range(len(found)))
        assert len(found) >= len(told)
        assert verify(log).ok
