"""Photograph-like pictures of products, ray-traced: a stand-in for ImageNet-DAISO.

Read source.py (the sets), scenes.py (what is drawn at random), render.py (how it becomes a
picture), then what these use.
"""
