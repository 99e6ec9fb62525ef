"""Training: one loop with callbacks, objectives as weighted sums of terms, checkpoints, and the teachers' recipes."""

from gancomp_core.train.callbacks import Callback, Checkpoint, Evaluate
from gancomp_core.train.checkpoints import load_weights, read_about, save_weights
from gancomp_core.train.config import TrainConfig, constant_rate, fastest_precision, linear_decay, single_process
from gancomp_core.train.cyclegan import train_cyclegan
from gancomp_core.train.gaugan import train_gaugan
from gancomp_core.train.loop import Game, OptimizerGroup, Trained, batches_of, fit
from gancomp_core.train.objectives import (
    HINGE,
    LSGAN,
    GanLoss,
    Objective,
    critic,
    gan,
    perceptual,
    reconstruction,
    term,
)
from gancomp_core.train.pix2pix import train_pix2pix
from gancomp_core.train.processes import many_processes
from gancomp_core.train.segmentation import train_segmenter
from gancomp_core.train.super_resolution import train_super_resolution

__all__ = [
    "HINGE",
    "LSGAN",
    "Callback",
    "Checkpoint",
    "Evaluate",
    "Game",
    "GanLoss",
    "Objective",
    "OptimizerGroup",
    "TrainConfig",
    "Trained",
    "batches_of",
    "constant_rate",
    "critic",
    "fastest_precision",
    "fit",
    "gan",
    "linear_decay",
    "load_weights",
    "many_processes",
    "perceptual",
    "read_about",
    "reconstruction",
    "save_weights",
    "single_process",
    "term",
    "train_cyclegan",
    "train_gaugan",
    "train_pix2pix",
    "train_segmenter",
    "train_super_resolution",
]
