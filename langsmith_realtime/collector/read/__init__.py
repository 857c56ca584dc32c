"""Change here what the collector answers: queries, filters and views."""
