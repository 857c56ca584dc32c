"""The exporter to OpenTelemetry: spans, log records and metrics of a conversation. Imported only if it is on."""
