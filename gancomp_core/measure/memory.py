"""Memory that a network takes in onnxruntime, measured in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gancomp_core.errors import GancompError
from gancomp_core.measure.onnx_runtime import NO_TELEMETRY

#: What the process does: memory before the file is loaded against the most it ever took.
_PROBE = """
import sys, numpy, onnxruntime, psutil
path, threads, *shape = sys.argv[1:]
onnxruntime.disable_telemetry_events()
before = psutil.Process().memory_info().rss
options = onnxruntime.SessionOptions()
options.log_severity_level, options.intra_op_num_threads = 3, int(threads)
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
picture = numpy.zeros([int(side) for side in shape], numpy.float32)
for _ in range(3):
    session.run(None, {session.get_inputs()[0].name: picture})
now = psutil.Process().memory_info()
if sys.platform == "win32":
    peak = now.peak_wset
elif sys.platform == "darwin":
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
else:  # not getrusage, whose peak a process inherits from the one that started it
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) * 1024
print(max(peak, now.rss) - before)
"""


def peak_memory(path: Path | str, input_shape: Sequence[int], threads: int = 1) -> int:
    """Bytes by which a process grows when it loads an ONNX file and runs it on one input.

    Weights, activations and onnxruntime's own buffers count; onnxruntime itself does not. Loading counts as well, which
    for a small network takes more than running.

    Args:
        path: An ONNX file.
        input_shape: (N, C, H, W).
        threads: onnxruntime's thread count.

    Returns:
        Bytes.

    Raises:
        GancompError: For a file or a shape that onnxruntime refuses.
    """
    words = [sys.executable, "-c", _PROBE, str(path), str(threads), *map(str, input_shape)]
    found = subprocess.run(words, capture_output=True, text=True, env=os.environ | NO_TELEMETRY)
    if found.returncode:
        reason = found.stderr.strip().splitlines()[-1] if found.stderr.strip() else "the process died"
        raise GancompError(
            f"The memory of {Path(path).name} with an input of {tuple(input_shape)} cannot be measured ({reason}); "
            "give an ONNX file and a shape that it takes."
        )
    return int(found.stdout)
