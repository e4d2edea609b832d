"""What a run has learned, applied to other images, and written for other programs."""
