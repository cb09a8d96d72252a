"""``wal repair``, as a person uses it."""

from __future__ import annotations

from pathlib import Path

from tools_helpers import boom, chain, config, fill, one, told, wal

from walgraph import Log


def damage(path: Path) -> bytes:
    """Flip a bit in the newest record of the thread ``failed``; return the damaged file."""
    data = bytearray((path / "data.mdb").read_bytes())
    data[data.rindex(b"no luck")] ^= 1
    (path / "data.mdb").write_bytes(bytes(data))
    return bytes(data)


def test_a_damaged_log_is_looked_at_and_repaired(tmp_path: Path) -> None:
    """First it is told what would be lost, and nothing is changed; then it is done, and the old log is kept."""
    path = tmp_path / "log"
    fill(path)
    damaged = damage(path)
    plan = told("repair", path, code=1)
    assert [(loss["thread"], loss["first"], loss["last"]) for loss in plan["losses"]] == [("failed", 10, 11)]
    assert (plan["applied"], plan["threads"]) == (False, {"kept": 4, "whole": 3})
    assert "dry run: nothing was changed" in wal("repair", path).stdout
    assert (path / "data.mdb").read_bytes() == damaged
    done = told("repair", path, "--apply")
    assert done["applied"] is True
    assert (Path(done["replaced"]) / "data.mdb").read_bytes() == damaged
    assert told("verify", path)["ok"] is True
    heads = {head["thread"]: head for head in told("threads", path)["threads"]}
    assert (heads["failed"]["status"], heads["failed"]["next"]) == ("crashed", ["boom"])
    assert heads["asking"]["status"] == "interrupted"
    assert "nothing to repair" in wal("repair", path).stdout


def test_a_repaired_thread_carries_on(tmp_path: Path) -> None:
    """From its last sound record: what was lost is done again."""
    path = tmp_path / "log"
    fill(path)
    damage(path)
    wal("repair", path, "--apply")
    with Log.open(path) as log:
        graph = chain(one, boom).compile(log, name="failing")
        assert graph.get_state(config("failed")).next == ("boom",)


def test_a_damaged_log_is_salvaged(tmp_path: Path) -> None:
    """Into a new one; the damaged one stays as it is."""
    path, out = tmp_path / "log", tmp_path / "out"
    fill(path)
    damaged = damage(path)
    assert told("repair", path, "--salvage", out, code=1)["applied"] is False
    assert not out.exists()
    made = told("repair", path, "--salvage", out, "--apply")
    assert (made["made"], made["replaced"]) == (str(out), None)
    assert told("verify", out)["ok"] is True
    assert (path / "data.mdb").read_bytes() == damaged
    assert wal("repair", path, "--salvage", out, "--apply").exit_code == 7


def test_what_cannot_be_repaired_is_said(tmp_path: Path) -> None:
    """No log, one that is open, and a file of which nothing can be read."""
    assert wal("repair", tmp_path / "nowhere").exit_code == 3
    with Log.open(tmp_path / "log"):
        assert wal("repair", tmp_path / "log").exit_code == 4
    (tmp_path / "log" / "data.mdb").write_bytes(bytes(50_000))
    assert wal("repair", tmp_path / "log").exit_code == 5
