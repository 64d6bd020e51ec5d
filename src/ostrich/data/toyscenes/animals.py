"""Two birds: ostrich and king penguin. Each function returns the object's parts."""

import numpy as np

from .parts import Part, ellipsoid, lathe, mirror, move, slab, smooth, tube


def ostrich() -> list[Part]:
    """A dark feathered body, white wing tips and tail, a long bare neck and two long legs."""
    body = move(ellipsoid((0.62, 0.42, 0.43), "plumage"), (0, 0, 1.3), pitch=-0.12)
    neck = smooth([(0.45, 0, 1.42), (0.7, 0, 1.58), (0.72, 0, 1.95), (0.74, 0, 2.3),
                   (0.84, 0, 2.5)])  # fmt: skip
    thick = np.linspace(0.17, 0.075, len(neck)) * np.linspace(1.15, 1, len(neck))
    head = move(ellipsoid((0.18, 0.115, 0.12), "skin", sides=16), (0.92, 0, 2.55), pitch=0.15)
    beak = tube([(1.03, 0, 2.545), (1.14, 0, 2.52), (1.27, 0, 2.48)], [0.075, 0.06, 0.02], "beak")
    crown = ellipsoid((0.13, 0.09, 0.06), "plumage", (0.88, 0, 2.635), 12)
    collar = move(lathe([(0.16, -0.05), (0.19, 0), (0.14, 0.06)], "white", 16),
                  (0.56, 0, 1.5), pitch=0.7)  # fmt: skip
    parts = [body, tube(neck, thick, "skin", 12), head, beak, crown, collar]
    for k, (x, z, size) in enumerate([(-0.6, 1.5, 0.24), (-0.7, 1.32, 0.22), (-0.52, 1.62, 0.2)]):
        for y in (-0.1, 0.1):
            plume = ellipsoid((size, 0.13, 0.13), "white", sides=12)
            parts.append(move(plume, (x, y, z), pitch=0.5 - 0.35 * k, yaw=-4 * y))
    for part in (
        move(ellipsoid((0.44, 0.1, 0.26), "plumage"), (-0.08, 0.4, 1.36), pitch=-0.2),
        move(ellipsoid((0.2, 0.09, 0.15), "white", sides=14), (-0.45, 0.39, 1.27), pitch=-0.5),
        ellipsoid((0.045, 0.03, 0.045), "eye", (0.96, 0.1, 2.58), 10),
        *_leg(),
    ):
        parts += [part, mirror(part)]
    return parts


def _leg() -> list[Part]:
    """The left leg: a thigh, a shank with a backward knee, two toes."""
    thigh = tube([(0.0, 0.2, 1.15), (0.08, 0.22, 0.92), (0.02, 0.22, 0.72)], [0.2, 0.15, 0.07],
                 "skin", 12)  # fmt: skip
    shank = tube([(0.02, 0.22, 0.74), (-0.04, 0.22, 0.64), (0.0, 0.22, 0.35), (0.04, 0.22, 0.04)],
                 [0.065, 0.075, 0.05, 0.055], "skin", 10)  # fmt: skip
    toes = [tube([(0.0, 0.22, 0.04), (0.26, 0.22 + dy, 0.03)], [0.06, 0.03], "beak", 8)
            for dy in (-0.05, 0.07)]  # fmt: skip
    return [thigh, shank, *toes]


def king_penguin() -> list[Part]:
    """An upright body, dark behind and white in front, with orange ears, flippers and feet."""
    z = np.array([0.06, 0.12, 0.35, 0.65, 0.95, 1.2, 1.38, 1.48, 1.6, 1.75, 1.86, 1.93, 1.95])
    r = np.array([0.0, 0.24, 0.4, 0.45, 0.43, 0.36, 0.26, 0.215, 0.215, 0.225, 0.18, 0.09, 0.0])
    profile = smooth(np.stack([r, z], axis=1), 34).clip(0)
    ring = profile[:, 1]
    sides = 32

    def coat(i: int, j: int) -> str:
        angle = abs((j + 0.5) / sides * 2 - 1) * 180  # degrees from the belly: column 0 is behind
        height = ring[min(i, len(ring) - 1)]
        if height < 1.26:
            return "belly" if angle < 72 else "coat"
        if height < 1.46:
            return "bib" if angle < 62 else "coat"
        if height < 1.78 and 50 < angle < 105:
            return "ear"
        return "coat" if height > 1.5 or angle > 100 else "ear"

    body = lathe([tuple(p) for p in profile], coat, sides, turn=np.pi)
    beak = tube([(0.16, 0, 1.72), (0.32, 0, 1.73), (0.5, 0, 1.66)], [0.075, 0.055, 0.012], "coat")
    under = tube([(0.17, 0, 1.685), (0.38, 0, 1.67)], [0.055, 0.02], "ear", 8)
    tail = tube([(-0.3, 0, 0.24), (-0.55, 0, 0.04)], [0.16, 0.05], "coat", 8)
    parts = [body, beak, under, tail]
    flipper = slab([(-0.11, -0.3, 0.0), (-0.04, -0.78, 0.12), (0.04, -0.84, 0.14),
                    (0.13, -0.45, 0.02)], 0.08, "coat", bevel=0.03)  # fmt: skip
    foot = ellipsoid((0.24, 0.13, 0.06), "foot", (0.16, 0.2, 0.06), 12)
    toe = ellipsoid((0.1, 0.05, 0.045), "foot", (0.36, 0.26, 0.045), 8)
    eye = ellipsoid((0.03, 0.02, 0.03), "eye", (0.12, 0.19, 1.78), 8)
    for part in (move(flipper, (0, 0.4, 1.2), roll=0.34), foot, toe, eye):
        parts += [part, mirror(part)]
    return parts
