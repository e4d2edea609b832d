"""Augmentations of single images, on the device, with explicit keys."""
