"""A drawing pad on which a teacher and its compressed students paint: as a web page of its own, and in JupyterLab."""
