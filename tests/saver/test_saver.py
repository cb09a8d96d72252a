"""What WalSaver promises beyond LangGraph's contract: order, one writer, small logs, and readings that are fresh."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from saver.putting import Putter, a_checkpoint, config
from saver.stories import STORIES, Trail
from wal_helpers import start

from walgraph import END, START, Log, MemoryLog, StateGraph
from walgraph.replay.errors import OtherThread
from walgraph.tools.errors import CheckpointSuperseded
from walgraph.tools.langgraph_saver import WalSaver
from walgraph.tools.saved_lane import SNAPSHOT_RECORDS
from walgraph.wal import ThreadBusy
from walgraph.wal.saved_record import CheckpointPut, CheckpointsDropped, WritesPut


@pytest.fixture(params=["memory", "disk"])
def log(request: Any, tmp_path: Path) -> Iterator[Log]:
    """A log in memory, and one on disk."""
    opened = MemoryLog() if request.param == "memory" else Log.open(tmp_path / "log", fsync="off")
    with opened:
        yield opened


def records(log: Log, thread: str = "t") -> list[Any]:
    """The records of a thread."""
    return [record for _, record in log.read(thread)]


# ── order ──


def test_writes_reach_the_log_before_the_checkpoint_that_supersedes_them() -> None:
    """LangGraph hands both to a pool of threads and waits for the checkpoint alone; the log keeps order."""

    class Late(WalSaver):
        """Its writes are always overtaken."""

        def put_writes(self, *arguments: Any) -> None:
            time.sleep(0.03)
            super().put_writes(*arguments)

    log = MemoryLog()
    STORIES["fan_out"](Late(log), _Sync)
    put: set[str] = set()
    seen = 0
    for record in records(log):
        if isinstance(record, CheckpointPut):
            put.add(record.parent or "")
        elif isinstance(record, WritesPut):
            seen += 1
            assert record.checkpoint not in put, "its child was put before it"
    assert seen > 10


class _Sync:
    """Runs a graph under ``sync``."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def invoke(self, given: Any, where: Any) -> Any:
        return self.graph.invoke(given, where, durability="sync")


def test_under_async_steps_share_flushes(tmp_path: Path) -> None:
    """A checkpoint that the run has gone on from is not waited for; when the call returns, everything is durable."""
    from langgraph.graph import StateGraph as Theirs

    builder = Theirs(Trail)
    builder.add_node("more", lambda state: {"trail": [len(state["trail"])]})
    builder.add_edge("__start__", "more")
    builder.add_conditional_edges("more", lambda state: "__end__" if len(state["trail"]) > 40 else "more")
    with Log.open(tmp_path / "log") as log:
        graph = builder.compile(checkpointer=WalSaver(log))
        graph.invoke({"trail": []}, {**config(), "recursion_limit": 100}, durability="async")
        row = log.store.row("t")
        assert row is not None
        assert row.seq > 80
        newest = [record for record in records(log) if isinstance(record, CheckpointPut)][-1]
        assert newest.metadata["step"] == row.step
        assert row.frames < 41


# ── one writer ──


def test_the_second_of_two_runs_on_one_parent_is_refused(log: Log) -> None:
    """Both began at the newest checkpoint: the slower one hears who was faster, and leaves no trace."""
    saver = WalSaver(log)
    first = Putter(saver).put(step=0)
    one, two = Putter(saver), Putter(saver)
    one.begin()
    two.begin()
    second = one.put(step=1)
    with pytest.raises(CheckpointSuperseded, match="another run") as refused:
        two.put(step=1)
    assert refused.value.details["parent"] == first["configurable"]["checkpoint_id"]
    assert [each.config["configurable"]["checkpoint_id"] for each in saver.list(config())] == [
        second["configurable"]["checkpoint_id"],
        first["configurable"]["checkpoint_id"],
    ]
    one.put(step=2)


def test_two_runs_that_begin_a_thread_are_told_apart(log: Log) -> None:
    """A thread that did not exist has one beginning."""
    one, two = Putter(WalSaver(log)), Putter(WalSaver(log))
    one.begin()
    two.begin()
    one.put(step=-1)
    with pytest.raises(CheckpointSuperseded, match="did not exist"):
        two.put(step=-1)


