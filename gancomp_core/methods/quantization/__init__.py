"""Quantization: fewer bits for weights and activations, simulated with gradients and as integer kernels.

::

    small = calibrate(simulate(student), pictures)                  # rounds in float; train it further with distil()
    path = export_int8(plain(small), "student.onnx", pictures)      # integer kernels, for onnxruntime
    print(report("int8", path, student, test_pictures, path))       # size, PSNR to the float network
"""

from gancomp_core.methods.quantization.affine import (
    AffineMap,
    Range,
    RangeEstimator,
    asymmetric,
    ema,
    min_max,
    mse,
    percentile,
    rows,
    symmetric,
)
from gancomp_core.methods.quantization.int8 import export_int8
from gancomp_core.methods.quantization.report import Report, compressed_bytes, psnr_to_float, report, table
from gancomp_core.methods.quantization.sensitivity import layer_sensitivity, mixed_precision, stored_bytes
from gancomp_core.methods.quantization.simulated import (
    AGD,
    KERNELS,
    FakeQuantize,
    QuantizedConv,
    Scheme,
    calibrate,
    convolutions,
    plain,
    simulate,
    straight_through,
)
from gancomp_core.methods.quantization.small_weights import (
    SmallWeights,
    half_weights,
    magnitude_pruned,
    unchanged,
    weight_only_int8,
)
from gancomp_core.methods.quantization.within import Int8File, export_int8_within, kernel_sensitivity

__all__ = [
    "AGD",
    "KERNELS",
    "AffineMap",
    "FakeQuantize",
    "Int8File",
    "QuantizedConv",
    "Range",
    "RangeEstimator",
    "Report",
    "Scheme",
    "SmallWeights",
    "asymmetric",
    "calibrate",
    "compressed_bytes",
    "convolutions",
    "ema",
    "export_int8",
    "export_int8_within",
    "half_weights",
    "kernel_sensitivity",
    "layer_sensitivity",
    "magnitude_pruned",
    "min_max",
    "mixed_precision",
    "mse",
    "percentile",
    "plain",
    "psnr_to_float",
    "report",
    "rows",
    "simulate",
    "stored_bytes",
    "straight_through",
    "symmetric",
    "table",
    "unchanged",
    "weight_only_int8",
]
