"""Three vehicles: school bus, sports car, airship. Each function returns the object's parts."""

import numpy as np

from .parts import Part, box, cylinder, ellipsoid, lathe, mirror, move, slab, tube


def _wheels(xs: tuple[float, ...], half_width: float, radius: float, width: float) -> list[Part]:
    """Tyre and hub on both sides at each x, resting on z = 0."""
    parts = []
    for x in xs:
        tyre = lathe(
            [(0, -width / 2), (0.8 * radius, -width / 2), (radius, -width / 4),
             (radius, width / 4), (0.8 * radius, width / 2), (0, width / 2)],
            "tyre",
        )  # fmt: skip
        hub = cylinder(0.5 * radius, width * 1.15, "hub", 14)
        for part in (tyre, hub):
            wheel = move(part, (x, half_width, radius), roll=np.pi / 2)
            parts += [wheel, mirror(wheel)]
    return parts


def school_bus() -> list[Part]:
    """A long body with a rounded roof, a bonnet, a row of windows, black rails, roof lamps."""
    across = [(-0.42, 0.25, 1.12), (-0.4, 0.25, 1.24), (-0.3, 0.25, 1.33), (0, 0.25, 1.38),
              (0.3, 0.25, 1.33), (0.4, 0.25, 1.24), (0.42, 0.25, 1.12)]  # fmt: skip
    body = move(slab(across, 2.3, "body", bevel=0.04), (-0.25, 0, 0), yaw=np.pi / 2)
    bonnet = slab([(0.85, 0.25, 0.86), (1.3, 0.25, 0.8), (1.42, 0.27, 0.7)], 0.76, "body",
                  bevel=0.07)  # fmt: skip
    parts = [body, bonnet]
    for x in np.linspace(-1.2, 0.45, 6):
        pane = box((0.22, 0.03, 0.3), "glass", (x, 0.425, 0.98))
        parts += [pane, mirror(pane)]
    for z in (0.74, 0.55, 0.4):
        rail = box((2.24, 0.02, 0.035), "trim", (-0.25, 0.43, z))
        parts += [rail, mirror(rail)]
    door = box((0.2, 0.03, 0.72), "glass", (0.73, -0.425, 0.76))
    driver = box((0.2, 0.03, 0.3), "glass", (0.74, 0.425, 0.98))
    screen = box((0.03, 0.68, 0.3), "glass", (0.905, 0, 1.03))
    back = box((0.03, 0.5, 0.3), "glass", (-1.405, 0, 1.0))
    grille = box((0.03, 0.44, 0.24), "trim", (1.425, 0, 0.5))
    bumpers = [box((0.08, 0.84, 0.11), "trim", (x, 0, 0.28)) for x in (1.45, -1.43)]
    lamps = [ellipsoid((0.04, 0.07, 0.07), "lamp", (1.43, y, 0.55), 10) for y in (-0.3, 0.3)]
    flashers = [
        ellipsoid((0.05, 0.06, 0.06), "flasher", (x, y, 1.27), 10) for x in (0.9, -1.4) for y in (-0.28, 0.28)
    ]
    parts += [door, driver, screen, back, grille, *bumpers, *lamps, *flashers]
    return parts + _wheels((0.98, -0.85), 0.36, 0.25, 0.16)


def sports_car() -> list[Part]:
    """A low wedge with a small glass cabin, a wing at the back and broad wheels."""
    hull = [(-1.25, 0.3, 0.5), (-1.2, 0.2, 0.62), (-0.8, 0.16, 0.68), (-0.3, 0.14, 0.64),
            (0.2, 0.14, 0.6), (0.7, 0.14, 0.5), (1.1, 0.14, 0.36), (1.3, 0.17, 0.24)]  # fmt: skip
    cabin = [(-0.95, 0.6, 0.67), (-0.55, 0.6, 0.88), (-0.25, 0.58, 0.93), (0.0, 0.57, 0.9),
             (0.5, 0.5, 0.56)]  # fmt: skip
    roof = [(-0.62, 0.7, 0.86), (-0.5, 0.7, 0.92), (-0.25, 0.7, 0.955), (-0.03, 0.7, 0.92)]
    parts = [
        slab(hull, 1.06, "body", bevel=0.09),
        slab(cabin, 0.82, "glass", bevel=0.13),
        slab(roof, 0.7, "body", bevel=0.1),
        slab([(-1.36, 0.84, 0.87), (-1.06, 0.8, 0.84)], 1.08, "body"),
        box((0.5, 0.2, 0.02), "stripe", (0.45, 0, 0.585)),
    ]
    parts[-1] = move(parts[-1], (-0.02, 0, -0.06), pitch=0.21 - 0.07)
    for y in (0.36, -0.36):
        parts.append(box((0.08, 0.05, 0.24), "trim", (-1.16, y, 0.71)))
        parts.append(ellipsoid((0.12, 0.1, 0.05), "lamp", (1.04, y, 0.38), 12))
        parts.append(box((0.03, 0.24, 0.08), "tail", (-1.25, y, 0.52)))
        parts.append(box((0.3, 0.03, 0.12), "trim", (-0.5, y * 1.47, 0.45)))
    parts.append(box((0.06, 0.6, 0.07), "trim", (1.27, 0, 0.2)))
    return parts + _wheels((0.78, -0.8), 0.46, 0.24, 0.2)


def airship() -> list[Part]:
    """A cigar with stripes, four fins at the stern and a gondola with windows below."""
    t = np.linspace(0, 1, 21)
    radius = 0.46 * np.sqrt(np.clip(1 - (2 * t - 1) ** 2, 0, 1)) * (0.78 + 0.3 * t)
    z = 3.0 * t - 1.5
    hull = lathe(
        list(zip(radius, z, strict=True)),
        lambda i, j: "nose" if i > 16 else ("stripe" if j % 6 == 0 else "body"),
        24,
    )
    parts = [move(hull, pitch=np.pi / 2)]  # z -> x
    fin = slab([(-1.5, 0.26, 0.62), (-1.2, 0.22, 0.64), (-0.85, 0.26, 0.34)], 0.05, "fin")
    parts += [move(fin, roll=k * np.pi / 2 + np.pi / 4) for k in range(4)]
    cabin = slab([(-0.3, -0.6, -0.38), (0.25, -0.62, -0.38), (0.42, -0.54, -0.38)], 0.22, "cabin",
                 bevel=0.04)  # fmt: skip
    parts.append(cabin)
    for x in (-0.18, -0.02, 0.14):
        pane = box((0.1, 0.02, 0.08), "glass", (x, 0.111, -0.49))
        parts += [pane, mirror(pane)]
    engine = tube([(-0.36, 0.22, -0.52), (-0.2, 0.22, -0.52), (-0.12, 0.22, -0.52)],
                  [0.05, 0.06, 0.04], "cabin")  # fmt: skip
    strut = tube([(-0.22, 0.08, -0.5), (-0.22, 0.2, -0.52)], 0.02, "cabin", 6)
    blade = box((0.015, 0.03, 0.26), "glass", (-0.38, 0.22, -0.52))
    for part in (engine, strut, blade):
        parts += [part, mirror(part)]
    return parts
