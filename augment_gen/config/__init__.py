"""Settings: what they are, how they are given, and what is wrong with them.

A file in configs/ takes `default_config()`, a locked `ConfigDict` of all fields, and
changes some; `typed(config)` turns it into the dataclasses of schema.py, which is what
the rest of the code reads.
"""

from augment_gen.config.checks import names as names
from augment_gen.config.convert import apply_variants as apply_variants
from augment_gen.config.convert import default_config as default_config
from augment_gen.config.convert import fingerprint as fingerprint
from augment_gen.config.convert import identity as identity
from augment_gen.config.convert import plain as plain
from augment_gen.config.convert import typed as typed
from augment_gen.config.convert import unread as unread
from augment_gen.config.convert import WITHOUT_EFFECT as WITHOUT_EFFECT
from augment_gen.config.evaluation import EvaluateConfig as EvaluateConfig
from augment_gen.config.evaluation import FinetuneConfig as FinetuneConfig
from augment_gen.config.evaluation import LabelsConfig as LabelsConfig
from augment_gen.config.logs import LogConfig as LogConfig
from augment_gen.config.pretrainers import ByolConfig as ByolConfig
from augment_gen.config.pretrainers import MocoConfig as MocoConfig
from augment_gen.config.pretrainers import SimclrConfig as SimclrConfig
from augment_gen.config.pretrainers import SimsiamConfig as SimsiamConfig
from augment_gen.config.pretrainers import SupervisedConfig as SupervisedConfig
from augment_gen.config.pretrainers import SwavConfig as SwavConfig
from augment_gen.config.schema import Config as Config
from augment_gen.config.schema import DataConfig as DataConfig
from augment_gen.config.schema import DiscriminatorConfig as DiscriminatorConfig
from augment_gen.config.schema import EncoderConfig as EncoderConfig
from augment_gen.config.schema import GeneratorConfig as GeneratorConfig
from augment_gen.config.schema import LatentConfig as LatentConfig
from augment_gen.config.schema import LossesConfig as LossesConfig
from augment_gen.config.schema import NetworksConfig as NetworksConfig
from augment_gen.config.schema import OptimizerConfig as OptimizerConfig
from augment_gen.config.schema import PolicyConfig as PolicyConfig
from augment_gen.config.schema import PretrainConfig as PretrainConfig
from augment_gen.config.schema import RetrainConfig as RetrainConfig
from augment_gen.config.schema import SimclrWindowsConfig as SimclrWindowsConfig
from augment_gen.config.schema import TacConfig as TacConfig
