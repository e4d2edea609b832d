"""Types of settings with their bounds, which several sections use."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, lt=1)]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
# JAX takes 32 bits of a seed: larger ones would share the draws of small ones.
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Recipe = Literal["moco_v2", "simclr", "handwriting", "swav", "crop", "none"]