def test_forks_can_be_allowed(log: Log) -> None:
    """``on_superseded="fork"`` lets both children stand, as LangGraph's savers do."""
    saver = WalSaver(log, on_superseded="fork")
    Putter(saver).put(step=0)
    one, two = Putter(saver), Putter(saver)
    one.begin()
    two.begin()
    one.put(step=1)
    two.put(step=1)
    assert len(list(saver.list(config()))) == 3
    with pytest.raises(ValueError, match="on_superseded"):
        WalSaver(log, on_superseded="maybe")  # type: ignore[arg-type]


def test_whoever_asks_for_a_checkpoint_may_fork_from_it(log: Log) -> None:
    """Time travel names the checkpoint, so a second child of it is meant."""
    saver = WalSaver(log)
    first = Putter(saver).put(step=0)
    Putter(saver, first).put(step=1)
    traveller = Putter(saver)
    traveller.begin(first["configurable"]["checkpoint_id"])
    traveller.put(step=1)
    assert len(list(saver.list(config()))) == 3


PROCESS = """
import sys
from saver.putting import Putter, config
from walgraph.tools.langgraph_saver import WalSaver
from walgraph.replay.errors import OtherThread
from walgraph.tools.errors import CheckpointSuperseded
saver = WalSaver(path)
putter = Putter(saver)
putter.begin()
say("ready")
while (word := listen()):
    if word == "begin":
        putter.begin()
        say("begun")
    elif word == "writes":
        saver.put_writes(putter.config, [("x", 1)], "task", "path")
        say("written")
    else:
        try:
            putter.put(step=int(word))
            say("put")
        except CheckpointSuperseded as error:
            say("refused")
"""


def test_two_processes_on_one_thread(tmp_path: Path) -> None:
    """The second writer of a superseded parent is refused; a run that begins after the other one goes on from it."""
    from wal_helpers import end, heard, tell

    with WalSaver(tmp_path / "log") as saver:
        here = Putter(saver)
        here.put(step=0)
        other = start(PROCESS, tmp_path / "log")
        assert heard(other) == "ready"
        here.begin()
        here.put(step=1)
        tell(other, "writes")
        assert heard(other) == "written"
        tell(other, "1")
        assert heard(other) == "refused"
        tell(other, "begin")
        assert heard(other) == "begun"
        tell(other, "2")
        assert heard(other) == "put"
        newest = saver.get_tuple(config())
        assert newest is not None
        assert newest.metadata["step"] == 2
        with pytest.raises(CheckpointSuperseded):
            here.put(step=2)
        here.begin()
        here.put(step=3)
        tell(other, "")
        assert end(other) == 0
        assert [each.metadata["step"] for each in saver.list(config())] == [3, 2, 1, 0]
        # What the other process wrote for the superseded checkpoint was not lost.
        assert [len(each.pending_writes or ()) for each in saver.list(config())] == [0, 0, 0, 1]


