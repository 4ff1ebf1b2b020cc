"""A migration is a pair of files: `NNNN_name.sql` holds the DDL, `NNNN_name.py` its place in the order."""

from pathlib import Path

from alembic import context, op


def run_sql_beside(module_file: str) -> None:
    """Run the .sql file that stands beside a migration module, its schema placeholders filled.

    The driver's own cursor is used: SQLAlchemy would read the DDL's % signs as parameters.
    """
    sql = Path(module_file).with_suffix(".sql").read_text()
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    with connection.cursor() as cursor:
        cursor.execute(context.config.attributes["render"](sql))
