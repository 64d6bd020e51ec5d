"""`onnx:FILE`: a network as an ONNX file, run by ONNX Runtime (extra `onnx`).

What comes out are scores, without gradients. Images keep their place in [0, 1]: where the file holds no
normalisation, --mean and --std are as necessary as for any other network. It runs on the processor, with
as many threads as torch has.

What a file may look like, and what is done:

    batch       any, or fixed (an export without dynamic axes has 1): parts of that many, the last filled up
    layout      (N, C, H, W), or (N, H, W, C) where only the last side can be channels (1 or 3)
    type        float32, float16, float64; uint8 takes 0..255
    outputs     one of scores (N, K); where there are several, the only one of that form
                one of integer labels (N,), where there are no scores
                where several may be meant, --output NAME or its place
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostrich.errors import InputError, MissingExtra, first_line
from ostrich.images import LEVELS
from ostrich.models.asked import Asked
from ostrich.models.batches import exactly
from ostrich.runtime.files import checksum

TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
SCORES = ("tensor(float)", "tensor(float16)", "tensor(double)")
LABELS = ("tensor(int64)", "tensor(int32)")


class OnnxNetwork:
    """An ONNX file as a function from inputs (N, C, H, W) to scores (N, K) or labels (N,).

    `size` is the (H, W) that the file prescribes, None where it takes any; `channels` likewise. Pickled, it
    takes the file's content along: another process, or machine, opens a session of its own. What lies in
    files beside it (external data) has to be there, at the same path.
    """

    def __init__(self, path: Path, wanted: str | None = None) -> None:
        self.path, self.checksum = path.resolve(), checksum(path)
        self.session = _session(path)
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in TYPES:
            raise InputError(
                f"{str(path)!r} takes {_listed(inputs)}; one batch of images, (N, C, H, W) or (N, H, W, C) "
                f"of {', '.join(TYPES)}, is expected. {_way_out()}"
            )
        self.input, self.type = inputs[0].name, TYPES[inputs[0].type]
        sides = [side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape]
        self.channels_last = sides[3] in (1, 3) and sides[1] not in (1, 3)
        self.batch = sides[0]
        channels, height, width = (
            (sides[3], sides[1], sides[2]) if self.channels_last else (sides[1], sides[2], sides[3])
        )
        self.channels = channels
        self.size = (height, width) if height and width else None
        self.outputs = _outputs(path, outputs, wanted)

    def __call__(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """Scores or labels of images (N, C, H, W), on the images' device; of several outputs, by name."""
        values = images.detach().to("cpu")
        if self.type is np.uint8:
            values = values.mul(LEVELS).round().clamp(0, LEVELS)
        values = values.movedim(1, -1) if self.channels_last else values
        size = self.batch or max(1, len(values))  # without images, the form of the answer to one
        found = {name: exactly(partial(self._run, name), values, size) for name in self.outputs}
        answers = {name: answer.to(images.device) for name, answer in found.items()}
        return answers if len(answers) > 1 else answers[self.outputs[0]]

    def __getstate__(self) -> dict[str, Any]:
        content = self.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.checksum:
            raise InputError(f"{str(self.path)!r} has changed since it was opened; give the command again.")
        return {
            **{name: value for name, value in vars(self).items() if name != "session"},
            "content": content,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        content = state.pop("content")
        self.__dict__ |= state
        here = self.path.is_file() and checksum(self.path) == self.checksum
        self.session = _session(self.path, None if here else content)

    def _run(self, output: str, values: Tensor) -> Tensor:
        array = np.ascontiguousarray(values.numpy(), dtype=self.type)
        return torch.from_numpy(self.session.run([output], {self.input: array})[0])


def onnx_facts(path: str, asked: Asked) -> dict[str, Any]:
    """What a `Classifier` of an ONNX file is made of. Raises InputError, and MissingExtra."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no ONNX file {path!r}.")
    network = OnnxNetwork(file, asked.output)
    bytes_ = {
        "input": "takes bytes, 0 to 255, as the file says: it does its own normalisation, and gets none"
    }
    return {
        "network": network,
        **({"told": bytes_, "takes_bytes": True} if network.type is np.uint8 else {}),
        "size": network.size,
        "channels": network.channels,
        "source": path,
        "checksum": network.checksum,
    }


def _session(path: Path, content: bytes | None = None) -> Any:
    """A session of a file, or of its content where that is given."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(
            f"onnx:{path} needs onnxruntime, which is not installed; "
            'install it with: pip install "ostrich-vision[onnx]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3  # errors; its warnings go to the terminal past Python
    try:
        return onnxruntime.InferenceSession(content or str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has an exception of its own for each kind of damage
        reason = first_line(error)
        raise InputError(f"{str(path)!r} cannot be read as an ONNX network: {reason}") from error


def _outputs(path: Path, outputs: list[Any], wanted: str | None) -> list[str]:
    """The output to read: the only one of scores, else the only one of labels; all where one is `wanted`."""
    names = [output.name for output in outputs]
    places = [*names, *map(str, range(len(names)))]
    if len(names) > 1 and wanted and any(part.strip() in places for part in wanted.split(",")):
        return names
    scores = [o for o in outputs if o.type in SCORES and len(o.shape) == 2]
    labels = [o for o in outputs if o.type in LABELS and len(o.shape) == 1]
    unsure = [  # an export may leave the shape out, or keep axes of length one
        o
        for o in outputs
        if o.type in SCORES and (not o.shape or (len(o.shape) > 2 and set(o.shape[2:]) == {1}))
    ]
    for found in (scores, labels, unsure):
        if len(found) == 1:
            return [found[0].name]
        if found:
            return names  # which one is told by the answers, or by --output
    raise InputError(
        f"{str(path)!r} returns {_listed(outputs)}; one output of scores (N, K) is expected. {_way_out()}"
    )


def _listed(values: list[Any]) -> str:
    return ", ".join(f"{v.name} {v.type} {v.shape}" for v in values) or "nothing"


def _way_out() -> str:
    return (
        "Wrap it: a file with a function that returns a callable from images to scores, as PATH.py:FUNCTION."
    )
