"""What alembic runs to migrate: on the connection it was handed, in the transaction that is open there."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
