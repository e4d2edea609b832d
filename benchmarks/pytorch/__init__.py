"""The two sides of each case of benchmarks/against_pytorch.py.

ours.py has this project's sides. Each other file has what PyTorch, torchvision, kornia
or scikit-learn does instead. Losses are pure functions of modules and inputs, random
draws included, so that tests/end_to_end/test{,_operators}_against_pytorch.py compare them
with ours.
Modules have the names of our Flax modules (weights.py). Only the benchmarks need PyTorch.
"""
