"""Conflicts between settings of a trainable policy."""

from collections.abc import Iterator

from augment_gen.config import PolicyConfig


def policy_problems(policy: PolicyConfig, section: str, batch_size: int, size: int,
                    devices: int) -> Iterator[str]:
  """Problems with a section's policy, which chooses from `size` augmentations."""
  field = f"config.{section}.policy"
  if policy.draws > size:
    yield (f"{field}.draws={policy.draws} is more than the {size} augmentations to "
           "choose from")
  if policy.batch > batch_size or policy.batch % devices:
    yield (f"{field}.batch={policy.batch} must be 0, or a multiple of the "
           f"{devices} devices up to config.{section}.batch_size={batch_size}")
