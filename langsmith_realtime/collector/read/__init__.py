"""Change here how the collector answers queries: the read endpoints, filter expressions and JSON views of runs."""
