"""Messages for errors that the user can fix: each says what is wrong and what to do."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from demo.devices.interface import DeviceError

START_AGAIN = "check the network and start again."


def user_message(error: BaseException) -> str | None:
    """Returns the message for an error, or None for a bug of the demo, which needs its traceback."""
    if isinstance(error, DeviceError):
        return str(error)
    if isinstance(error, InvalidStatus):
        return _refusal_message(error.response.status_code)
    if isinstance(error, ConnectionClosed):
        reason = f"{error.rcvd.code} {error.rcvd.reason}".strip() if error.rcvd else "no close frame received"
        if "api_key" in reason:
            return _refusal_message(401)
        return f"The connection to the model was lost ({reason}): {START_AGAIN}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be written ({error.strerror}): choose another folder with --output."
    if isinstance(error, WebSocketException | OSError | TimeoutError):
        return f"The model cannot be reached ({str(error) or type(error).__name__}): {START_AGAIN}"
    return None


def incomplete_trace_message(*, key_refused: bool) -> str:
    """Returns the message for a trace that was not sent, or not completely."""
    if key_refused:
        return (
            "LangSmith refused the API key: set LANGSMITH_API_KEY to a valid one, "
            "or unset it to keep the trace on this machine."
        )
    return "The trace was not sent to LangSmith completely: check the network and LANGSMITH_ENDPOINT."


def _refusal_message(status: int) -> str:
    if status in (401, 403):
        return (
            f"OpenAI refused the API key ({status}): set OPENAI_API_KEY to a key with access to the Realtime API, "
            "or unset it to talk to the bundled model."
        )
    if status == 429:
        return "OpenAI refused the conversation (429): check the usage limits of your account."
    return f"OpenAI refused the conversation ({status}): check --model, or try again later."
