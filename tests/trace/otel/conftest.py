"""Fixtures: a receiver, and the providers of an application that exports to it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from opentelemetry import context

from tests.support.otlp_receiver import OtlpReceiver, Providers, otlp_receiver


@pytest.fixture(autouse=True)
def _no_otel_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Removes OpenTelemetry's settings from the environment, and restores the context after the test."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    before = context.attach(context.get_current())
    yield
    context.detach(before)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as running:
        yield running


@pytest.fixture
def providers(receiver: OtlpReceiver) -> Iterator[Providers]:
    made = Providers(receiver)
    yield made
    made.shutdown()
