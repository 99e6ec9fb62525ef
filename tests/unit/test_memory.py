import pytest

from gancomp_core.errors import GancompError
from gancomp_core.measure import export_onnx, peak_memory
from gancomp_core.nets import ResnetArchitecture, build_generator, initialize


def _exported(folder, channels):
    architecture = ResnetArchitecture(channels, 1, in_channels=1, out_channels=1)
    generator = initialize(build_generator(architecture.as_dict()), seed=0).eval()
    return export_onnx(generator, folder / f"{channels[:2]}.onnx", (1, 1, 32, 32))


def test_a_larger_network_and_a_larger_picture_take_more_memory(tmp_path):
    small = _exported(tmp_path, "16_16_16_16_16_16_16_16")
    large = _exported(tmp_path, "64_64_64_64_64_64_64_64")
    shape = (1, 1, 64, 64)
    assert peak_memory(large, shape) > peak_memory(small, shape) + large.stat().st_size / 2
    assert peak_memory(small, (1, 1, 512, 512)) > peak_memory(small, shape) + 512 * 512 * 4


def test_what_onnxruntime_refuses_is_one_sentence(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(GancompError, match="broken.onnx with an input of"):
        peak_memory(path, (1, 1, 32, 32))
