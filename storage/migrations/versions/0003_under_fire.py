"""What the fleet must remember to come through fire: whose turn it is, what a process died of, whom to ask again."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Straight to the driver: the statements hold colons and percent signs that are nobody's parameters.
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.driver_connection.execute(statements)  # type: ignore[union-attr]  # psycopg's connection


def downgrade() -> None:
    raise NotImplementedError("suspicions and look-ups are a record: restore a backup instead")
