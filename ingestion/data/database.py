"""Tables of any database that SQLAlchemy has a driver for, read by dlt's `sql_table`, row by row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from ingestion.data.entities import Type
from ingestion.data.records import Row
from ingestion.errors import ConfigError, CredentialsError, DataError, LarderError, VendorError

_CHUNK = 5000
_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], Type], ...] = (
    (sa.types.Boolean, "boolean"),
    (sa.types.Integer, "integer"),
    (sa.types.Numeric, "number"),
    (sa.types.DateTime, "timestamp"),
    (sa.types.Date, "date"),
)


@dataclass(frozen=True)
class Table:
    """A table as the database describes it."""

    name: str
    key: tuple[str, ...]
    types: Mapping[str, Type]


class Database:
    """A database by its SQLAlchemy URL. Errors name the database, never its password."""

    def __init__(self, url: str, again: str) -> None:
        """`again`: the command that checks the source."""
        self._again = again
        try:
            at = sa.make_url(url)
            self.shown = at.set(password=None).render_as_string(hide_password=True)
            self._engine = sa.create_engine(at, poolclass=sa.pool.NullPool, connect_args=_connect_args(at))
        except sa.exc.ArgumentError as error:
            raise CredentialsError(
                "the database's address is no SQLAlchemy URL such as postgresql+psycopg2://user:password@host/database",
                next_command=again,
            ) from error
        except (sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise ConfigError(
                f"there is no driver for {at.drivername} here ({_cause(error)}); for MySQL: pip install pymysql",
                next_command=again,
            ) from error

    def tables(self) -> list[str]:
        """Names of the tables and views of the default schema, and of the other schemas with theirs before."""
        with self._explained():
            inspector = sa.inspect(self._engine)
            usual = inspector.default_schema_name
            found = []
            for schema in inspector.get_schema_names():
                if schema not in ("information_schema", "pg_catalog", "mysql", "performance_schema", "sys"):
                    names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
                    found += [name if schema == usual else f"{schema}.{name}" for name in names]
            return sorted(found)

    def table(self, name: str) -> Table:
        """What the database says of a table; ConfigError if there is none."""
        with self._explained():
            reflected = self._reflected(name)
        types = {column.name: _kind(column.type) for column in reflected.columns}
        return Table(name, tuple(column.name for column in reflected.primary_key.columns), types)

    def rows(
        self, name: str, *, order: tuple[str, ...] = (), column: str | None = None, start: str | None = None
    ) -> Iterator[Row]:
        """Rows of a table by one SELECT, which is one consistent state; with `start` those with `column` ≥ it."""
        from dlt.sources.sql_database import sql_table

        def narrowed(query: Any, table: Any, *_: Any) -> Any:
            if column is not None and start is not None:
                query = query.where(table.c[column] >= _typed(start, table.c[column].type))
            return query.order_by(*(table.c[name] for name in order)) if order else query

        schema, _, table = name.rpartition(".")
        with self._explained():
            resource = sql_table(
                self._engine,
                table=table,
                schema=schema or None,
                chunk_size=_CHUNK,
                query_adapter_callback=narrowed,
            )
            for record in resource:
                yield Row(record)

    def _reflected(self, name: str) -> sa.Table:
        schema, _, table = name.rpartition(".")
        try:
            return sa.Table(table, sa.MetaData(), autoload_with=self._engine, schema=schema or None)
        except sa.exc.NoSuchTableError as error:
            raise ConfigError(
                f"{self.shown} has no table {name!r}; it has: {', '.join(self.tables()) or 'none'}",
                next_command=self._again,
            ) from error

    def _explained(self) -> "_Explained":
        return _Explained(self.shown, self._again)


class _Explained:
    """Turns what drivers raise into errors that a person can act on."""

    def __init__(self, shown: str, again: str) -> None:
        self._shown, self._again = shown, again

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        root: BaseException | None = error
        while root is not None and not isinstance(root, sa.exc.SQLAlchemyError | LarderError):
            root = root.__cause__ or root.__context__  # dlt wraps what the driver raised
        if root is None or isinstance(root, LarderError):
            return
        cause = _cause(root)
        if any(sign in cause.lower() for sign in ("password", "authentication", "access denied", "permission denied")):
            raise CredentialsError(f"{self._shown} refused: {cause}", next_command=self._again) from error
        if isinstance(root, sa.exc.OperationalError | sa.exc.InterfaceError):
            raise VendorError(f"{self._shown} does not answer: {cause}", next_command=self._again) from error
        raise DataError(f"{self._shown}: {cause}", next_command=self._again) from error


def _cause(error: BaseException) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _connect_args(url: sa.URL) -> dict[str, Any]:
    return {"connect_timeout": 10} if url.get_backend_name() in ("postgresql", "mysql", "mariadb") else {}


def _typed(value: str, kind: sa.types.TypeEngine[Any]) -> Any:
    """The text of a cursor as what the column holds: databases without types of time compare it as it is written."""
    try:
        python = kind.python_type
    except NotImplementedError:
        return value
    if python is datetime:
        return datetime.fromisoformat(value)
    if python is date:
        return date.fromisoformat(value[:10])
    return python(value)


def _kind(kind: sa.types.TypeEngine[Any]) -> Type:
    """Ours of a database's type. Floats are numbers by their shortest text; what is none of these is text."""
    return next((ours for theirs, ours in _KINDS if isinstance(kind, theirs)), "text")
