"""Change here which sample of which channel was heard when."""
