"""Change here how payloads are made safe to send: JSON types, size, removed secrets, error texts."""
