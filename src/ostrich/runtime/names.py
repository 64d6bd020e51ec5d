"""Names, such as those of classes, as they are compared."""

from __future__ import annotations

import re
import unicodedata


def plain(name: str) -> str:
    """A name as it is compared: of 01 and 1, and of Deep-Red and deep_red, the same; -1 is another number.

    Letters with marks are one form (NFC): folders from a Mac or a zip file spell them in two parts.
    """
    words = unicodedata.normalize("NFC", name).strip()
    if not re.fullmatch(r"-\d+", words):
        words = re.sub(r"[\s_-]+", " ", words).strip().casefold()
    return str(int(words)) if re.fullmatch(r"-?\d+", words) else words
