"""A Postgres server of one's own, for as long as it is needed: for tests, and for benchmarks that compare with it.

The programs are those of the system, or of the package ``pgserver`` from PyPI, which brings them.

This module must not need pytest: benchmarks use it in an environment of their own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class NoPostgres(Exception):
    """No server can be run here, and why."""


def programs() -> tuple[str, str]:
    """Return the paths of ``initdb`` and ``postgres``.

    Raises:
        NoPostgres: They are not there.
    """
    if sys.platform == "win32":
        raise NoPostgres("servers are not started on Windows")
    places = [*os.get_exec_path(), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)]
    found = importlib.util.find_spec("pgserver")
    if found is not None and found.submodule_search_locations:
        places += [f"{place}/pginstall/bin" for place in found.submodule_search_locations]
    for place in places:
        if all(os.access(f"{place}/{name}", os.X_OK) for name in ("initdb", "postgres")):
            return f"{place}/initdb", f"{place}/postgres"
    raise NoPostgres("there is neither a Postgres on the path nor the package pgserver")


@contextlib.contextmanager
def postgres_server(*, durable: bool) -> Iterator[tuple[str, Path]]:
    """Yield the address of a fresh server, and the folder of its data.

    Args:
        durable: Whether it waits for the disk, as servers do by default; its data then lies in the working folder's
            file system, since that of temporary files may be memory.

    Raises:
        NoPostgres: None can be run here.
    """
    initdb, server = programs()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = Path(tempfile.mkdtemp(prefix="walgraph-pg-"))
    how: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    if os.geteuid() == 0:
        # A server refuses to be root's.
        import pwd

        user = pwd.getpwnam("nobody")
        os.chown(base, user.pw_uid, user.pw_gid)
        how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = base / "data"
    try:
        made = subprocess.run(
            [initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], check=False, **how
        )
        if made.returncode:
            raise NoPostgres(f"{initdb} failed")
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={base}"]
        if not durable:
            options.append("fsync=off")
        given = [word for option in options for word in ("-c", option)]
        running = subprocess.Popen([server, "-D", str(data), "-p", str(port), *given], **how)
        try:
            address = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            _await(address)
            yield address, data
        finally:
            # Its fast way down, which waits for nobody.
            running.send_signal(signal.SIGINT)
            running.wait(30)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _await(address: str) -> None:
    import psycopg

    for _ in range(200):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(address).close()
            return
        time.sleep(0.1)
    raise NoPostgres("the server does not answer")


@contextlib.contextmanager
def fresh_database(address: str) -> Iterator[tuple[str, Callable[[], tuple[int, int]]]]:
    """Yield the address of a new database, and what tells how large it is and how much the server has logged."""
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE fresh")

        def sizes() -> tuple[int, int]:
            row = connection.execute(
                "SELECT pg_database_size('fresh'), pg_current_wal_lsn() - '0/0'::pg_lsn"
            ).fetchone()
            assert row is not None, "the query has one row"
            return int(row[0]), int(row[1])

        try:
            yield address.rpartition("/")[0] + "/fresh", sizes
        finally:
            connection.execute("DROP DATABASE fresh WITH (FORCE)")
