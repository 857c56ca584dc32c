"""Change here what runs in the caller's threads, and the worker thread that processes what they recorded."""
