"""Contrastive learning with learned augmentations (see README.md)."""

from augment_gen.run.runtime import prefer_fast_cpu_code

# Before anything can start JAX's CPU backend, which reads its flags once.
prefer_fast_cpu_code()
