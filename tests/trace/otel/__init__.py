"""Tests of the exporter to OpenTelemetry, with the real SDK and a receiver of their own."""
