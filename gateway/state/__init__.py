"""What outlives a process: revisions, the audit log, tokens. Append-only, in SQLite or PostgreSQL."""
