"""Change here how the collector stores and returns datasets and their examples."""
