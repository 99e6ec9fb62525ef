"""Costs, latencies and picture quality of generators."""

from gancomp_core.measure.cost import LayerCost, cost, cross_check, layer_costs
from gancomp_core.measure.distances import frechet_distance, kid, true_fid
from gancomp_core.measure.features import extract_features
from gancomp_core.measure.latency import (
    RUNTIMES,
    Latency,
    eager_latency,
    latency,
    machine_class,
    onnx_latency,
    openvino_latency,
)
from gancomp_core.measure.memory import peak_memory
from gancomp_core.measure.onnx_cost import OnnxCost, onnx_cost
from gancomp_core.measure.onnx_export import OnnxGenerator, export_onnx
from gancomp_core.measure.onnx_runtime import onnx_runtime
from gancomp_core.measure.openvino_runtime import OpenvinoGenerator
from gancomp_core.measure.quality import Distance, Quality, evaluate_generator, likeness, set_distance
from gancomp_core.measure.segmentation import (
    SegmentationQuality,
    SegmentationScore,
    class_iou,
    confusion,
    evaluate_segmentation,
    evaluate_semantic,
    labels_of,
    mean_iou,
    pixel_accuracy,
)
from gancomp_core.measure.similarity import PerceptualDistance, perceptual_distance, psnr, ssim
from gancomp_core.measure.statistics import PairedInterval, bootstrap_interval, paired_interval
from gancomp_core.measure.super_resolution import (
    SuperResolutionQuality,
    bicubic,
    evaluate_super_resolution,
    luma,
    psnr_y,
    ssim_y,
)
from gancomp_core.measure.wavelets import Pyramid, band_errors, inverse_wavelet_transform, wavelet_transform
from gancomp_core.nets.blueprint import Cost

__all__ = [
    "Cost",
    "Distance",
    "Latency",
    "LayerCost",
    "OnnxCost",
    "OnnxGenerator",
    "OpenvinoGenerator",
    "PairedInterval",
    "PerceptualDistance",
    "Pyramid",
    "Quality",
    "RUNTIMES",
    "SegmentationQuality",
    "SegmentationScore",
    "SuperResolutionQuality",
    "band_errors",
    "bicubic",
    "bootstrap_interval",
    "class_iou",
    "confusion",
    "cost",
    "cross_check",
    "eager_latency",
    "evaluate_generator",
    "evaluate_segmentation",
    "evaluate_semantic",
    "evaluate_super_resolution",
    "export_onnx",
    "extract_features",
    "frechet_distance",
    "inverse_wavelet_transform",
    "kid",
    "labels_of",
    "latency",
    "layer_costs",
    "likeness",
    "luma",
    "machine_class",
    "mean_iou",
    "onnx_cost",
    "onnx_latency",
    "onnx_runtime",
    "openvino_latency",
    "paired_interval",
    "peak_memory",
    "perceptual_distance",
    "pixel_accuracy",
    "psnr",
    "psnr_y",
    "set_distance",
    "ssim",
    "ssim_y",
    "true_fid",
    "wavelet_transform",
]
