"""Figures of the papers and curves of a run, as PNG files and arrays."""
