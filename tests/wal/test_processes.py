"""The log among several processes, and what is left when one is killed."""

from __future__ import annotations

import os
import signal
import time

import pytest
from wal_helpers import a_step, created, end, heard, start, tell, write_steps

from walgraph.wal import Log, LogClosed, MemoryLog, Summary, ThreadBusy
from walgraph.wal.verify import verify

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals and byte-range locks are POSIX")


def test_a_claim_keeps_other_processes_out_and_dies_with_its_owner(tmp_path) -> None:
    """The refusal names the owner; a killed one's thread can be taken at once; a waiting one gets it."""
    process = start(
        """
        log = Log.open(path)
        writer = log.writer("t")
        writer.append(created(), Summary())
        writer.flush()
        say("claimed")
        listen()
        """,
        tmp_path / "log",
    )
    assert heard(process) == "claimed"
    with Log.open(tmp_path / "log") as log:
        with pytest.raises(ThreadBusy) as caught:
            log.writer("t")
        assert process.pid == caught.value.details["process"]
        assert [head.status for head in log.threads()] == ["running"]
        log.writer("other").close()
        process.send_signal(signal.SIGKILL)
        with log.writer("t", if_busy="wait", timeout=10) as writer:
            assert (writer.seq, writer.epoch) == (1, 2)
        assert [head.status for head in log.threads()] == ["crashed"]
    end(process)


def test_a_thread_stolen_from_another_process_is_lost_to_it(tmp_path) -> None:
    """Its next flush is refused, and the thief's records are the truth; the lock follows when the loser ends."""
    process = start(
        """
        log = Log.open(path)
        writer = log.writer("t")
        write_steps(writer, 0, 1)
        writer.flush()
        say("claimed")
        listen()
        try:
            write_steps(writer, 1, 2)
            writer.flush()
        except StaleWriter as error:
            say("stale", error.code)
        writer.abandon()
        say("released")
        listen()
        """,
        tmp_path / "log",
    )
    assert heard(process) == "claimed"
    with Log.open(tmp_path / "log") as log:
        thief = log.writer("t", if_busy="steal")
        assert thief.seq == 3
        tell(process)
        assert heard(process) == "stale WAL-E402"
        assert heard(process) == "released"
        write_steps(thief, 1, 2)
        thief.flush()
        assert not log._core.claims.is_unlocked("t")
        thief.close()
        assert len(list(log.read("t"))) == 6
    tell(process)
    end(process)


def test_two_processes_append_to_one_log(tmp_path) -> None:
    """Each to its threads, at the same time; positions are unique and every chain is whole."""
    Log.open(tmp_path / "log").close()
    body = """
        log = Log.open(path)
        with log.writer(listen()) as writer:
            for number in range(100):
                write_steps(writer, number, number + 1)
                if number % 3 == 0:
                    writer.flush()
        log.close()
        """
    processes = [start(body, tmp_path / "log") for _ in range(2)]
    for number, process in enumerate(processes):
        tell(process, f"thread-{number}")
    with Log.open(tmp_path / "log") as log:
        with log.writer("here") as writer:
            for number in range(50):
                write_steps(writer, number, number + 1)
                writer.flush()
        assert [end(process) for process in processes] == [0, 0]
        assert [log.head(name).seq for name in ("thread-0", "thread-1", "here")] == [300, 300, 150]
        assert verify(log, structure=False).ok


def test_a_killed_process_loses_only_what_it_had_not_flushed(tmp_path) -> None:
    """What was acknowledged is there; what is there is a prefix."""
    for attempt in range(3):
        process = start(
            """
            log = Log.open(path)
            writer = log.writer("t")
            number = writer.seq
            while True:
                write_steps(writer, number, number + 1)
                number += 1
                if number % 5 == 0:
                    writer.flush()
                    say(writer.seq)
            """,
            tmp_path / "log",
        )
        acknowledged = 0
        deadline = time.monotonic() + 0.2 * (attempt + 1)
        while time.monotonic() < deadline or not acknowledged:
            acknowledged = int(heard(process))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=60)[0].split("\n")
        # The last line may have been cut short by the kill.
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
        with Log.open(tmp_path / "log", create=False) as log:
            found = [stored.seq for stored in log.read("t")]
            assert found == list(range(1, len(found) + 1))
            assert len(found) >= acknowledged
            assert verify(log, structure=False).ok


def test_a_process_that_ends_normally_loses_nothing(tmp_path) -> None:
    """What nobody waited for is flushed at exit."""
    process = start('write_steps(Log.open(path).writer("t"), 0, 7)', tmp_path / "log")
    assert end(process) == 0
    with Log.open(tmp_path / "log", create=False) as log:
        assert len(list(log.read("t"))) == 21


def test_a_reader_works_beside_a_live_writer(tmp_path) -> None:
    """Read-only tools see what is durable, and change nothing."""
    process = start(
        """
        log = Log.open(path)
        writer = log.writer("t")
        for number in range(3):
            write_steps(writer, number, number + 1)
            writer.flush()
            say(number)
            listen()
        """,
        tmp_path / "log",
    )
    assert heard(process) == "0"
    with Log.open(tmp_path / "log", create=False, readonly=True) as log:
        for number in range(1, 3):
            assert 3 * number == len(list(log.read("t")))
            assert [head.status for head in log.threads()] == ["running"]
            tell(process)
            assert str(number) == heard(process)
    tell(process)
    assert end(process) == 0


def in_child(check) -> int:
    """Run a check in a forked child; its exit code is 0 if it held."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            check()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_opens_the_log_again_and_owns_nothing(tmp_path) -> None:
    """Inherited writers are dead, the parent's queue and claims are the parent's, and the child can work."""
    with Log.open(tmp_path / "log") as log:
        writer = log.writer("t")
        writer.append(created(), Summary(), awaited=True)

        def check() -> None:
            with pytest.raises(LogClosed):
                writer.append(a_step(0), Summary())
            assert log.head("t") is None
            with pytest.raises(ThreadBusy):
                log.writer("t")
            with log.writer("child") as own:
                own.append(created("child"), Summary())
            assert [stored.seq for stored in log.read("child")] == [1]

        assert in_child(check) == 0
        writer.append(a_step(0), Summary())
        writer.close()
        assert [stored.seq for stored in log.read("t")] == [1, 2, 3, 4]
        assert [stored.seq for stored in log.read("child")] == [1]


def test_a_forked_child_has_its_own_copy_of_a_log_in_memory() -> None:
    """What the child appends is not seen by the parent."""
    log = MemoryLog()
    with log.writer("t") as writer:
        writer.append(created(), Summary())
        writer.flush()

        def check() -> None:
            with log.writer("t") as own:
                own.append(a_step(0), Summary())
            assert len(list(log.read("t"))) == 4

        assert in_child(check) == 0
    assert len(list(log.read("t"))) == 1


def test_a_stolen_epoch_outlives_the_thief(tmp_path) -> None:
    """The fence is durable: the loser is refused though the thief never appended."""
    with Log.open(tmp_path / "log") as log:
        process = start(
            """
            log = Log.open(path)
            writer = log.writer("t")
            write_steps(writer, 0, 1)
            writer.flush()
            say("ready")
            listen()
            try:
                write_steps(writer, 1, 2)
                writer.flush()
            except StaleWriter:
                say("refused")
            writer.abandon()
            """,
            tmp_path / "log",
        )
        assert heard(process) == "ready"
        log.writer("t", if_busy="steal").abandon()
        tell(process)
        assert heard(process) == "refused"
        end(process)
        with log.writer("t") as writer:
            write_steps(writer, 1, 2)
