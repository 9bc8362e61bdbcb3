"""${message}

House law: SQL frozen as text, never importing `catalog`; reversible; no statement that waits for readers; data moves in
a migration of its own; no views, for `catalog.views.unfrozen` makes them from the code.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

UPGRADE = """
${upgrades if upgrades else ""}
"""

DOWNGRADE = """
${downgrades if downgrades else ""}
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
