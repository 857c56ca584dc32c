"""Change here LangSmith's RunTrees: their ids, parents and root run, and the limits of a trace."""
