"""Parameters of gates as short texts: multiples of pi as such."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

_LARGEST_DENOMINATOR = 16


def angle(value: Any) -> str:
    """`π/2`, `−3π/4`, `0.79`, or the text of an expression, cut where it is long."""
    if not isinstance(value, int | float):
        text = str(value)
        return text if len(text) <= 12 else f"{text[:11]}…"
    share = Fraction(value / math.pi).limit_denominator(_LARGEST_DENOMINATOR)
    if share and abs(float(share) * math.pi - value) < 1e-9:
        top, bottom = abs(share.numerator), share.denominator
        text = f"{'' if top == 1 else top}π{'' if bottom == 1 else f'/{bottom}'}"
        return f"−{text}" if value < 0 else text
    text = f"{abs(value):.3g}"
    return f"−{text}" if value < 0 else text
