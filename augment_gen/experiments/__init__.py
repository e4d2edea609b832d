"""The experiments, one module each: stages in order, then the evaluation."""

from augment_gen.experiments import generator
from augment_gen.experiments import tac

# config.method -> what runs it.
METHODS = {"generator": generator.run, "tac": tac.run}
