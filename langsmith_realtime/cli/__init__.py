"""Change here what the ``langsmith-realtime`` command says and takes: only these modules speak to a terminal."""
