"""Adversarial texture: an object painted so that from wherever it is seen, it is seen as something else.

Athalye, Engstrom, Ilyas, Kwok 2018, "Synthesizing robust adversarial examples", section 2.3: the
texture of a fixed mesh follows the gradient of the mean loss over viewpoints, distances, tilts, lights
and backgrounds. A picture is linear in the texture once its rays have been traced (`data/mesh_views.py`).
They penalise the distance in Lab space; here the change of each texel is bounded, in its values
(Linf) or in its colour (Lab), and the steps are signs with momentum (Dong et al. 2018), ever shorter.

It is judged on views that it has not seen, as the files of texture and picture hold it, without blur
and noise; `views_reaching_the_goal` says what a camera leaves of a success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.base import FittedAttack, FittingState, Tensors
from ostrich.attacks.eot import EOT
from ostrich.attacks.fitted.fitting import Fitting
from ostrich.attacks.threats import Linf, Threat, Unbounded, within
from ostrich.attacks.threats.cielab import Lab
from ostrich.data.mesh_views import Views
from ostrich.images import fingerprints, to_bytes, write_png
from ostrich.models.classifier import Classifier
from ostrich.runtime.randomness import keyed
from ostrich.runtime.ranges import above, at_least

LIGHT, CHANCE = 31, 32  # purposes of random numbers


@dataclass(frozen=True, kw_only=True)
class AdversarialTexture(FittedAttack):
    """A painted object: `epochs` forwards and backwards per fitting view.

    Athalye, Engstrom, Ilyas, Kwok 2018, "Synthesizing robust adversarial examples", section 2.3. The budget
    is the texture's: of each of its values, or with norm "lab" of each texel's colour.

    label       the object's class; None: its name, else what most views are seen as
    fit         views to fit on, the rest is judged; None: half of what there is
    epochs      passes over the fitting views
    batch_size  views
    step_size   of values in [0, 1], at the start; None: a tenth of the budget
    momentum    part of the sum of gradients that a step keeps
    brightness  most that is added to all values, either way
    blur        standard deviation, pixels
    noise       standard deviation, of values in [0, 1]
    shown       the views of the mesh, which `bind_views` gives it

    Raises InputError for settings out of their range.
    """

    name: ClassVar[str] = "texture"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "lab")
    one_size: ClassVar[bool] = False
    paints: ClassVar[bool] = True
    data_parallel: ClassVar[bool] = True

    threat: Linf | Lab = Linf(16 / 255)
    label: str | None = None
    fit: Annotated[int | None, at_least(1)] = None
    epochs: Annotated[int, at_least(1)] = 60
    batch_size: Annotated[int, at_least(1)] = 32
    step_size: Annotated[float | None, above(0)] = None
    momentum: Annotated[float, at_least(0, below=1)] = 0.9
    brightness: float = 0.05
    blur: float = 0.3
    noise: float = 0.02
    shown: Views | None = field(default=None, repr=False, compare=False)  # the mesh; no setting

    def validate(self) -> None:
        assert self.camera.samples == 1  # its own checks refuse the rest

    @property
    def camera(self) -> EOT:
        """What a camera does to a picture."""
        return EOT.light(brightness=self.brightness, blur=self.blur, noise=self.noise)

    @property
    def judged_in(self) -> Threat:
        return Unbounded("linf")  # light may enlarge a texel's change

    def bind_views(self, views: Views | None) -> AdversarialTexture:
        return replace(self, shown=views)

    def check_classifier(self, classifier: Classifier) -> None:
        """Refuse a label that the classifier does not have."""
        if self.label is not None:
            classifier.class_index(self.label)

    def init(self, fitting: Fitting) -> FittingState:
        texture = self._mesh.texture.to(fitting.images)
        return {"texture": texture, "velocity": torch.zeros_like(texture)}

    def epoch(self, fitting: Fitting, state: FittingState, number: int) -> FittingState:
        texture, velocity = state["texture"], state["velocity"]  # (3, T, T')
        original = self._mesh.texture.to(texture)
        places = self._mesh.places(fingerprints(fitting.images))
        batches = fitting.batches(self.batch_size, number)
        for i, batch in enumerate(batches):
            rows = fitting.own(batch)
            seen = [places[row] for row in rows.tolist()]
            light = [keyed(fitting.seed, LIGHT, number, row) for row in rows.tolist()]

            def shown(t: Tensor, seen: list[int] = seen, light: list[torch.Generator] = light) -> Tensor:
                return self.camera.apply(self._mesh.show(t, seen), light)

            gradient = fitting.gradient(
                texture, rows, shown, lambda goal, logits: goal.loss(logits), of=len(batch)
            )
            velocity = self.momentum * velocity + gradient / gradient.abs().mean().clamp_min(1e-30)
            left = 1 - (number + i / len(batches)) / self.epochs
            step = left * self._step * velocity.sign()
            texture = self.threat.project((texture - step)[None], original[None])[0]
        return {"texture": texture, "velocity": velocity}

    def tensors(self, state: FittingState) -> Tensors:
        """The texture as a file holds it, and the mesh's own."""
        original = self._mesh.texture.to(state["texture"])[None]
        quantized = self.threat.quantize(state["texture"][None], original)
        assert within(self.threat, quantized, original).all(), "a texture keeps its budget"
        return {"texture": quantized[0], "original": original[0]}

    def apply(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        return self._mesh.show(tensors["texture"], self._mesh.places(keys))

    def random_baseline(self, tensors: Tensors, images: Tensor, keys: Sequence[int], seed: int) -> Tensor:
        """One texture of random signs, as far from the mesh's own as the budget lets it be."""
        original = tensors["original"]
        noise = torch.randn(original.shape, generator=keyed(seed, CHANCE), dtype=torch.float64)
        far = self.threat.project((original + noise.sign().to(original))[None], original[None])
        texture = self.threat.quantize(far, original[None])[0]
        return self._mesh.show(texture, self._mesh.places(keys))

    def picture(self, tensors: Tensors) -> Tensor | None:
        return tensors["texture"]

    def write(self, tensors: Tensors, folder: Path) -> None:
        """The painted mesh, and the texture it had before; artefact.png is the one it has now."""
        write_png(folder / "texture-before.png", tensors["original"])
        self._mesh.mesh.write(folder / "mesh.glb", to_bytes(tensors["texture"]))

    def write_views(
        self,
        folder: Path,
        classifier: Classifier,
        views: Views,
        tensors: Tensors,
        label: int,
        target: int | None,
    ) -> dict[str, Any]:
        """viewpoints.png and turntable.gif; which parts of the views are seen as what, before and after."""
        from ostrich.attacks.physical.turntable import write_evidence  # draws: not needed to attack

        return write_evidence(folder, classifier, views, tensors, label, target)

    @property
    def _step(self) -> float:
        if self.step_size is not None:
            return self.step_size
        # 100 units of Lab, from black to white, are about 1 in every value.
        return self.threat.eps / (10 if self.threat.norm == "linf" else 1000)

    @property
    def _mesh(self) -> Views:
        assert self.shown is not None, "the views are given before it is fitted or applied"
        return self.shown
