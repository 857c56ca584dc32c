"""A LangSmith-compatible ingest server on this machine: for tests, for demos, and for work without an account.

Needs the ``collector`` extra: ``pip install 'langsmith-realtime[collector]'``.
"""

from __future__ import annotations

from langsmith_realtime.collector.ingest.endpoints import Limits
from langsmith_realtime.collector.records import Attachment, Request, StoredRun, Violation
from langsmith_realtime.collector.server import Collector

__all__ = ["Attachment", "Collector", "Limits", "Request", "StoredRun", "Violation"]
