"""A database that several threads of Neutron may use at once: SQLite in a file, one transaction after the other.

Neutron's own test base has its database in memory, over one connection for all threads: two transactions would be one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy
from neutron_lib import fixture
from neutron_lib.db import model_base
from oslo_db.sqlalchemy import exc_filters


class FileDatabase(fixture.SqlFixture):  # type: ignore[misc]
    """As Neutron's fixture, with an engine of its own.

    `one_at_a_time`: transactions wait for each other.  Otherwise one that only reads has what was there before, and one
    thread may read while it writes.
    """

    def __init__(self, folder: Path, *, one_at_a_time: bool = True) -> None:
        super().__init__()
        self._begin = "BEGIN IMMEDIATE" if one_at_a_time else "BEGIN"
        self._file = folder / "neutron.db"

    def _init_resources(self) -> None:
        engine = sqlalchemy.create_engine(
            f"sqlite:///{self._file}", connect_args={"timeout": 60, "check_same_thread": False}
        )
        exc_filters.register_engine(engine)

        @sqlalchemy.event.listens_for(engine, "connect")
        def connected(connection: Any, record: object) -> None:
            connection.isolation_level = None  # transactions begin as said below
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA journal_mode=WAL")

        @sqlalchemy.event.listens_for(engine, "begin")
        def begun(connection: Any) -> None:
            connection.exec_driver_sql(self._begin)

        model_base.BASEV2.metadata.create_all(engine)
        self.engine = engine

    def _delete_from_schema(self, engine: Any) -> None:
        engine.dispose()
