"""The demo's output: `screen` during the conversation, `transcript` and `run_tree` after it."""
