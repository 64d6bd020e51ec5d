"""Five things: table lamp, coffee mug, traffic light, umbrella, acoustic guitar, as parts."""

import numpy as np

from .parts import Part, box, cylinder, ellipsoid, grid, lathe, move, slab, smooth, tube


def table_lamp() -> list[Part]:
    """A turned foot and a bellied stem under a wide, bright cone of a shade."""
    foot = [(0, 0), (0.46, 0), (0.47, 0.05), (0.4, 0.1), (0.12, 0.15), (0.08, 0.22)]
    belly = smooth([(0.08, 0.22), (0.27, 0.5), (0.24, 0.7), (0.07, 0.92), (0.05, 1.1)], 14)
    stand = lathe(foot + [tuple(p) for p in belly[1:]] + [(0.05, 1.3), (0, 1.3)], "stand", 28)
    shade = lathe([(0.72, 1.0), (0.4, 1.72), (0.385, 1.72), (0.7, 1.0), (0.72, 1.0)], "shade", 32)
    hem = lathe([(0.73, 0.98), (0.71, 1.06), (0.7, 0.98)], "trim", 32)
    top = lathe([(0.41, 1.69), (0.41, 1.745), (0.385, 1.745)], "trim", 32)
    bulb = ellipsoid((0.13, 0.13, 0.17), "bulb", (0, 0, 1.38), 14)
    knob = ellipsoid((0.045, 0.045, 0.06), "trim", (0, 0, 1.83), 10)
    spokes = [tube([(-0.4, 0, 1.7), (0.4, 0, 1.7)], 0.015, "trim", 6)]
    spokes.append(move(spokes[0], yaw=np.pi / 2))
    rod = tube([(0, 0, 1.5), (0, 0, 1.82)], 0.02, "trim", 6)
    return [shade, stand, hem, top, bulb, knob, rod, *spokes]


def coffee_mug() -> list[Part]:
    """A hollow cup with a rounded foot, a band, coffee in it and a handle."""
    outside = [(0, 0), (0.44, 0), (0.5, 0.04), (0.53, 0.12), (0.54, 0.42), (0.54, 0.74),
               (0.54, 1.12), (0.515, 1.15), (0.49, 1.12), (0.48, 0.6), (0.46, 0.3), (0, 0.3)]  # fmt: skip
    cup = lathe(outside, lambda i, j: "band" if i == 4 else ("inside" if i > 6 else "cup"), 36)
    coffee = lathe([(0, 0.93), (0.486, 0.93)], "coffee", 28)
    arc = np.linspace(-1.45, 1.45, 15)
    bend = [(0.5 + 0.36 * np.cos(a) ** 0.8, 0, 0.58 + 0.36 * np.sin(a)) for a in arc]
    handle = tube(bend, 0.085, "handle", 12)
    return [cup, coffee, handle]


def traffic_light() -> list[Part]:
    """A dark housing with red, amber and green lamps under visors, on a pole."""
    housing = box((0.36, 0.62, 1.5), "case", (0, 0, 1.75))
    board = box((0.05, 0.8, 1.7), "board", (-0.1, 0, 1.75))
    parts = [housing, board]
    for z, paint in ((2.23, "red"), (1.75, "amber"), (1.27, "green")):
        parts.append(ellipsoid((0.08, 0.18, 0.18), paint, (0.18, 0, z), 18))
        angle = np.linspace(-0.45, np.pi + 0.45, 15)
        reach = 0.16 + 0.18 * np.clip(np.sin(angle), 0, 1)
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (15, 2): y and z
        rows = [np.c_[np.full(15, 0.17), r * ring] for r in (0.23, 0.2)]
        rows = [rows[0], rows[0] + np.c_[reach, 0 * ring], rows[1] + np.c_[reach, 0 * ring],
                rows[1]]  # fmt: skip
        parts.append(move(grid(np.stack(rows), "case"), (0, 0, z)))
    pole = cylinder(0.085, 1.05, "pole", 16)
    foot = lathe([(0, 0), (0.3, 0), (0.3, 0.06), (0.13, 0.13), (0.1, 0.2)], "pole", 20)
    cap = box((0.3, 0.5, 0.08), "case", (0, 0, 2.53), (0.6, 0.7))
    return [*parts, move(pole, (0, 0, 0.53)), foot, cap]


