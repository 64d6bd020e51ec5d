"""A discriminator that looks through a trained classifier (Sauer et al. 2021, "Projected GANs").

    image -> frozen classifier -> features of several sizes, and the image -> fixed random mixing -> one
    head for each size

The mixing is the paper's (section 3.2): a random 1x1 convolution mixes the channels of every size, and
from the smallest size up each is enlarged, added to the next, and mixed by a random 3x3 convolution. So no
head can look at single channels that the classifier happens to be sensitive to. Heads are spectrally
normalised; with classes their last features meet a class embedding (Miyato & Koyama 2018).

Differs from the paper: any classifier of this project serves, not EfficientNet-Lite on ImageNet; features
are the last ones of every size that it computes; and the image itself is looked at beside them. Through the
features of a small classifier alone colours are free: it was trained not to mind them.

Clips are judged twice: in motion by the GAN's own discriminator, and one frame of each by itself through the
classifier, as MoCoGAN has a discriminator of images beside that of videos (Tulyakov et al. 2018, "MoCoGAN",
section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.data.matching import match_classes
from ostrich.errors import InputError
from ostrich.figures.clips import is_clip
from ostrich.generative.features import fitted
from ostrich.generative.gan import GAN
from ostrich.generative.layers import spectral
from ostrich.inspection.watching import module_of, observe
from ostrich.models import Classifier
from ostrich.models.untouched import untouched

SIZES = 4  # at most, the smallest ones
SMALLEST = 4  # side of the least feature map that is looked at, and of those that a head ends with


class ProjectedDiscriminator(nn.Module):
    """Images (N, C, H, W) in [-1, 1] and classes (N,) or None to logits (N, M), M of them from all heads.

    `wide` channels are mixed and judged at every size. The classifier is no part of the parameters.
    """

    def __init__(self, classifier: Classifier, *, wide: int = 64, classes: int | None = None) -> None:
        super().__init__()
        found = feature_shapes(classifier)
        self.layers = list(found)
        height, width = classifier.size or (224, 224)
        shapes = [(classifier.channels, height, width), *found.values()]
        self.seen = (classifier,)  # a tuple, so that its parameters are not this network's
        self.order: tuple[int, ...] | None = None  # the classifier's number of each class; None: the same
        module_of(classifier).requires_grad_(False)
        self.channels = nn.ModuleList(_fixed(nn.Conv2d(c, wide, 1, bias=False)) for c, _, _ in shapes)
        self.scales = nn.ModuleList(_fixed(nn.Conv2d(wide, wide, 3, padding=1, bias=False)) for _ in shapes)
        self.heads = nn.ModuleList(Head(wide, height, classes) for _, height, _ in shapes)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        (classifier,) = self.seen
        shown = fitted(images, classifier)
        with untouched(classifier.network):
            seen = observe(classifier, (shown + 1) / 2, self.layers).outputs
        maps = [shown, *(seen[layer] for layer in self.layers)]
        judged, below = [], None
        parts = zip(maps, self.channels, self.scales, self.heads)
        for looked_at, channels, scales, head in reversed(list(parts)):  # from the smallest map up
            x = channels(looked_at)
            if below is not None:
                x = x + F.interpolate(below, x.shape[2:], mode="bilinear", align_corners=False)
            below = scales(x)
            judged.append(head(below, classes))
        return torch.cat(judged, 1)

    def guidance(self, images: Tensor, classes: Tensor) -> Tensor:
        """The classifier's cross-entropy of generated images with the classes asked for: what a generator
        lowers that is guided by it (Sauer et al. 2022, "StyleGAN-XL", section 3.3).
        """
        (classifier,) = self.seen
        if self.order is not None:
            classes = classes.new_tensor(self.order)[classes]
        with untouched(classifier.network):
            return F.cross_entropy(classifier(fitted((images + 1) / 2, classifier)).float(), classes)


class ProjectedVideoDiscriminator(nn.Module):
    """Clips (N, C, T, H, W) in [-1, 1] and classes (N,) or None to logits (N, 2 M).

    The first M are those of one frame of each clip, drawn anew at each call; the others are the one logit of
    `motion`, so that how a frame looks counts as much as how frames follow each other.
    """

    def __init__(self, motion: nn.Module, images: ProjectedDiscriminator) -> None:
        super().__init__()
        self.motion, self.images = motion, images

    def forward(self, clips: Tensor, classes: Tensor | None = None) -> Tensor:
        of_frame: Tensor = self.images(_any_frame(clips), classes)
        of_motion: Tensor = self.motion(clips)
        return torch.cat([of_frame, of_motion[:, None].expand_as(of_frame)], 1)

    def guidance(self, clips: Tensor, classes: Tensor) -> Tensor:
        """That of `ProjectedDiscriminator`, of frames drawn anew."""
        return self.images.guidance(_any_frame(clips), classes)


def _any_frame(clips: Tensor) -> Tensor:
    """One frame (N, C, H, W) of each clip, any."""
    times = torch.randint(clips.shape[2], (len(clips),), device=clips.device)
    return clips[torch.arange(len(clips), device=clips.device), :, times]


class Head(nn.Module):
    """Features (N, C, S, S) to logits (N, 1 + places): halved to 4x4, then judged at every place."""

    def __init__(self, wide: int, side: int, classes: int | None) -> None:
        super().__init__()
        halvings = max(0, (side // SMALLEST).bit_length() - 1)
        self.halve = nn.ModuleList(
            spectral(nn.Conv2d(wide, wide, 4, stride=2, padding=1)) for _ in range(halvings)
        )
        self.mix = spectral(nn.Conv2d(wide, wide, 3, padding=1))
        self.last = spectral(nn.Conv2d(wide, 1, 1))
        self.embedding = None if classes is None else spectral(nn.Embedding(classes, wide))

    def forward(self, x: Tensor, classes: Tensor | None) -> Tensor:
        for halve in self.halve:
            x = F.leaky_relu(halve(x), 0.2)
        x = F.leaky_relu(self.mix(x), 0.2)
        logits = self.last(x).flatten(1)  # (N, places)
        if self.embedding is not None and classes is not None:
            logits = logits + torch.einsum("nc,nchw->nhw", self.embedding(classes), x).flatten(1)
        return logits


def project(gan: GAN, classifier: Classifier, wide: int = 64, guided: bool = False) -> GAN:
    """The GAN with a discriminator that looks through `classifier`, and guides by its classes if asked.

    Raises InputError where it cannot.
    """
    if guided and gan.classes != classifier.num_classes:
        known = "no classes" if gan.classes is None else f"{gan.classes} classes"
        raise InputError(
            f"{classifier.name} tells {classifier.num_classes} classes apart and cannot guide a generator of "
            f"{known}: set guidance=0, or name a classifier of the same classes."
        )
    images = ProjectedDiscriminator(classifier, wide=wide, classes=gan.classes)
    of_clips = is_clip(gan.shape)
    gan.discriminator = ProjectedVideoDiscriminator(gan.discriminator, images) if of_clips else images
    return gan


def match_guide(gan: GAN, names: Sequence[str]) -> str:
    """Let the classifier that guides a projected GAN know its classes by their names; and by which rule.

    Raises InputError where it has other classes.
    """
    looking = gan.discriminator
    looking = looking.images if isinstance(looking, ProjectedVideoDiscriminator) else looking
    assert isinstance(looking, ProjectedDiscriminator)
    (classifier,) = looking.seen
    matching = match_classes(names, classifier.class_names, classifier.num_classes)
    looking.order = matching.classes
    return matching.sentence


def feature_shapes(classifier: Classifier) -> dict[str, tuple[int, int, int]]:
    """The last layer of each size of map that a forward meets, and its shape (C, H, W): largest first.

    Only maps smaller than the image and at least 4x4, the SIZES smallest. Raises InputError where there
    are none.
    """
    network = module_of(classifier)
    last: dict[tuple[int, int], tuple[str, tuple[int, int, int]]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                channels, height, width = output.shape[1:]
                last[height, width] = (name, (channels, height, width))

        return hook

    handles = [m.register_forward_hook(watch(n)) for n, m in network.named_modules() if n]
    try:
        classifier.probe()
    finally:
        for handle in handles:
            handle.remove()
    image = classifier.size or (224, 224)
    maps = {s: v for s, v in last.items() if min(s) >= SMALLEST and s[0] < image[0]}
    if not maps:
        raise InputError(f"{classifier.name} has no maps of features that a discriminator could look at.")
    return dict(maps[size] for size in sorted(maps, reverse=True)[-SIZES:])


def _fixed(layer: nn.Conv2d) -> nn.Conv2d:
    """The convolution as it starts (He et al. 2015, without a rectifier), for good."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return layer.requires_grad_(False)
