"""Image sources, splits and batches."""
