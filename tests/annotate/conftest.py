"""Stores on SQLite and on a real PostgreSQL, which the test run starts and stops."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from annotate.store.model import StoreSettings
from annotate.store.store import AnnotationStore

BINARIES = (Path("/usr/lib/postgresql/15/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
FAST = ("fsync=off", "synchronous_commit=on", "full_page_writes=off", "listen_addresses=", "max_connections=120")
AS_USER: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}  # never run as root


@dataclass
class Postgres:
    """A server of its own in a temporary folder, reached through a socket there."""

    folder: Path
    binaries: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        settings = (*FAST, f"unix_socket_directories={self.folder}", *options)
        flags = [flag for setting in settings for flag in ("-c", setting)]
        log = (self.folder / "log").open("ab")
        command = [self.binaries / "postgres", "-D", self.folder / "data", *flags]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **AS_USER)
        wait = [self.binaries / "pg_isready", "-h", str(self.folder), "-q", "-t", "5"]
        for _ in range(600):
            if subprocess.run(wait, check=False).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        pytest.fail(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, mode: str = "fast") -> None:
        command = [self.binaries / "pg_ctl", "-D", self.folder / "data", "-m", mode, "-w", "-t", "120", "stop"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **AS_USER)
        assert self.process is not None
        self.process.wait(120)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        command = [self.binaries / "psql", "-h", self.folder, "-U", "postgres", "-d", database, "-qAtc", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def make_postgres() -> Postgres:
    """A fresh server, not started. A missing PostgreSQL is an error; only GAZEVLM_NO_POSTGRES=1 skips its tests."""
    if os.environ.get("GAZEVLM_NO_POSTGRES") == "1":
        pytest.skip("GAZEVLM_NO_POSTGRES=1")
    binaries = next((folder for folder in BINARIES if (folder / "initdb").exists()), None)
    if binaries is None and (found := shutil.which("initdb")):
        binaries = Path(found).parent
    if binaries is None:
        pytest.fail("no PostgreSQL server: apt-get install postgresql, or set GAZEVLM_NO_POSTGRES=1")
    folder = Path(tempfile.mkdtemp(prefix="gazevlm-pg-", dir="/tmp"))  # a socket's path must be short
    if AS_USER:
        shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o755)
    initdb = [binaries / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*initdb, "--locale=C"], check=True, stdout=subprocess.DEVNULL, cwd="/", **AS_USER)
    return Postgres(folder, binaries)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole run."""
    server = make_postgres()
    try:
        server.start()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


_numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database: "" for SQLite in the store's folder, else a new database of the server."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    return server.url(name)


OpenStore = Callable[..., AnnotationStore]


@pytest.fixture
def open_store(tmp_path: Path, store_url: str) -> Iterator[OpenStore]:
    """Opens the test's store, as often as wanted; settings by name, and `clock`."""
    opened: list[AnnotationStore] = []

    def open_it(clock: Any = None, **settings: Any) -> AnnotationStore:
        more = {} if clock is None else {"clock": clock}
        usual = {"gold_share": 0.0, "repeat_share": 0.0, **settings}
        opened.append(AnnotationStore.open(tmp_path / "data", store_url, StoreSettings(**usual), **more))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> AnnotationStore:
    """An empty store that gives out neither gold images nor repeats."""
    return open_store()
