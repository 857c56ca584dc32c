"""Change here what the collector takes: bodies, parts and the endpoints that write."""
