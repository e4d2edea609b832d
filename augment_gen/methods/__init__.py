"""The methods of the papers, by their name in config.method."""

from typing import cast

from augment_gen.methods.augmentation_generator import method as augmentation_generator
from augment_gen.methods.crl_tac import method as crl_tac
from augment_gen.run.contracts import Method

METHODS: dict[str, Method] = {
    "augmentation_generator": cast(Method, augmentation_generator),
    "crl_tac": cast(Method, crl_tac),
}
