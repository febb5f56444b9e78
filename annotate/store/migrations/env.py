"""What Alembic runs: the migrations, in the transaction that `database.migrate` began."""

from alembic import context

from annotate.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
