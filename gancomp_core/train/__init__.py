"""Training: one loop, objectives as weighted sums of terms, checkpoints, and the teachers' recipes."""

from gancomp_core.train.checkpoints import load_weights, read_about, save_weights
from gancomp_core.train.cyclegan import train_cyclegan
from gancomp_core.train.gaugan import train_gaugan
from gancomp_core.train.loop import Player, Settings, Trained, fastest_precision, single_process, train
from gancomp_core.train.objectives import HINGE, LSGAN, GanLoss, Objective, critic, gan, perceptual, reconstruction
from gancomp_core.train.pix2pix import train_pix2pix
from gancomp_core.train.segmentation import train_segmenter
from gancomp_core.train.super_resolution import train_super_resolution

__all__ = [
    "HINGE",
    "LSGAN",
    "GanLoss",
    "Objective",
    "Player",
    "Settings",
    "Trained",
    "critic",
    "fastest_precision",
    "gan",
    "load_weights",
    "perceptual",
    "read_about",
    "reconstruction",
    "save_weights",
    "single_process",
    "train",
    "train_cyclegan",
    "train_gaugan",
    "train_pix2pix",
    "train_segmenter",
    "train_super_resolution",
]
