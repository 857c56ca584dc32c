"""Change here what payloads consist of: JSON values, removed secrets, error texts."""
