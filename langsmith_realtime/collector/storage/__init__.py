"""What a collector stores: one SQLite file with its tables, attachments beside it, and how long both are kept."""
