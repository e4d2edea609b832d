"""Figures of the paper and curves of a run, as PNG files and arrays."""
