"""Group commit in company: threads that were told together share the next group, and one that is alone never waits."""

from __future__ import annotations

import threading

import pytest
from wal_helpers import a_step, created

from walgraph.wal import Log, LogFailed, Summary, Writer, committer
from walgraph.wal.store import Group, Verdict
from walgraph.wal.waiting import Waiter, settle

CREW = 4


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts that wait for a minute, so that no test depends on how fast threads are."""
    monkeypatch.setattr(committer, "MAX_PAUSE_SECONDS", 60.0)


def crew(log: Log, size: int = CREW) -> None:
    """Let the committer believe that this many threads waited for the last group, which took a minute."""
    log._core.committer._crew = size
    log._core.committer._pause = 60.0


def commit_together(writers: list[Writer], number: int) -> None:
    """Append a step to each thread and wait for all of them, each from a thread of its own."""

    def one(writer: Writer) -> None:
        writer.append(a_step(number), Summary(), awaited=True)
        writer.flush()

    threads = [threading.Thread(target=one, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def opened(log: Log, size: int = CREW) -> list[Writer]:
    """Writers of new threads, whose first records are durable; the flusher, who keeps its own time, is not begun."""
    writers = [log.writer(f"t{number}") for number in range(size)]
    for writer in writers:
        writer.append(created(writer.thread_id), Summary(), awaited=True)
    log.flush()
    return writers


def test_threads_that_were_told_together_share_one_group(tmp_path) -> None:
    """A crew of four that comes again is written by one commit, led by whoever came last."""
    with Log.open(tmp_path / "log") as log:
        writers = opened(log)
        groups = log._core.committer.groups
        for number in range(5):
            crew(log)
            commit_together(writers, number)
        assert log._core.committer.groups - groups == 5
        assert [writer.seq for writer in writers] == [1 + 5 * 3] * CREW


def test_a_group_remembers_its_crew(tmp_path, patient) -> None:
    """All who waited for a group are waited for in the next one."""
    with Log.open(tmp_path / "log") as log:
        writers = opened(log)
        crew(log)
        commit_together(writers, 0)
        assert log._core.committer._crew == CREW


def test_a_missing_member_is_waited_for_once(tmp_path) -> None:
    """Whoever comes commits without the missing after a pause, and is alone from then on."""
    with Log.open(tmp_path / "log") as log:
        writer = opened(log, 1)[0]
        log._core.committer._crew, log._core.committer._pause = CREW, 0.001
        writer.append(a_step(0), Summary(), awaited=True)
        writer.flush()
        assert log._core.committer._crew == 1


def test_a_lone_writer_never_waits(tmp_path, monkeypatch) -> None:
    """Without company in the last group, a flush commits in its own thread and waits for nobody."""

    def refuse(*_: object) -> None:
        raise AssertionError("a lone writer waited")

    with Log.open(tmp_path / "log") as log:
        writer = opened(log, 1)[0]
        monkeypatch.setattr(committer.Committer, "_wait", refuse)
        groups = log._core.committer.groups
        for number in range(20):
            writer.append(a_step(number), Summary(), awaited=True)
            writer.flush()
        assert log._core.committer.groups - groups == 20


def test_an_interrupted_host_leaves_nobody_behind(tmp_path, monkeypatch) -> None:
    """When Ctrl-C strikes the first of a crew, another one leads."""
    entertain = committer.Committer._entertain
    hosts: list[object] = []
    joined = threading.Event()

    def strike(self: committer.Committer, host: Waiter) -> bool:
        hosts.append(host)
        if len(hosts) > 1:
            self._pause = 0.001
            return entertain(self, host)
        joined.wait(30)
        while len(self._waiters) < 2:
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(committer.Committer, "_entertain", strike)
    with Log.open(tmp_path / "log") as log:
        first, second = opened(log, 2)
        crew(log)
        first.append(a_step(0), Summary(), awaited=True)
        second.append(a_step(0), Summary(), awaited=True)
        struck: list[BaseException] = []

        def interrupted() -> None:
            try:
                first.flush()
            except KeyboardInterrupt as error:
                struck.append(error)

        one = threading.Thread(target=interrupted)
        one.start()
        while not hosts:
            pass
        two = threading.Thread(target=second.flush)
        two.start()
        joined.set()
        one.join(30)
        two.join(30)
        assert not one.is_alive()
        assert not two.is_alive()
        assert len(struck) == 1
        assert log.head("t1").seq == 4


def test_a_failed_commit_is_told_to_the_whole_crew(tmp_path) -> None:
    """Everybody who gathered for a group hears why it failed."""
    log = Log.open(tmp_path / "log")
    writers = opened(log)
    crew(log)
    heard: list[BaseException] = []

    def fail(_: Group) -> list[Verdict]:
        raise OSError(5, "Input/output error")

    log.store.commit = fail

    def one(writer: Writer) -> None:
        try:
            writer.append(a_step(0), Summary(), awaited=True)
            writer.flush()
        except LogFailed as error:
            heard.append(error)

    threads = [threading.Thread(target=one, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [str(error).count("Input/output") for error in heard] == [1] * CREW
    log.close()


def test_those_who_are_done_are_woken_in_a_row() -> None:
    """Each wakes the next one, one of the others is woken to lead, and nobody is woken twice."""
    done, others = [Waiter(1) for _ in range(3)], [Waiter(2) for _ in range(3)]
    left = settle([others[0], *done, *others[1:]], 1, has_failed=False)
    assert left == others[1:]
    assert [waiter.signal.locked() for waiter in (*done, *others)] == [False, True, True, False, True, True]
    for waiter in done:
        assert waiter.done
        assert waiter.signal.acquire(blocking=False)
        waiter.pass_on()
    assert settle(left, 1, has_failed=True) == []
    assert not any(waiter.signal.locked() or waiter.done for waiter in left)
    assert others[0].following is None


def test_one_who_stops_waiting_wakes_those_behind(tmp_path, monkeypatch) -> None:
    """Ctrl-C strikes a thread that was just to be woken: the one behind it in the row is woken all the same."""
    with Log.open(tmp_path / "log") as log:
        (writer,) = opened(log, 1)
        shared = log._core.committer
        struck, behind = Waiter(1), Waiter(1)
        settle([Waiter(1), struck, behind], 1, has_failed=False)

        class Striking:
            """A signal at which the interrupt arrives."""

            def acquire(self) -> bool:
                raise KeyboardInterrupt

        struck.signal = Striking()  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            shared._wait(struck)
        assert behind.signal.acquire(timeout=5)
        writer.append(a_step(0), Summary())
