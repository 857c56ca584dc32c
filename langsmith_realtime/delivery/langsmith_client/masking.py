"""What LangSmith's client masks (``hide_inputs``, ``hide_outputs``, ``hide_metadata``, ``anonymizer``).

LangSmith's masking covers JSON only. From the settings read here, the rest of the package also silences the recording
of a hidden channel, leaves out quotations in errors, and sends a run bare when the client's masking fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakSet

from langsmith import Client, utils

from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.delivery.operations import PAYLOAD_LEFT_OUT, RESPONSE_METADATA
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, format_without_message, logger

#: The client's attribute that hides a channel's words: the user speaks in inputs, the agent in outputs.
_HIDE_CHANNEL = {USER: "_hide_inputs", AGENT: "_hide_outputs"}
#: The client's attribute that masks inputs, outputs and, since langsmith 0.10, errors; replaces functions in the above.
_ANONYMIZER = "_anonymizer"
_HIDE_METADATA = "_hide_metadata"
_MASKS = (*_HIDE_CHANNEL.values(), _ANONYMIZER, _HIDE_METADATA)

#: The parts of a run that a client masks.
RunPart = Literal["inputs", "outputs", "metadata", "error"]

_PROBE = "a word that nobody said"

_probed: WeakKeyDictionary[Client, tuple[tuple[Any, ...], frozenset[int]]] = WeakKeyDictionary()
_warned: WeakSet[Client] = WeakSet()


def hidden_channels(client: Client) -> frozenset[int]:
    """The recording's channels (USER, AGENT) whose words the client hides completely; their audio must be silenced.

    A masking function of the application hides a channel if its result for a test payload lacks the test text, or if it
    raises. The result is kept for each client until its settings change, because such functions may be slow.
    """
    settings = tuple(getattr(client, name, None) for name in (*_HIDE_CHANNEL.values(), _ANONYMIZER))
    probed = _probed.get(client)
    if probed is None or probed[0] != settings:
        probed = settings, frozenset(channel for channel, name in _HIDE_CHANNEL.items() if _hides(client, name))
        _probed[client] = probed
    return probed[1]


def hidden_by_environment() -> frozenset[int]:
    """The channels whose words ``LANGSMITH_HIDE_INPUTS`` and ``LANGSMITH_HIDE_OUTPUTS`` hide without a client."""
    names = {USER: "HIDE_INPUTS", AGENT: "HIDE_OUTPUTS"}
    return frozenset(channel for channel, name in names.items() if utils.get_env_var(name) == "true")


def _hides(client: Client, name: str) -> bool:
    setting = getattr(client, name, None)
    if setting is True:
        return True
    mask = getattr(client, _ANONYMIZER, None) or setting
    if not callable(mask):
        return False
    try:
        return _PROBE not in str(mask({"event": {"text": _PROBE}, "messages": [{"role": "user", "content": _PROBE}]}))
    except CALLBACK_ERRORS:
        return True  # a silent recording is better than one that should have been hidden


def hides_payloads(client: Client) -> bool:
    """Whether the client hides or masks inputs or outputs by ``hide_inputs`` or ``hide_outputs``."""
    return any(getattr(client, name, False) for name in _HIDE_CHANNEL.values())


def hides_inputs(client: Client) -> bool:
    """Whether the client hides all inputs, without asking a function."""
    return getattr(client, _HIDE_CHANNEL[USER], False) is True


def masks_inputs(client: Client) -> bool:
    """Whether a function of the application masks the client's inputs."""
    return callable(getattr(client, _HIDE_CHANNEL[USER], None)) or bool(getattr(client, _ANONYMIZER, None))


def mask(client: Client, part: RunPart, value: Any) -> Any:
    """A part of a run as the client would send it; unchanged if this version of the client does not mask that part.

    Raises:
        BaseException: whatever a masking function of the application raises.
    """
    function = getattr(client, f"_hide_run_{part}", None)
    return value if function is None else function(value)


def calls_application(client: Client) -> bool:
    """Whether the client masks with functions of the application, which may be slow or fail."""
    return any(callable(getattr(client, name, None)) for name in _MASKS)


def error_anonymizer(client: Client) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """The client's anonymizer if the client does not apply it to errors itself (before langsmith 0.10), else None."""
    return None if hasattr(client, "_hide_run_error") else getattr(client, _ANONYMIZER, None)


def visible_scores(client: Client, scores: Mapping[str, float]) -> dict[str, float]:
    """The feedback scores that the client's ``hide_metadata`` leaves as they are; the root's metadata has them, too."""
    hides: bool | Callable[[dict[str, Any]], object] | None = getattr(client, _HIDE_METADATA, None)
    if callable(hides):
        masked = hides(dict(scores))
        return {key: scores[key] for key in scores if isinstance(masked, dict) and masked.get(key) == scores[key]}
    return {} if hides else dict(scores)


def unmasked_client(client: Client) -> Client:
    """A copy of the client that masks nothing, for runs that are masked already."""
    unmasked = copy.copy(client)
    for name in _MASKS:
        setattr(unmasked, name, None if name == _ANONYMIZER else False)
    unmasked._omit_traced_runtime_info = True  # noqa: SLF001 - the runs have it already, masked
    return unmasked


def without_payload(client: Client, run: Mapping[str, Any], application_keys: Collection[str]) -> dict[str, Any]:
    """A run without inputs and outputs, with a placeholder for an error, because masking them failed.

    Args:
        client: masks the metadata. If that fails, only numbers and ``ls_…`` texts of this package remain of the
            metadata.
        run: the run as LangSmith's ``multipart_ingest`` takes it.
        application_keys: the metadata keys that the application set.
    """
    bare = {key: value for key, value in run.items() if key not in ("inputs", "outputs", "error")}
    if run.get("error") is not None:
        bare["error"] = NOT_KEPT
    metadata = run["extra"]["metadata"]
    try:
        masked: object = mask(client, "metadata", dict(metadata))
    except CALLBACK_ERRORS:
        masked = None
    if not isinstance(masked, dict):
        hidden = {*application_keys, RESPONSE_METADATA}
        own = {key: value for key, value in metadata.items() if key not in hidden}
        terms = {key: value for key, value in own.items() if key.startswith("ls_") and isinstance(value, str)}
        masked = {**_numbers(own), **terms}
    return {**bare, "extra": {"metadata": {**masked, PAYLOAD_LEFT_OUT: True}}}


def _numbers(metadata: Mapping[str, Any]) -> dict[str, Any]:
    members = {key: _numbers(value) if isinstance(value, dict) else value for key, value in metadata.items()}
    return {key: value for key, value in members.items() if isinstance(value, (int, float, dict)) and value != {}}


def warn_masking_failed(client: Client, error: BaseException) -> None:
    """Warn, once for each client, that its masking fails and runs are sent without payload."""
    if client not in _warned:
        _warned.add(client)
        message = "your masking failed; the runs concerned are sent without inputs, outputs and errors, marked %s\n%s"
        logger.warning(message, PAYLOAD_LEFT_OUT, format_without_message(error))
