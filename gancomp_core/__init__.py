"""gancomp: image-generating GANs made 10-20 times cheaper, and a course that shows how."""

__version__ = "0.1.0"
