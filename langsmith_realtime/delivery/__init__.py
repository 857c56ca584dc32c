"""Change here how runs and feedback reach LangSmith: batches, retries, sampling, and LangSmith's client."""
