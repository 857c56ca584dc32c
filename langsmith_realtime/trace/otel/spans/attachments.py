"""The recording as an attachment of the session's span, for a backend that takes attachments in spans."""

from __future__ import annotations

from pathlib import Path

import pybase64
from opentelemetry.trace import Span

#: The name of the attachment, as in LangSmith's own trace of a conversation.
NAME = "conversation"


def attach(span: Span, attribute: str, mime_type: str, path: Path) -> str | None:
    """Attach a file to a span that is recording, as JSON text of a list with one attachment.

    The whole file is read into memory, and its base64 text has 4/3 of its size.

    Args:
        span: the span.
        attribute: the attribute that the backend reads.
        mime_type: MIME type of the file.
        path: the file.

    Returns:
        Why the file is not attached; None if it is.
    """
    try:
        content = pybase64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        return f"the recording could not be read ({type(error).__name__})"
    value = f'[{{"name":"{NAME}","content":"{content}","mime_type":"{mime_type}"}}]'
    span.set_attribute(attribute, value)
    taken = getattr(span, "attributes", None)  # the SDK's spans have it, the API's do not
    if taken is None or taken.get(attribute) == value:
        return None
    span.set_attribute(attribute, "[]")
    return "the recording is not attached, because OpenTelemetry's limit for the length of attributes would cut it"
