"""What a network costs, how long it takes, and how good its pictures are."""

from gancomp_core.measure.cost import Cost, LayerCost, cost, layer_costs
from gancomp_core.measure.latency import Latency, eager_latency, latency, machine_class, onnx_latency
from gancomp_core.measure.onnx_export import OnnxGenerator, export_onnx
from gancomp_core.measure.quality import (
    Distance,
    Quality,
    evaluate_generator,
    extract_features,
    frechet_distance,
    kid,
    psnr,
    ssim,
    true_fid,
)

__all__ = [
    "Cost",
    "Distance",
    "Latency",
    "LayerCost",
    "OnnxGenerator",
    "Quality",
    "cost",
    "eager_latency",
    "evaluate_generator",
    "export_onnx",
    "extract_features",
    "frechet_distance",
    "kid",
    "latency",
    "layer_costs",
    "machine_class",
    "onnx_latency",
    "psnr",
    "ssim",
    "true_fid",
]
