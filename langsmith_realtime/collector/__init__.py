"""A LangSmith-compatible server on 127.0.0.1 that stores runs: for tests, for demos and for work without an account.

Change here what the server accepts (``ingest``, ``rules``), stores (``storage``, ``records``) and answers (``read``).
The package needs the ``collector`` extra: ``pip install 'langsmith-realtime[collector]'``.
"""

from __future__ import annotations

from langsmith_realtime.collector.ingest.endpoints import Limits
from langsmith_realtime.collector.records import Attachment, Request, StoredRun, Violation
from langsmith_realtime.collector.server import Collector

__all__ = ["Attachment", "Collector", "Limits", "Request", "StoredRun", "Violation"]
