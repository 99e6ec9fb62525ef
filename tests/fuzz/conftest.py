"""The harness beside the tests is imported by its name, also by the processes that it starts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
