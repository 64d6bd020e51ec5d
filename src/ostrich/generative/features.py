"""Features of a named classifier: what its last linear layer is given. Distances are named by it.

A clip's features are those of its frames: their mean over time, and beside it how far they move from
frame to frame, root mean square. A clip that stands still has zeros there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.figures.clips import frames
from ostrich.models import Classifier
from ostrich.models.answers import answered
from ostrich.models.batches import exactly
from ostrich.models.untouched import untouched
from ostrich.runtime.events import counted
from ostrich.runtime.resumable import Content, mapped

BATCH = 256  # images


@torch.no_grad()
def features(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) and logits (N, K), float32 on the CPU, of images (N, C, H, W) in [0, 1].

    Features are what the linear layer is given that is called last. Of clips (N, C, T, H, W) features
    (N, 2 D) and the mean logits of their frames. Images of another size are interpolated bilinearly to the
    classifier's, so real images to compare with must first have been brought to the generated ones' size.
    Raises InputError for a network without such a layer, and where it has no finite features of an image, or
    no answer to it.
    """
    if images.ndim == 5:
        of_frames, logits = features_of_frames(classifier, images)
        return over_time(of_frames), logits.mean(1)
    layer, classes = _head(classifier, images)
    rows = _each(lambda batch: _seen(classifier, layer, fitted(batch, classifier)), images, "features")
    found, logits = rows[:, :-classes], rows[:, -classes:]
    if missing := int((~found.isfinite().all(1) | ~answered(logits)).sum()):
        raise InputError(
            f"{classifier.name} has no finite features of {missing} of {len(images)} images, or no answer to "
            "them: no distance from them is known. Name another network with --features MODEL."
        )
    return found, logits


@torch.no_grad()
def scores(classifier: Classifier, images: Tensor) -> Tensor:
    """Logits (N, K), float32 on the CPU, of images (N, C, H, W) in [0, 1]; of clips' frames (N, T, K).

    Sizes are brought together as by `features`; the network needs no linear layer.
    """
    if images.ndim == 5:
        return scores(classifier, frames(images)).unflatten(0, (len(images), -1))
    return _each(lambda batch: classifier.predict(fitted(batch, classifier)), images, "scores")


def _each(rows: Callable[[Tensor], Tensor], images: Tensor, what: str) -> Tensor:
    """Rows (N, ...) of images, found batch by batch by the executor around."""

    def found(batch: Tensor) -> Content:
        return {"rows": rows(batch).float().cpu()}

    batches = images.split(BATCH)
    with counted(f"{what} of {len(images)} images", len(batches), "batches") as advance:
        return torch.cat([one["rows"] for one in mapped(found, batches, advance)])


def _head(classifier: Classifier, images: Tensor) -> tuple[str, int]:
    """The name of the linear layer that is called last for images of that size, and the number of classes."""
    network = classifier.network
    modules = dict(network.named_modules()) if isinstance(network, nn.Module) else {}
    linear = {name: part for name, part in modules.items() if isinstance(part, nn.Linear)}
    if not linear:
        raise InputError(f"{classifier.name} has no linear layer whose input could serve as features.")
    grey = fitted(torch.full_like(images[:1], 0.5), classifier)
    size = classifier.size
    classifier.size = size or (grey.shape[2], grey.shape[3])
    try:
        classifier.probe()  # which asks more than once: how answers are read, and how many at once
    finally:
        classifier.size = size
    called: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        return lambda *_: called.append(name)

    handles = [part.register_forward_pre_hook(watch(name)) for name, part in linear.items()]
    try:
        with untouched(network):
            logits = classifier(grey)
    finally:
        for handle in handles:
            handle.remove()
    if not called:
        raise InputError(f"{classifier.name} calls none of its linear layers: it has no features to compare.")
    return called[-1], logits.shape[1]


def _seen(classifier: Classifier, layer: str, images: Tensor) -> Tensor:
    """What a layer is given of images (N, C, H, W), and their logits beside it, (N, D + K)."""
    network = classifier.network
    assert isinstance(network, nn.Module)
    given: list[Tensor] = []  # when it was called last

    def keep(_: nn.Module, positional: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        given[:] = [tensor.clone() for tensor in (*positional, *named.values())]

    def rows(part: Tensor) -> Tensor:
        batch = classifier.batch
        logits = classifier(part)
        if classifier.batch != batch:  # it did not take so many, and was asked more than once
            return exactly(rows, part, classifier.batch or len(part))
        (seen,) = given
        seen = seen if seen.ndim > 1 else seen[None]
        if len(seen) != len(part):
            raise InputError(
                f"The last linear layer of {classifier.name}, {layer}, is given {tuple(seen.shape)} of "
                f"{len(part)} images: these are no features of each."
            )
        return torch.cat([seen.flatten(1).float(), logits.float()], 1)

    handle = network.get_submodule(layer).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with untouched(network):
            return exactly(rows, images, classifier.batch or max(1, len(images)))
    finally:
        handle.remove()


def features_of_frames(classifier: Classifier, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, T, D) and logits (N, T, K) of the frames of clips (N, C, T, H, W)."""
    of_frames, logits = features(classifier, frames(clips))
    return of_frames.unflatten(0, (len(clips), -1)), logits.unflatten(0, (len(clips), -1))


def over_time(of_frames: Tensor) -> Tensor:
    """The features (N, 2 D) of clips whose frames have these (N, T, D)."""
    change = of_frames.diff(dim=1).square().mean(1).sqrt()
    return torch.cat([of_frames.mean(1), change], 1)


def fitted(images: Tensor, classifier: Classifier) -> Tensor:
    """Images at the classifier's size, on its device; grey ones in as many channels as it takes."""
    images = images.to(classifier.device, classifier.image_dtype)
    if images.shape[1] == 1 and classifier.channels > 1:
        images = images.expand(-1, classifier.channels, -1, -1)
    if images.shape[1] != classifier.channels:
        raise InputError(f"{classifier.name} takes {classifier.channels} channels; got {images.shape[1]}.")
    if classifier.size is not None and tuple(images.shape[2:]) != tuple(classifier.size):
        images = F.interpolate(images, classifier.size, mode="bilinear", align_corners=False)
    return images
