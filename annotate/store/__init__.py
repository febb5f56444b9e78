"""The durable store of Teach: images, tasks, annotations, audit log, in SQLite or PostgreSQL."""