def test_many_threads_put_writes_at_once(log: Log) -> None:
    """Writes of tasks that end together are all there, in the order of their paths."""
    saver = WalSaver(log)
    where = Putter(saver).put(step=0)

    def write(number: int) -> None:
        saver.put_writes(where, [("x", number)], f"task {number}", f"~path {number:03}")

    workers = [threading.Thread(target=write, args=(number,)) for number in range(40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = saver.get_tuple(where)
    assert found is not None
    assert [value for _, _, value in found.pending_writes or ()] == list(range(40))


def test_a_thread_is_run_by_one_of_the_two(log: Log) -> None:
    """A graph of walgraph refuses a thread of LangGraph's, LangGraph's saver one of walgraph's, and neither changes."""
    graph = StateGraph(Trail).add_node("n", lambda _: {"last": 1}).add_edge(START, "n").compile(log)
    graph.invoke({"trail": []}, config("ours"))
    Putter(WalSaver(log), config("theirs")).put(step=0)
    before = {head.thread_id: head.seq for head in log.threads()}
    with pytest.raises(OtherThread, match="run by LangGraph"):
        graph.invoke({"trail": []}, config("theirs"))
    with pytest.raises(OtherThread, match="run by LangGraph"):
        graph.get_state(config("theirs"))
    with pytest.raises(OtherThread, match="run by walgraph"):
        Putter(WalSaver(log), config("ours")).put(step=0)
    with pytest.raises(OtherThread, match="run by walgraph"):
        WalSaver(log).get_tuple(config("ours"))
    assert [each.metadata["step"] for each in WalSaver(log).list(None)] == [0]
    assert {head.thread_id: head.seq for head in log.threads()} == before
    with log.writer("claimed"), pytest.raises(ThreadBusy):
        Putter(WalSaver(log), config("claimed")).put(step=0)
    assert END


# ── values ──


def test_what_is_read_is_what_was_put(log: Log) -> None:
    """Tags, tuples in metadata, versions of all types, unknown keys, and values of every size come back."""
    saver = WalSaver(log)
    values = {
        "none": None,
        "bytes": b"\x00",
        "array": bytearray(b"xy"),
        "large": "x" * 100_000,
        "middle": ["y" * 9000],
        "set": {1, 2},
    }
    given = a_checkpoint(values, {key: number + 0.5 for number, key in enumerate(values)})
    given["versions_seen"] = {"node": {"none": "00002.5", "large": 3}, "empty": {}}
    given["pending_sends"] = [["odd", 1]]
    saver.put(
        config(), given, {"source": "input", "step": -1, "odd": {"x": [1, 2]}}, given["channel_versions"]
    )
    found = saver.get_tuple(config())
    assert found is not None
    assert found.checkpoint == given
    assert [type(version) for version in found.checkpoint["versions_seen"]["node"].values()] == [str, int]
    assert found.metadata == {"source": "input", "step": -1, "odd": {"x": [1, 2]}}
    assert found.parent_config is None


def test_an_encrypting_serialiser_is_honoured(log: Log) -> None:
    """The log holds only what the cipher made, and another key cannot read it."""

    class Cipher:
        def encrypt(self, data: bytes) -> tuple[str, bytes]:
            return "xor", bytes(byte ^ 0x55 for byte in data)

        def decrypt(self, name: str, data: bytes) -> bytes:
            assert name == "xor"
            return bytes(byte ^ 0x55 for byte in data)

    saver = WalSaver(log, serde=EncryptedSerializer(Cipher()))
    where = Putter(saver).put({"secret": "the word " * 100}, step=0)
    saver.put_writes(where, [("secret", "the other word " * 100)], "task")
    found = saver.get_tuple(where)
    assert found is not None
    assert found.checkpoint["channel_values"]["secret"].startswith("the word")
    assert b"the word" not in b"".join(body for _, body in log.frames("t"))
    payloads = [
        kept for record in records(log) if isinstance(record, CheckpointPut) for _, kept in record.values
    ]
    assert {payload.type for payload in payloads} == {"msgpack+xor"}


def test_a_growing_list_is_written_once(log: Log) -> None:
    """Each version of a channel refers to what the one before holds, and a value that was a write is not repeated."""
    saver, putter = WalSaver(log), Putter(WalSaver(log))
    said: list[str] = []
    for turn in range(300):
        new = f"{turn} " + "x" * 300
        if turn:
            saver.put_writes(putter.config, [("said", [new])], f"task {turn}", "~path")
        said = [*said, new]
        putter.put({"said": said, "same": "y" * 5000}, step=turn)
    size = sum(header.length for header, _ in log.frames("t"))
    assert size < 300 * 1200
    found = WalSaver(log).get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"]["said"] == said
    assert [len(each.checkpoint["channel_values"]["said"]) for each in saver.list(config())] == [
        *range(300, 0, -1)
    ]


def test_a_value_that_did_not_change_is_not_written_again(log: Log) -> None:
    """Neither where its version stayed, nor where it was set to the same bytes."""
    putter = Putter(WalSaver(log))
    document = "d" * 50_000
    putter.put({"document": document, "n": 0}, step=0)
    before = sum(header.length for header, _ in log.frames("t"))
    for step in range(1, 20):
        putter.put(
            {"document": document, "n": step}, step=step, changed=["n"] if step % 2 else ["n", "document"]
        )
    assert len(log.store.digests()) == 1
    assert sum(header.length for header, _ in log.frames("t")) - before < 20 * 700


def test_a_fresh_reader_sees_the_same_with_and_without_snapshots(tmp_path: Path) -> None:
    """After more records than a snapshot waits for, the newest snapshot and the tail add up to what the records do."""
    with Log.open(tmp_path / "log", fsync="off") as log:
        saver = WalSaver(log)
        putter = Putter(saver)
        for step in range(SNAPSHOT_RECORDS + 100):
            putter.put({"n": step, "list": list(range(step % 50)), "big": "b" * 20_000}, step=step)
            if not step % 7:
                saver.put_writes(putter.config, [("n", step), ("__resume__", [step])], f"task {step}", "~p")
        everything = list(saver.list(config()))
        assert log.store.snapshots("t")
    with Log.open(tmp_path / "log", readonly=True, create=False) as log:
        again = WalSaver(log)
        newest = again.get_tuple(config())
        assert newest == everything[0]
        assert list(again.list(config())) == everything
        lane = again._lane("t")
        from_records = type(lane.state)(log.decoder())
        for seq, record in log.read("t"):
            from_records.apply(seq, record)
        assert from_records.to_plain() == lane.state.to_plain()


# ── listing ──


def test_listing_goes_newest_first_across_namespaces_and_threads(log: Log) -> None:
    """With filters, limits and ``before``; a checkpoint that is not there ends nothing."""
    saver = WalSaver(log)
    for thread in ("a", "b"):
        for ns in ("", "child"):
            putter = Putter(saver, config(thread, checkpoint_ns=ns))
            for step in range(3):
                putter.put(step=step, odd=step % 2)
    everything = list(saver.list(None))
    ids = [each.config["configurable"]["checkpoint_id"] for each in everything]
    assert len(ids) == 12
    assert ids == sorted(ids, reverse=True)
    assert len(list(saver.list(config("a")))) == 3
    both = list(saver.list({"configurable": {"thread_id": "a"}}))
    assert [each.config["configurable"]["checkpoint_ns"] for each in both] == ["child"] * 3 + [""] * 3
    assert [each.metadata["step"] for each in saver.list(None, filter={"odd": 1}, limit=2)] == [1, 1]
    before = both[2].config
    assert len(list(saver.list({"configurable": {"thread_id": "a"}}, before=before))) == 3
    assert list(saver.list(config("a"), limit=0)) == []
    assert list(saver.list(config("nobody"))) == []
    named = list(saver.list(both[1].config))
    assert [each.config for each in named] == [both[1].config]


def test_versions_follow_those_of_the_siblings() -> None:
    """They sort behind what SqliteSaver and PostgresSaver gave, and behind integers of old threads."""
    saver = WalSaver(MemoryLog())
    first = saver.get_next_version(None, None)
    second = saver.get_next_version(first, None)
    theirs = InMemorySaver().get_next_version(None, None)
    assert first < second
    assert saver.get_next_version(theirs, None) > theirs
    assert saver.get_next_version(7, None) == f"{8:032}"
    assert InMemorySaver().get_next_version(second, None) > second


# ── letting go ──


def test_pruning_keeps_the_newest_and_frees_the_log(log: Log) -> None:
    """The newest checkpoint of each namespace is what it was, its writes included, and old frames are cut off."""
    saver = WalSaver(log)
    putter, child = Putter(saver), Putter(saver, config(checkpoint_ns="child:1"))
    for step in range(100):
        putter.put({"said": ["x" * 100] * step, "same": 1}, step=step, changed=["said"] if step else None)
        child.put(step=step)
    saver.put_writes(putter.config, [("x", 1)], "task")
    before = [saver.get_tuple(config()), saver.get_tuple(config(checkpoint_ns="child:1"))]
    size = log.head("t").bytes
    saver.prune(["t", "nobody"])
    after = [saver.get_tuple(config()), saver.get_tuple(config(checkpoint_ns="child:1"))]
    assert after == before
    assert len(list(saver.list({"configurable": {"thread_id": "t"}}))) == 2
    assert log.head("t").bytes < size / 20
    putter.put({"said": []}, step=100)
    assert WalSaver(log).get_tuple(config()).metadata["step"] == 100
    saver.prune(["t"], strategy="delete")
    assert log.head("t") is None
    with pytest.raises(ValueError, match="strategy"):
        saver.prune(["t"], strategy="some")


def test_dropping_a_run_leaves_the_others_as_they_were(log: Log) -> None:
    """Checkpoints that were based on a dropped one say all of themselves from then on."""
    saver = WalSaver(log)
    putter = Putter(saver)
    for step in range(9):
        putter.put({"said": ["y" * 300] * (step + 1), "n": step}, step=step, run_id=f"run {step % 3}")
    before = {each.metadata["step"]: each.checkpoint for each in saver.list(config())}
    saver.delete_for_runs(["run 1", "nobody"])
    after = {each.metadata["step"]: each.checkpoint for each in saver.list(config())}
    assert after == {step: found for step, found in before.items() if step % 3 != 1}
    assert [type(record) for record in records(log)][-1] is CheckpointsDropped
    fresh = {each.metadata["step"]: each.checkpoint for each in WalSaver(log).list(config())}
    assert fresh == after
    saver.delete_for_runs(["run 0", "run 2"])
    assert log.head("t") is None


def test_a_copied_thread_goes_its_own_way(log: Log) -> None:
    """It has all checkpoints and writes, and neither thread hears of what happens to the other."""
    saver = WalSaver(log)
    putter = Putter(saver)
    for step in range(3):
        putter.put({"n": step}, step=step)
    saver.put_writes(putter.config, [("x", 1)], "task")
    saver.copy_thread("t", "copy")
    saver.copy_thread("nobody", "other")
    copied, first = list(saver.list(config("copy"))), list(saver.list(config()))
    assert [each[1:3] for each in copied] == [each[1:3] for each in first]
    assert copied[0].pending_writes == first[0].pending_writes
    Putter(saver, copied[0].config).put({"n": 9}, step=3)
    assert len(list(saver.list(config("copy")))) == 4
    assert len(list(saver.list(config()))) == 3
    with pytest.raises(ThreadBusy):
        saver.copy_thread("t", "copy")


def test_pruning_keeps_what_delta_channels_lean_on(log: Log) -> None:
    """A channel of which a checkpoint holds no value is made of its ancestors' writes, so these stay."""
    saver = WalSaver(log)
    putter = Putter(saver)
    putter.put({"delta": ["whole"]}, step=0)
    for step in range(1, 6):
        saver.put_writes(putter.config, [("delta", step)], f"task {step}", "~p")
        if step == 3:
            putter.put({"delta": ["whole", 1, 2, 3]}, step=step)
        else:
            putter.put({}, step=step, counters_since_delta_snapshot={"delta": (step, step)})
    before = saver.get_delta_channel_history(config=config(), channels=["delta"])
    assert before["delta"]["seed"] == ["whole", 1, 2, 3]
    assert [value for _, _, value in before["delta"]["writes"]] == [4, 5]
    saver.prune(["t"])
    assert saver.get_delta_channel_history(config=config(), channels=["delta"]) == before
    assert [each.metadata["step"] for each in saver.list(config())] == [5, 4, 3]
    again = asyncio.run(saver.aget_delta_channel_history(config=config(), channels=["delta", "none"]))
    assert again == {**before, "none": {"writes": []}}


def test_nothing_is_written_through_a_log_that_is_read_only(tmp_path: Path) -> None:
    """Reading works beside a writer; putting is refused."""
    with WalSaver.from_conn_string(str(tmp_path / "log")) as saver:
        Putter(saver).put(step=0)
    with Log.open(tmp_path / "log", readonly=True) as log:
        reader = WalSaver(log)
        found = reader.get_tuple(config())
        assert isinstance(found, CheckpointTuple)
        with pytest.raises(PermissionError):
            Putter(reader, found.config).put(step=1)
