"""Import checkpoints of other projects: ResNet generators of CycleGAN and pix2pix, and Real-ESRGAN's networks."""

from gancomp_core.importers.assumptions import Assumptions, Imported
from gancomp_core.importers.checkpoint import import_checkpoint
from gancomp_core.importers.ncnn_files import import_realesrgan

__all__ = ["Assumptions", "Imported", "import_checkpoint", "import_realesrgan"]
