"""The methods of the course, one module a chapter, and the record of every run."""