def umbrella() -> list[Part]:
    """An open canopy of eight segments in two colours, ribs, a stick and a crooked handle."""
    ribs, per = 8, 6
    sides = ribs * per
    drop = np.linspace(0.02, 1, 10)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    between = np.abs(np.sin(angle * ribs / 2))  # 0 on a rib, 1 half way to the next
    radius = 1.02 * np.sin(drop * 1.36)[:, None] * (1 - 0.05 * drop[:, None] * between)
    z = 1.2 + 0.62 * np.cos(drop * 1.36)[:, None] + 0.09 * drop[:, None] ** 3 * between
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), z + 0 * angle], axis=-1)

    def panel(i: int, j: int) -> str:
        return "first" if j // per % 2 == 0 else "second"

    canopy = grid(points[::-1], panel)
    stick = tube([(0, 0, 0.4), (0, 0, 1.2), (0, 0, 1.95)], 0.028, "stick", 8)
    grip = tube([(0, 0, 0.5), *[(0.22 - 0.22 * np.cos(a), 0, 0.22 - 0.22 * np.sin(a))
                                for a in np.linspace(0, 3.4, 12)]], 0.055, "grip", 10)  # fmt: skip
    spokes = []
    for k in range(ribs):
        a = 2 * np.pi * k / ribs
        tip = (0.62 * np.cos(a), 0.62 * np.sin(a), 1.6)
        spokes.append(tube([(0, 0, 1.15), tip], 0.012, "stick", 5))
    return [canopy, stick, grip, *spokes]


def acoustic_guitar() -> list[Part]:
    """A figure-of-eight body standing on its end, sound hole, neck, frets, strings, head."""
    outline = smooth(
        [(-0.98, 0.05), (-0.93, 0.3), (-0.62, 0.53), (-0.3, 0.45), (-0.06, 0.33), (0.2, 0.38),
         (0.42, 0.34), (0.52, 0.18), (0.54, 0.05)], 30)  # fmt: skip
    body = slab([(x, -w, w) for x, w in outline], 0.26, "top", rim="side", bevel=0.015)
    hole = cylinder(0.15, 0.02, "hole", 24)
    rose = cylinder(0.19, 0.012, "trim", 24)
    flat = {"roll": np.pi / 2}
    parts = [
        body,
        move(rose, (0.12, 0.13, 0), **flat),
        move(hole, (0.12, 0.134, 0), **flat),
        box((1.1, 0.07, 0.13), "neck", (0.82, 0.145, 0)),
        slab([(1.32, -0.07, 0.07), (1.4, -0.11, 0.11), (1.72, -0.13, 0.13)], 0.06, "head"),
        box((0.09, 0.05, 0.4), "neck", (-0.5, 0.145, 0)),
        box((0.03, 0.03, 0.14), "string", (1.34, 0.18, 0)),
    ]
    parts[4] = move(parts[4], (0, 0.13, 0))
    for z in np.linspace(-0.045, 0.045, 4):
        parts.append(box((1.84, 0.012, 0.012), "string", (0.42, 0.19, z)))
    for x in np.linspace(0.62, 1.25, 7):
        parts.append(box((0.012, 0.012, 0.13), "string", (x, 0.182, 0)))
    for x in (1.45, 1.55, 1.65):
        for z in (-0.17, 0.17):
            parts.append(ellipsoid((0.035, 0.03, 0.05), "string", (x, 0.13, z), 8))
    # stand it up: the neck (x) points up, the strings (y) look forward (x)
    stood = [move(part, pitch=-np.pi / 2) for part in parts]
    return [move(part, yaw=-np.pi / 2) for part in stood]
