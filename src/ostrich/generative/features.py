"""Features of a named classifier: what its last linear layer sees. Distances between them are named by it.

A clip's features are those of its frames: their mean over time, and beside it how far they move from
frame to frame, root mean square. A clip that stands still has zeros there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.figures.clips import frames
from ostrich.models import Classifier
from ostrich.models.untouched import untouched
from ostrich.runtime.events import counted
from ostrich.runtime.resumable import Content, mapped

BATCH = 256  # images


@torch.no_grad()
def features(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) and logits (N, K), float32 on the CPU, of images (N, C, H, W) in [0, 1].

    Of clips (N, C, T, H, W) features (N, 2 D) and the mean logits of their frames. Images of another
    size are interpolated bilinearly to the classifier's, so real images to compare with must first have
    been brought to the generated ones' size. Raises InputError for a network without a linear layer.
    """
    if images.ndim == 5:
        of_frames, logits = features_of_frames(classifier, images)
        return over_time(of_frames), logits.mean(1)
    network = classifier.network
    layers = (
        [m for m in network.modules() if isinstance(m, nn.Linear)] if isinstance(network, nn.Module) else []
    )
    if not layers:
        raise InputError(f"{classifier.name} has no linear layer whose input could serve as features.")

    def seen(batch: Tensor) -> Content:
        return _seen(classifier, batch)

    batches = images.split(BATCH)
    with counted(f"features of {len(images)} images", len(batches), "batches") as advance:
        found = list(mapped(seen, batches, advance))
    return torch.cat([one["seen"] for one in found]).float(), torch.cat([one["logits"] for one in found])


@torch.no_grad()
def _seen(classifier: Classifier, images: Tensor) -> Content:
    """What the last linear layer is given of a batch, and the logits."""
    inputs: list[Tensor] = []
    assert isinstance(classifier.network, nn.Module)
    last = [m for m in classifier.network.modules() if isinstance(m, nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda _, given: inputs.append(given[0].flatten(1).cpu()))
    try:
        with untouched(classifier.network):
            logits = classifier(fitted(images, classifier)).float().cpu()
    finally:
        handle.remove()
    return {"seen": torch.cat(inputs), "logits": logits}


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
