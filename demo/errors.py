"""What goes wrong outside the demo, each in one sentence with the remedy."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from demo.devices import DeviceError

START_AGAIN = "check the network and start again."


def sentence(error: BaseException) -> str | None:
    """The sentence for an error; None for one that is a bug of the demo and deserves its traceback."""
    if isinstance(error, DeviceError):
        return str(error)
    if isinstance(error, InvalidStatus):
        return _refused(error.response.status_code)
    if isinstance(error, ConnectionClosed):
        why = f"{error.rcvd.code} {error.rcvd.reason}".strip() if error.rcvd else "without a word"
        if "api_key" in why:
            return _refused(401)
        return f"The connection to the model was lost ({why}): {START_AGAIN}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be written ({error.strerror}): choose another folder with --output."
    if isinstance(error, WebSocketException | OSError | TimeoutError):
        return f"The model cannot be reached ({str(error) or type(error).__name__}): {START_AGAIN}"
    return None


def unsent(*, key_refused: bool) -> str:
    """The sentence for a trace that could not be sent, or not all of it."""
    if key_refused:
        return (
            "LangSmith refused the API key: set LANGSMITH_API_KEY to a valid one, "
            "or unset it to keep the trace on this machine."
        )
    return "Not all of the trace could be sent to LangSmith: check the network and LANGSMITH_ENDPOINT."


def _refused(status: int) -> str:
    if status in (401, 403):
        return (
            f"OpenAI refused the API key ({status}): set OPENAI_API_KEY to a key with access to the Realtime API, "
            "or unset it to talk to the bundled model."
        )
    if status == 429:
        return "OpenAI refused the conversation (429): check the usage limits of your account."
    return f"OpenAI refused the conversation ({status}): check --model, or try again later."
