"""The providers of each channel: their weights and breakers, why each moved, and the answers they are judged by."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Straight to the driver, as one script.
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.driver_connection.execute(statements)  # type: ignore[union-attr]  # psycopg's connection


def downgrade() -> None:
    op.execute("DROP FUNCTION stopped_channels()")
    op.execute("DROP TABLE sender_seen")
    op.execute("DROP TABLE provider_answer")
    op.execute("DROP TABLE provider_change")
    op.execute("DROP TABLE provider")
