"""Change here how the collector parses write requests: bodies, multipart parts and the write endpoints."""
