"""Where the processes of the fleet say that they live and what they have counted, and which tick woke a lane."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Straight to the driver, as one script.
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.driver_connection.execute(statements)  # type: ignore[union-attr]  # psycopg's connection


def downgrade() -> None:
    op.execute("ALTER TABLE wake_up DROP COLUMN cause")
    op.execute("DROP TABLE tally")
    op.execute("DROP TABLE process")
