"""What Alembic runs: the migrations, in the transaction that `migrate.py` began."""

from alembic import context

from annotate.store.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
