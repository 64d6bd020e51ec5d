"""Views of a mesh: pictures whose texture can be changed, and gradients that go back to it.

Geometry is fixed: for every view it is known once which place of the texture each of its rays meets,
and what light falls there (`toyscenes/views.py`). A picture is then a bilinear lookup of the texture
at these places, times the light, summed over the rays of a pixel, plus what is not the texture's; all
views of a batch are one `grid_sample`. It is linear in the texture up to the last clamp to [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.images import fingerprints, into_range, luma, rounded

if TYPE_CHECKING:
    from ostrich.data.meshes import Mesh
    from ostrich.data.toyscenes.views import View


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """n views of a textured mesh, for images of `channels` (3, or 1: grey) and `size` (H, W).

    `texture` (3, T, T) in [0, 1] is the mesh's own, its first row at v = 1; `numbers` say which views of
    the mesh they are, `places` where they stand in `looks`.
    """

    mesh: Mesh
    texture: Tensor
    looks: Sequence[View]
    numbers: tuple[int, ...]
    size: tuple[int, int]
    channels: int = 3

    def __len__(self) -> int:
        return len(self.looks)

    def take(self, rows: Sequence[int]) -> Views:
        """Some of the views."""
        rows = list(rows)
        return replace(
            self,
            looks=[self.looks[i] for i in rows],
            numbers=tuple(self.numbers[i] for i in rows),
        )

    @cached_property
    def untouched(self) -> Tensor:
        """The views (n, C, H, W) with the mesh's own texture, as 8-bit files hold them."""
        with torch.no_grad():
            parts = [
                self.show(self.texture, range(i, min(i + 64, len(self)))) for i in range(0, len(self), 64)
            ]
        return rounded(torch.cat(parts))

    @cached_property
    def _place(self) -> dict[int, int]:
        return {key: i for i, key in enumerate(fingerprints(self.untouched))}

    def places(self, keys: Sequence[int]) -> list[int]:
        """The views whose untouched images have these fingerprints."""
        return [self._place[key] for key in keys]

    def show(self, texture: Tensor, rows: Sequence[int]) -> Tensor:
        """The views at `rows` (k, C, H, W) in [0, 1] with a texture (3, T', T'), differentiable in it."""
        looks = [self.looks[i] for i in rows]
        height, width = self.size
        uv, factor = (
            torch.cat([torch.from_numpy(getattr(look, name)) for look in looks]).to(texture)
            for name in ("uv", "factor")
        )
        pixel = torch.cat(
            [torch.from_numpy(look.pixel).long() + i * height * width for i, look in enumerate(looks)]
        )
        rest = torch.stack([torch.from_numpy(look.rest) for look in looks]).to(texture)  # (k, H, W, 3)
        grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], -1)  # (M, 2)
        found = F.grid_sample(
            texture[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
        )
        added = (found[0, :, 0].T * factor).contiguous()  # (M, 3)
        images = rest.view(-1, 3).index_add(0, pixel.to(texture.device), added)
        images = images.view(len(looks), height, width, 3).movedim(3, 1)
        if self.channels == 1:
            images = luma(images)
        return into_range(images)
