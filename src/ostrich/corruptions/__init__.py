"""Common corruptions: what happens to pictures without an adversary (Hendrycks and Dietterich 2019).

    blurred = ostrich.corruptions.corrupt(images, "motion_blur", severity=3)

The fifteen of ImageNet-C at their five severities, in four files by family. The settings are those of
ImageNet-C for photographs and those of CIFAR-10-C for thumbnails, `severity.py` says how they are adapted to
other sizes.
"""

from ostrich.corruptions.common import FAMILIES, NAMES, SEVERITIES, corrupt

__all__ = ["FAMILIES", "NAMES", "SEVERITIES", "corrupt"]
