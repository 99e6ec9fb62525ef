"""The exercises behind ``check.<name>``, one module for each notebook; each lists its own in ``EXERCISES``."""
