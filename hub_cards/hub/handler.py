"""Answers the requests of Inference Endpoints, the Hub's service that runs a model on a machine of its own.

The service makes one `EndpointHandler` of the repository's folder and calls it with each request, as
https://huggingface.co/docs/inference-endpoints/guides/custom_handler has it.
"""

import base64
import binascii
from typing import Any

import torch
from transformers import pipeline

ACCEPTED = "the bytes of a sound file, the same in base64, or {'array': [...], 'sampling_rate': ...}"


class EndpointHandler:
    """The model of a repository.

    Args:
        path: the folder of the repository.
    """

    def __init__(self, path: str = ""):
        self.recognise = pipeline(
            "speech-emotion-recognition",
            model=path,
            trust_remote_code=True,  # this file itself is such code, of the same repository
            device=0 if torch.cuda.is_available() else -1,
        )

    def __call__(self, data: dict[str, Any]) -> dict[str, Any] | list[dict[str, Any]]:
        """Recognises what a request holds.

        Args:
            data: `inputs` is a recording or a list of some, each the bytes of a sound file, the same in base64, also
                with `data:audio/...;base64,` in front, or `{"array", "sampling_rate"}`. `parameters` are the
                pipeline's, such as `{"tasks": ["emotion"], "top_k": 1, "threshold": 0.5}`.

        Returns:
            of one recording its result, see the model card; of a list their list.

        Raises:
            ValueError: the request holds no recording, one that cannot be read, or a parameter that is none.
        """
        inputs, parameters = data.get("inputs"), data.get("parameters") or {}
        try:
            if isinstance(inputs, list):
                return self.recognise([_recording(each) for each in inputs], **parameters)
            return self.recognise(_recording(inputs), **parameters)
        except TypeError as error:  # a parameter of another name or type
            raise ValueError(str(error)) from error


def _recording(given: Any) -> Any:
    """What the pipeline takes. Text is never a path or an address: nothing of the machine is read."""
    if isinstance(given, bytes | bytearray):
        return bytes(given)
    if isinstance(given, str):
        try:
            return base64.b64decode("".join(given.rpartition("base64,")[2].split()), validate=True)
        except binascii.Error as error:
            raise ValueError(f"inputs is text that is no base64 ({error}): send {ACCEPTED}") from error
    if isinstance(given, dict) and set(given) == {"array", "sampling_rate"}:
        return {**given, "array": torch.tensor(given["array"], dtype=torch.float32).numpy()}
    raise ValueError(f"inputs holds no recording: send {ACCEPTED}")
