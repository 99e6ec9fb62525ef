"""The diagnoses behind ``check.<exercise>``, one module a notebook."""
