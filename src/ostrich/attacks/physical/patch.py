"""Adversarial patch: a picture that, wherever it lies, makes the network see its target.

Brown, Mane, Roy, Abadi, Gilmer 2017, "Adversarial patch", equation 1: the expectation over images,
places and transformations is maximised. A place is a random homography, drawn anew for every image
of every epoch; then light, blur and noise change. What is brought down is the margin by which the goal is
missed. Eykholt et al. 2018, "Robust physical-world attacks on deep learning visual classification" (RP2),
for printable colours and masks of any shape.

The patch is judged on images and placements it has not seen, as the file holds it, without light,
blur and noise; `views_reaching_the_goal` says what is left of a success under these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ostrich.attacks.base import FittedAttack, FittingState, Tensors
from ostrich.attacks.eot import EOT
from ostrich.attacks.fitted.fitting import Fitting
from ostrich.attacks.physical.placement import drawn, homographies, placed, read_place, upright, widest
from ostrich.attacks.physical.printability import non_printability, on_paper, total_variation
from ostrich.attacks.physical.printing import read_width, write_pdf
from ostrich.attacks.threats import Patch
from ostrich.data.pictures import open_image
from ostrich.errors import InputError
from ostrich.images import rounded
from ostrich.models.classifier import Classifier
from ostrich.runtime.randomness import keyed
from ostrich.runtime.ranges import above, at_least

PLACE, LIGHT, CHANCE = 21, 22, 23  # purposes of random numbers
FINER = 2  # texels along a pixel, of a patch whose resolution is not given
SMALLEST = 8  # texels a side, of such a patch
MEASURED = 64  # texels a side, by which the part of a mask that is white is found


@dataclass(frozen=True, kw_only=True)
class AdversarialPatch(FittedAttack):
    """A picture that lies anywhere: `epochs` forwards and backwards per fitting image.

    Brown, Mane, Roy, Abadi, Gilmer 2017, "Adversarial patch", equation 1; Eykholt et al. 2018, "Robust
    physical-world attacks on deep learning visual classification". eps is the part of the image's pixels that
    the patch covers at most.

    mask         "square", "circle", or a picture file: white is patch, black or transparent is not
    resolution   texels a side; None: two a pixel, at least 8
    fit          images to fit on, the rest is judged; None: half of what there is
    victims      further networks to fit on, MODELs joined by +
    epochs       passes over the fitting images
    batch_size   images
    rate         of Adam, of values in [0, 1], falling linearly to nothing
    place        0.5,0.25: its middle, as shares of the height and of the width; there it lies upright.
                 None: anywhere, turned and in perspective
    rotation     most degrees, either way
    perspective  by which one side may be nearer than the other, part of the size
    brightness   most that is added to all values, either way
    blur         standard deviation, pixels
    noise        standard deviation, of values in [0, 1]
    variation    weight of the total variation
    printable    weight of the non-printability score
    print_width  12cm, 120mm or 5in: patch.pdf at this size, and simulated photographs

    Raises InputError for a mask that is none, and for the print of other than 1 or 3 channels.
    """

    name: ClassVar[str] = "patch"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("patch",)
    one_size: ClassVar[bool] = False
    data_parallel: ClassVar[bool] = True

    threat: Patch = Patch(0.08)
    mask: str = "square"
    resolution: Annotated[int | None, at_least(1)] = None
    fit: Annotated[int | None, at_least(1)] = None
    victims: str | None = None
    epochs: Annotated[int, at_least(1)] = 40
    batch_size: Annotated[int, at_least(1)] = 4
    rate: Annotated[float, above(0)] = 0.2
    place: str | None = None
    rotation: Annotated[float, at_least(0, at_most=180)] = 22.5
    perspective: Annotated[float, at_least(0, at_most=0.9)] = 0.2
    brightness: float = 0.1
    blur: float = 0.3
    noise: float = 0.02
    variation: Annotated[float, at_least(0)] = 0.0
    printable: Annotated[float, at_least(0)] = 0.0
    print_width: str | None = None

    def validate(self) -> None:
        if self.print_width is not None:
            read_width(self.print_width)
        if self.place is not None:
            read_place(self.place)
        assert self.camera.samples == 1  # its own checks refuse the rest

    @property
    def camera(self) -> EOT:
        """What a photograph does to the placed patch."""
        return EOT.light(brightness=self.brightness, blur=self.blur, noise=self.noise)

    def check_classifier(self, classifier: Classifier) -> None:
        """Refuse a mask that is none, a patch that does not fit, and one that cannot be printed."""
        if self.print_width is not None and classifier.channels not in (1, 3):
            raise InputError(f"A print has 1 or 3 channels; {classifier.name} takes {classifier.channels}.")
        if classifier.size is not None:
            self._area(self._mask(self._side(classifier.size)), classifier.size)

    def init(self, fitting: Fitting) -> FittingState:
        channels, height, width = fitting.images[0].shape
        side = self._side((height, width))
        patch = fitting.images.new_full((channels, side, side), 0.5)
        return {"patch": patch, "mask": self._mask(side).to(patch), "optimiser": {}}

    def epoch(self, fitting: Fitting, state: FittingState, number: int) -> FittingState:
        patch, mask = torch.nn.Parameter(state["patch"].clone()), state["mask"]
        optimiser = torch.optim.Adam([patch], lr=self.rate)
        if state["optimiser"]:
            optimiser.load_state_dict(state["optimiser"])
        batches = fitting.batches(self.batch_size, number)
        for done, batch in enumerate(batches):
            rows = fitting.own(batch)
            light = [keyed(fitting.seed, LIGHT, number, row) for row in rows.tolist()]

            def shown(p: Tensor, rows: Tensor = rows, light: list[torch.Generator] = light) -> Tensor:
                x = fitting.images[rows]
                places = [keyed(fitting.seed, PLACE, number, row) for row in rows.tolist()]
                matrices = self._matrices(mask, x, places)
                return self.camera.apply(placed(p[None], mask, x, matrices, self.threat.pixels(x)), light)

            left = 1 - (number + done / len(batches)) / self.epochs
            optimiser.param_groups[0]["lr"] = self.rate * left
            slope = fitting.gradient(patch.detach(), rows, shown, of=len(batch))
            patch.grad = slope + self._roughness(patch, mask)
            optimiser.step()
            with torch.no_grad():
                patch.clamp_(0, 1)
        return {"patch": patch.detach(), "mask": mask, "optimiser": optimiser.state_dict()}

    def tensors(self, state: FittingState) -> Tensors:
        return {"patch": state["patch"], "mask": state["mask"]}

    def apply(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        mask = tensors["mask"]
        matrices = self._matrices(mask, images, [keyed(seed, key, PLACE) for key in keys])
        return placed(tensors["patch"][None], mask, images, matrices, self.threat.pixels(images))

    def random_baseline(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """A patch of random colours in each image, another one in each, in the same places."""
        mask, shape = tensors["mask"], tensors["patch"].shape
        matrices = self._matrices(mask, images, [keyed(seed, key, PLACE) for key in keys])
        colours = [torch.rand(shape, generator=keyed(seed, key, CHANCE), dtype=torch.float64) for key in keys]
        return placed(torch.stack(colours).to(images), mask, images, matrices, self.threat.pixels(images))

    def photographed(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """Photographs (n, C, H, W), in 8 bits, of the patch as printed, where `apply` lays it.

        With no `tensors` they are of the images alone, in the same light.
        """
        laid = images
        if tensors:
            on_page = {**tensors, "patch": on_paper(tensors["patch"][None])[0]}
            laid = self.apply(on_page, images, keys, seed)
        return rounded(self.camera.apply(laid, [keyed(seed, key, LIGHT) for key in keys]))

    def picture(self, tensors: Tensors) -> Tensor | None:
        """The patch on white."""
        return tensors["patch"] * tensors["mask"] + 1 - tensors["mask"]

    def write(self, tensors: Tensors, folder: Path) -> None:
        """patch.pdf, where a width was asked for."""
        if self.print_width is not None:
            picture = self.picture(tensors)
            assert picture is not None
            write_pdf(folder / "patch.pdf", picture, read_width(self.print_width))

    def _matrices(self, mask: Tensor, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """The homographies (n, 3, 3) of placements drawn from one generator for each image."""
        size = (images.shape[2], images.shape[3])
        area = self._area(mask, size)
        if self.place is not None:
            fixed = upright(read_place(self.place), size, area)
            return fixed.to(images.device).expand(len(generators), -1, -1)
        return homographies(drawn(generators), size, area, self.rotation, self.perspective).to(images.device)

    def _side(self, size: tuple[int, int]) -> int:
        """How many texels a side the patch has for images of that size. Raises InputError for no place."""
        area = self._area(self._mask(MEASURED), size)
        return self.resolution or max(SMALLEST, round(FINER * math.sqrt(area * size[0] * size[1])))

    def _area(self, mask: Tensor, size: tuple[int, int]) -> float:
        """The part of the image that the square around the mask takes. Raises InputError for no place."""
        if self.threat.eps * size[0] * size[1] < 1:
            raise InputError(
                f"A patch of {self.threat.eps:.3g} of the area is less than a pixel of an image of "
                f"{size[0]}x{size[1]}: give eps from {math.ceil(1e4 / (size[0] * size[1])) / 1e4:g}."
            )
        area = self.threat.eps / mask.double().mean().item()
        turns = (0.0, 0.0) if self.place is not None else (self.rotation, self.perspective)
        reach = widest(area, size, *turns)
        if reach > 1:
            turned = f", turned by {turns[0]:g} degrees," if any(turns) else ""
            less = ", or less rotation and perspective" if any(turns) else ""
            raise InputError(
                f"A patch of {self.threat.eps:.3g} of the area{turned} is larger than an image of "
                f"{size[0]}x{size[1]}: give eps up to {math.floor(1e4 * self.threat.eps / reach**2) / 1e4:g}"
                f"{less}."
            )
        return area

    def _mask(self, side: int) -> Tensor:
        """The mask (1, side, side) in [0, 1]. Raises InputError for a picture all white, or without."""
        if self.mask == "square":
            return torch.ones(1, side, side)
        if self.mask == "circle":
            fine = (torch.arange(8 * side) + 0.5) / (4 * side) - 1  # eight samples a texel, -1 to 1
            inside = (fine[:, None] ** 2 + fine**2 <= 1).float()
            return F.avg_pool2d(inside[None], 8)
        white = np.asarray(open_image(self.mask, ground="black").convert("L"), np.float32) / 255
        if (white < 0.5).all():
            raise InputError(f"The mask {self.mask!r} has nothing white: white is patch, black is not.")
        if (white >= 0.5).all():
            raise InputError(
                f"The mask {self.mask!r} is white throughout: white is patch, black or transparent is not. "
                "Give mask=square for a whole square."
            )
        texels = np.asarray(Image.fromarray(white).resize((side, side)))
        return torch.from_numpy(texels.clip(0, 1))[None]

    def _roughness(self, patch: Tensor, mask: Tensor) -> Tensor:
        """The gradient of what is held against a patch that is rough or cannot be printed."""
        if not (self.variation or self.printable):
            return torch.zeros_like(patch)
        with torch.enable_grad():
            leaf = patch.detach().clone().requires_grad_(True)
            cost = self.variation * total_variation(leaf) + self.printable * non_printability(leaf, mask)
            return torch.autograd.grad(cost, leaf)[0]
