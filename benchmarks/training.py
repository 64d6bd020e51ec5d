"""Training a ResNet-20 for a few epochs, against the loop that a PyTorch tutorial would write.

The same network from the same start, images, augmentation (shift and mirror), optimiser and schedule of
learning rates. The plain loop has torchvision's transforms, one image at a time, in a DataLoader without
workers, so that all its CPU seconds are counted here, fp32 and the default layout; both evaluate nothing on
the way. The judge classifies images that were held out.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.problem import Contestant, Problem, Row, cifar, shared
from ostrich.models.residual import SmallNet
from ostrich.training.loop import normalised, ramp, to_images, train
from ostrich.training.recipe import RECIPES, Recipe

TRAINED, HELD_OUT, EPOCHS = 2560, 512, 4


class Pictures(Dataset[tuple[Tensor, int]]):
    """uint8 images and labels behind torchvision's usual transforms."""

    def __init__(self, images: Tensor, labels: Tensor, recipe: Recipe) -> None:
        from torchvision.transforms import v2

        self.pictures = [v2.functional.to_pil_image(image) for image in images]
        self.labels = labels.tolist()
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=recipe.shift, padding_mode="edge"),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(recipe.mean, recipe.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def rows(task: Problem) -> list[Row]:
    """Needs the CIFAR copy; without it there is no table."""
    folder = shared()
    if not folder:
        return []
    images, labels = cifar(folder, TRAINED + HELD_OUT)
    pixels = (images * 255).round().to(torch.uint8)
    recipe = replace(RECIPES["cifar10-resnet20"], epochs=EPOCHS, crops=(), batch_size=128)
    torch.manual_seed(0)
    start = SmallNet(20, num_classes=10)
    held_out = normalised(to_images(pixels[TRAINED:], torch.device("cpu")), recipe)

    @torch.no_grad()
    def answers(network: SmallNet) -> Tensor:
        return network.eval()(held_out)

    def ours(precision: str) -> Contestant:
        own = replace(recipe, precision=precision)
        return lambda: answers(train(copy.deepcopy(start), own, pixels[:TRAINED], labels[:TRAINED]))

    def plain() -> Tensor:
        network = copy.deepcopy(start).train()
        data = Pictures(pixels[:TRAINED], labels[:TRAINED], recipe)
        loader = DataLoader(data, recipe.batch_size, shuffle=True, generator=torch.Generator().manual_seed(0))
        optimiser = torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        step, total = 0, EPOCHS * len(loader)
        for _ in range(EPOCHS):
            for batch, target in loader:
                optimiser.param_groups[0]["lr"] = recipe.learning_rate * ramp(
                    (step + 1) / (total + 1), recipe.warmup
                )
                loss = F.cross_entropy(network(batch), target)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                step += 1
        return answers(network)

    def judge(logits: Tensor) -> dict[str, float]:
        return {"held-out accuracy": (logits.argmax(1) == labels[TRAINED:]).float().mean().item()}

    return [
        Row(
            name="Training a ResNet-20",
            setting=f"CIFAR-10 (JPEG copy), {TRAINED} images of its test split, {EPOCHS} epochs, batch 128; "
            f"judged on {HELD_OUT} others",
            contestants={
                "ostrich (exact)": ours("exact"),
                "ostrich (fast)": ours("fast"),
                "a plain loop with DataLoader": plain,
            },
            judge=judge,
            work=TRAINED * EPOCHS,
        )
    ]
