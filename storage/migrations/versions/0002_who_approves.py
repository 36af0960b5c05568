"""Who proposes, who approves, who operates: people with keys, and approvals that the database itself checks."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Straight to the driver: the statements hold colons and percent signs that are nobody's parameters.
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.driver_connection.execute(statements)  # type: ignore[union-attr]  # psycopg's connection


def downgrade() -> None:
    raise NotImplementedError("approvals are a record: restore a backup instead")
