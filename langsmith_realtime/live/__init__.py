"""Change here what runs between the caller's lines, and the worker that empties its queue."""
