"""Evaluation of an encoder: probes, nearest neighbours and label-free gauges."""
