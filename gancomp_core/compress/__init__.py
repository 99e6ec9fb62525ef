"""Compress your own: any generator that runs, a folder of pictures and a budget become an int8 file and a report."""

from gancomp_core.compress.teachers import Teacher, open_teacher

__all__ = ["Teacher", "open_teacher"]
