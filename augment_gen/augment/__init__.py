"""Augmentations of single images, computed on the device with explicit PRNG keys."""
