"""Functions and what they compute with, sent to other processes.

By cloudpickle, so that a network or an attack from a user's file goes too: its classes are sent by value.
Tensors of a GPU come to that of the receiver.
"""

from __future__ import annotations

import io
import pickle
import sys
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cloudpickle
import torch
from torch import Tensor

from ostrich.runtime.python_file import MODULE


class _Pickler(cloudpickle.Pickler):
    """cloudpickle's, but of a tensor that is a part of a larger one it takes the part."""

    def reducer_override(self, content: Any) -> Any:
        if type(content) is Tensor and content.untyped_storage().nbytes() > content.nbytes:
            return content.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(content)


def packed(content: Any) -> bytes:
    """Anything as bytes. Raises what pickling raises where it cannot be sent."""
    for name, module in list(sys.modules.items()):
        if name.startswith(MODULE):
            cloudpickle.register_pickle_by_value(module)
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_module=SimpleNamespace(__name__="cloudpickle", Pickler=_Pickler))
    return pickle.dumps((sys.path, buffer.getvalue()))


def unpacked(sent: bytes) -> Any:
    """What `packed` packed, in a process of the same command: code of it is run."""
    path, content = pickle.loads(sent)
    sys.path += [place for place in path if place not in sys.path]
    return torch.load(io.BytesIO(content), map_location=_placed, weights_only=False)


def failure(error: BaseException) -> bytes:
    """An exception and its traceback, to be raised elsewhere."""
    text = "".join(traceback.format_exception(error))
    try:
        sent = pickle.dumps((error, text))
        pickle.loads(sent)
    except Exception:
        return pickle.dumps((None, text))
    return sent


def raised(sent: bytes) -> BaseException:
    """The exception again, with its traceback as a note; RuntimeError where it could not be sent."""
    error, text = pickle.loads(sent)
    if error is None:
        return RuntimeError(text)
    error.add_note(f"It was raised in another process:\n{text}")
    found: BaseException = error
    return found


def answered(compute: Callable[[Any], Any], item: bytes) -> bytes:
    """What `opened` opens: the answer to a packed item, or the exception, whose traceback is printed here."""
    try:
        return b"." + packed(compute(unpacked(item)))
    except Exception as error:
        traceback.print_exc()
        return b"!" + failure(error)


def opened(sent: bytes) -> Any:
    """An answer that another process gave. Raises what was raised there."""
    if sent[:1] == b"!":
        raise raised(sent[1:])
    return unpacked(sent[1:])


def _placed(storage: Any, location: str) -> Any:
    return storage.cuda(torch.cuda.current_device()) if location.startswith("cuda") else storage
