"""Any folder of pictures as a task: the three layouts, every kind of file, and every way it can go wrong."""

import contextlib
import os
import re
import shutil
import struct
import sys
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from factories import refused
from gancomp_core.data import Batches, PictureSet, folder_task
from gancomp_core.data import folders as folders_module
from gancomp_core.data.picture_files import SUFFIXES, decode
from gancomp_core.errors import GancompError


def save(path, width=16, height=16, color=(200, 100, 50), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), color).convert(mode).save(path, **options)
    return path


def save_ab(path, height=16, left=(255, 0, 0), right=(0, 0, 255)):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (2 * height, height), left)
    picture.paste(right, (height, 0, 2 * height, height))
    picture.save(path)


def paired_folder(root, count=10, blue=0, **options):
    for index in range(count):
        save(root / "source" / f"{index:03}.png", color=(index, 0, blue), **options)
        save(root / "target" / f"{index:03}.png", color=(0, index, blue), **options)
    return root


def unpaired_folder(root, **counts):
    for green, (side, count) in enumerate(counts.items()):
        for index in range(count):
            save(root / side / f"{index}.png", color=(200, green, 50))
    return root


def ab_folder(root, count=3, **options):
    for index in range(count):
        save_ab(root / f"{index}.png", **options)
    return root


def values(pictures, channel):
    """Red, green or blue of the first pixel of each picture."""
    return pictures[:][:, channel, 0, 0].tolist()


def splits(task):
    return task.train, task.search, task.test


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_ab_pictures_have_the_source_on_the_left(tmp_path):
    task = folder_task(ab_folder(tmp_path, 5))
    assert (task.paired, task.size, task.source_channels) == (True, 16, 3)
    batch = task.test.batch(slice(0, 1))
    assert batch.source[0, :, 3, 3].tolist() == [1, -1, -1]
    assert batch.target[0, :, 3, 3].tolist() == [-1, -1, 1]


def test_reverse_swaps_source_and_target(tmp_path):
    batch = folder_task(ab_folder(tmp_path, 5), reverse=True).test.batch(slice(0, 1))
    assert batch.source[0, :, 3, 3].tolist() == [-1, -1, 1]


def test_paired_folders_are_matched_by_name_whatever_the_format(tmp_path):
    paired_folder(tmp_path, 10)
    (tmp_path / "target" / "003.png").unlink()
    save(tmp_path / "target" / "003.WEBP", color=(0, 3, 0), lossless=True)
    task = folder_task(tmp_path)
    for part in splits(task):
        assert values(part.sources, 0) == values(part.targets, 1)


def test_paired_batches_keep_pairs(tmp_path):
    task = folder_task(paired_folder(tmp_path, 30))
    batch = Batches(task.train, 16, seed=0, paired=task.paired).at(3)
    assert torch.equal(batch.source[:, 0], batch.target[:, 1])


def test_unpaired_folders_may_hold_different_numbers(tmp_path):
    task = folder_task(unpaired_folder(tmp_path, trainA=8, trainB=12, testA=1, testB=1))
    assert not task.paired
    assert len(task.test) == 1
    assert len(task.train.sources) + len(task.search.sources) == 8
    assert len(task.train.targets) + len(task.search.targets) == 12


# --- splits ----------------------------------------------------------------------------------------------------------


def test_a_tenth_each_is_set_aside_and_no_picture_is_in_two_splits(tmp_path):
    task = folder_task(paired_folder(tmp_path, 200, width=8, height=8))
    names = [values(part.sources, 0) for part in splits(task)]
    assert sorted(sum(names, [])) == list(range(200))
    assert 8 <= len(names[1]) <= 35
    assert 8 <= len(names[2]) <= 35


def test_splits_depend_on_names_and_seed_alone(tmp_path):
    paired_folder(tmp_path / "one", 60, width=8, height=8)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two, other = (folder_task(tmp_path / name, seed=seed) for name, seed in (("one", 0), ("two", 0), ("one", 1)))
    assert values(one.test.sources, 0) == values(two.test.sources, 0)
    assert values(one.test.sources, 0) != values(other.test.sources, 0)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_new_pictures_do_not_move_old_ones_to_another_split(tmp_path):
    before = folder_task(paired_folder(tmp_path, 100, width=8, height=8))
    tested, trained = values(before.test.sources, 0), values(before.train.sources, 0)
    after = folder_task(paired_folder(tmp_path, 200, width=8, height=8))
    assert set(tested) <= set(values(after.test.sources, 0))
    assert set(trained) <= set(values(after.train.sources, 0))


def test_given_splits_are_used(tmp_path):
    for name, count in (("train", 7), ("val", 3), ("test", 2)):
        paired_folder(tmp_path / name, count, blue=count)
    assert [len(part) for part in splits(folder_task(tmp_path))] == [7, 3, 2]


def test_val_without_test_is_the_test_split(tmp_path):
    ab_folder(tmp_path / "train", 20)
    ab_folder(tmp_path / "val", 4, left=(0, 255, 0))
    task = folder_task(tmp_path)
    assert len(task.test) == 4
    assert len(task.train) + len(task.search) == 20


def test_fingerprint_follows_content_and_options(tmp_path):
    paired_folder(tmp_path)
    prints = {
        folder_task(tmp_path, **options).fingerprint
        for options in ({}, {"size": 8}, {"channels": 1}, {"reverse": True})
    }
    save(tmp_path / "source" / "004.png", color=(9, 9, 9))
    prints.add(folder_task(tmp_path).fingerprint)
    assert len(prints) == 5


@pytest.mark.parametrize("layout", ["AB", "paired", "unpaired"])
def test_a_picture_that_two_sub_folders_hold_is_told(tmp_path, layout, caplog):
    for name in ("train", "test"):
        if layout == "unpaired":
            unpaired_folder(tmp_path, **{f"{name}A": 3, f"{name}B": 3})
        else:
            {"AB": ab_folder, "paired": paired_folder}[layout](tmp_path / name, 3)
    folder_task(tmp_path)
    assert re.search(r"\d entries \(such as 0*\.png\) are in two of the folders train, test: scores on", caplog.text)


@pytest.mark.parametrize("value", ["64", 64.0, (64, 64), True, 4100, 10**6])
def test_a_size_of_another_kind_or_without_measure_is_refused(tmp_path, value):
    with refused(r"multiple of 4 from 8 to 4096"):
        folder_task(paired_folder(tmp_path, 3), size=value)


@pytest.mark.parametrize("path", [None, 3, b"x", "a\0b", "x/" * 3000])
def test_a_path_that_is_none_is_refused(path):
    with refused("give its path as a text|cannot be listed"):
        folder_task(path)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_pictures_of_different_size_name_two_of_them_and_the_way_out(tmp_path):
    paired_folder(tmp_path)
    save(tmp_path / "source" / "005.png", width=24, height=24)
    save(tmp_path / "target" / "005.png", width=24, height=24)
    with pytest.raises(GancompError, match=r"differ in size: .*\.png is \d+x\d+, .*\.png is \d+x\d+; pass size="):
        folder_task(tmp_path)
    assert folder_task(tmp_path, size=12).train.batch(slice(None)).source.shape[1:] == (3, 12, 12)


@pytest.mark.parametrize(("width", "height"), [(20, 16), (18, 18)])
def test_pictures_the_generators_cannot_take_are_refused_without_size(tmp_path, width, height):
    paired_folder(tmp_path, width=width, height=height)
    with pytest.raises(GancompError, match=f"is {width}x{height}; it must be square .* multiple of 4 .*pass size="):
        folder_task(tmp_path)


@pytest.mark.parametrize("size", [0, -4, 2, 4, 30])
def test_size_must_be_a_multiple_of_four_and_at_least_eight(tmp_path, size):
    with pytest.raises(GancompError, match=f"size {size} is not possible; it must be a multiple of 4 from 8 to 4096"):
        folder_task(paired_folder(tmp_path), size=size)


def test_pictures_smaller_than_the_generators_take_are_refused_without_size_and_enlarged_with_it(tmp_path):
    paired_folder(tmp_path, width=4, height=4)
    with pytest.raises(GancompError, match="is 4x4; it must be square .* at least 8, or pass size=, .*size=8, to"):
        folder_task(tmp_path)
    assert folder_task(tmp_path, size=8).size == 8


def test_resizing_is_by_the_shorter_side_and_crops_the_middle(tmp_path):
    picture = Image.new("RGB", (64, 32), "black")
    picture.paste("white", (16, 0, 48, 32))  # the middle square
    picture.save(tmp_path / "wide.png")
    pixels = decode(tmp_path / "wide.png", 16, 1)
    assert (pixels[:, :, 1:-1] == 255).all()
    assert pixels.min() > 200  # the filter blends a little of the neighbors into the outermost columns


def test_halves_are_resized_each_on_its_own(tmp_path):
    batch = folder_task(ab_folder(tmp_path, 3, height=32), size=8).train.batch(slice(None))
    assert torch.equal(batch.source, torch.tensor([1.0, -1, -1])[None, :, None, None].expand(1, 3, 8, 8))


# --- kinds of pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_png_mode_becomes_the_channels_asked_for(tmp_path, mode, channels):
    path = save(tmp_path / "a.png", color=(255, 255, 255), mode=mode)
    pixels = decode(path, 16, channels)
    assert pixels.shape == (channels, 16, 16)
    assert pixels.dtype == torch.uint8
    assert (pixels == 255).all()


def test_cmyk_keeps_its_colors(tmp_path):
    path = save(tmp_path / "a.jpg", color=(250, 10, 10), mode="CMYK")
    assert decode(path, 16, 3)[:, 5, 5].tolist() == pytest.approx([250, 10, 10], abs=6)


def test_transparency_is_laid_on_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 51)).save(tmp_path / "veil.png")  # one fifth black
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert (decode(tmp_path / "clear.png", 8, 3) == 255).all()
    assert (decode(tmp_path / "veil.png", 8, 3) == 204).all()
    assert (decode(tmp_path / "palette.png", 8, 3) == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    expected = (ramp / 257).round().astype(np.uint8)
    assert np.array_equal(decode(tmp_path / f"deep.{suffix}", 8, 1)[0].numpy(), expected)


def png(bits, kind, row, *chunks):
    """A PNG of 16 x 16 equal pixels, chunk by chunk; those of ``chunks`` with a small name last come after it."""

    def packed(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = packed(b"IDAT", zlib.compress((b"\0" + row) * 16))
    head = packed(b"IHDR", struct.pack(">IIBBBBB", 16, 16, bits, kind, 0, 0, 0))
    before, after = (b"".join(packed(*chunk) for chunk in chunks if (chunk[0] == b"eXIf") == late) for late in (0, 1))
    return b"\x89PNG\r\n\x1a\n" + head + before + pixels + after + packed(b"IEND", b"")


def test_a_transparent_gray_of_sixteen_bits_is_laid_on_white(tmp_path):
    (tmp_path / "clear.png").write_bytes(
        png(16, 0, struct.pack(">16H", *[1000] * 8, *[2000] * 8), (b"tRNS", struct.pack(">H", 1000)))
    )
    assert decode(tmp_path / "clear.png", 16, 1)[0, 0].tolist() == [255] * 8 + [8] * 8


def test_an_orientation_that_stands_behind_the_pixels_is_applied(tmp_path):
    about = Image.Exif()
    about[0x0112] = 6  # lies on its side
    exif = about.tobytes().removeprefix(b"Exif\0\0")
    (tmp_path / "late.png").write_bytes(png(8, 0, bytes([0] * 8 + [200] * 8), (b"eXIf", exif)))
    assert decode(tmp_path / "late.png", 16, 1)[0, :, 3].tolist() == [0] * 8 + [200] * 8


@pytest.mark.parametrize(("bits", "value", "shade"), [(16, 60_000, 22), (12, 3000, 187)])
def test_deep_gray_of_tiff_is_read_by_its_own_measure(tmp_path, bits, value, shade):
    Image.fromarray(np.full((16, 16), value, np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 0, 258: 16})
    data = bytearray((tmp_path / "a.tif").read_bytes())
    if bits == 12:  # rows of two values in three bytes, which Pillow reads and does not write
        data = tiff_of_12_bits(value)
    (tmp_path / "a.tif").write_bytes(data)
    assert decode(tmp_path / "a.tif", 16, 1).unique().tolist() == [shade]


def tiff_of_12_bits(value):
    """16 x 16 pixels of one value."""
    pair = (value << 12 | value).to_bytes(3, "big")
    tags = {256: 16, 257: 16, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 16 * 24}
    body = pair * 8 * 16
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_sixteen_bits_take_little_memory(tmp_path):
    Image.fromarray(np.zeros((4000, 4000), np.uint16)).save(tmp_path / "large.png")
    tracemalloc.start()
    decode(tmp_path / "large.png", 16, 1)
    assert tracemalloc.get_traced_memory()[1] < 4 * 4000**2 * 2, "two bytes a pixel, and their copies"
    tracemalloc.stop()


def test_names_are_the_same_however_a_system_spells_accents(tmp_path):
    folder = paired_folder(tmp_path, 3)
    for side, accent in (("source", "caf\u00e9"), ("target", "cafe\u0301")):
        (folder / side / "000.png").rename(folder / side / f"{accent}.png")
    assert sum(len(part) for part in splits(folder_task(folder))) == 3


def test_floating_point_and_32_bit_pictures_are_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((8, 8), 10**6, np.int32)).save(tmp_path / "wide.tif")
    with pytest.raises(GancompError, match="float.tif holds floating-point values"):
        decode(tmp_path / "float.tif", 8, 1)
    with pytest.raises(GancompError, match="wide.tif has values outside 0 to 65535"):
        decode(tmp_path / "wide.tif", 8, 1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_is_applied(tmp_path, suffix):
    picture = Image.new("RGB", (32, 16), "black")
    picture.paste("white", (0, 0, 16, 16))  # left half white: turned by 90 degrees it is the top
    exif = Image.Exif()
    exif[0x0112] = 6
    for side in ("source", "target"):
        for index in range(3):
            (tmp_path / side).mkdir(exist_ok=True)
            picture.save(tmp_path / side / f"{index}.{suffix}", exif=exif)
    with pytest.raises(GancompError, match="is 16x32"):  # upright
        folder_task(tmp_path)
    pixels = decode(tmp_path / "source" / f"0.{suffix}", 16, 1)[0].float()
    assert pixels[:7].min() > 200
    assert pixels[9:].max() < 50


def test_channels_may_differ_between_the_sides_and_other_numbers_are_refused(tmp_path):
    task = folder_task(paired_folder(tmp_path), channels=(1, 3))
    batch = task.train.batch(torch.tensor([0, 2]))
    assert (batch.source.shape[1], batch.target.shape[1]) == (task.source_channels, task.target_channels) == (1, 3)
    for wrong in (2, 4, (1, 2), (1, 1, 1)):
        with pytest.raises(GancompError, match=r"must be 1 \(gray\), 3 \(RGB\)"):
            folder_task(tmp_path, channels=wrong)


def test_what_is_left_out_is_told(tmp_path, caplog):
    """Endings that are not read, sub-folders, later pictures of an animation, and a photo among pairs."""
    folder = ab_folder(tmp_path / "mine", 4)
    (folder / "phone.HEIC").write_bytes(b"x")
    (folder / "notes.txt").write_text("no picture")
    save(folder / "more" / "5.png")
    frames = [Image.new("RGB", (32, 16), color) for color in ("red", "blue")]
    frames[0].save(folder / "moves.gif", save_all=True, append_images=frames[1:])
    save(folder / "photo.png", width=32, height=32)
    assert len(folder_task(folder, size=16, layout="AB").train) == 4
    told = "\n".join(caplog.messages)
    assert re.search(r"2 entries \(such as more\) in .*mine were left out: .* end in \.bmp", told)
    assert re.search(r"1 entries \(such as moves\.gif\) hold several pictures each, of which the first was read", told)
    assert re.search(r"1 entries \(such as photo\.png\) are not twice as wide as high, as others are", told)


def test_files_that_are_no_pictures_by_name_are_passed_over(tmp_path):
    paired_folder(tmp_path, 5)
    (tmp_path / "source" / "notes.txt").write_text("not a picture")
    (tmp_path / "source" / "._001.png").write_bytes(b"left by a file manager")
    (tmp_path / "source" / "Thumbs.db").write_bytes(b"left by a file manager")
    assert sum(len(part) for part in splits(folder_task(tmp_path))) == 5


# --- bad files -------------------------------------------------------------------------------------------------------


def with_content(root, content):
    (paired_folder(root) / "source" / "004.png").write_bytes(content)


MISTAKES = {
    "one side alone": (lambda root: unpaired_folder(root, trainA=8, trainB=8, testA=1), {}, "testB does not exist"),
    # not twice as wide as high, so hardly two pictures side by side
    "no layout": (lambda root: save(root / "photo.png"), {}, "none of the known layouts.*AB.*source/.*trainA/"),
    "unknown layout": (paired_folder, {"layout": "BA"}, "no layout 'BA'.*trainA/"),
    "two pictures": (lambda root: paired_folder(root, 2), {}, "holds 2 pictures to train on; 3 or more are needed"),
    "odd width": (
        lambda root: save(ab_folder(root) / "odd.png", width=33),
        {"size": 16},
        "odd.png is 33 pixels wide, an odd number",
    ),
    "other proportions": (
        lambda root: save(paired_folder(root) / "target" / "002.png", width=32),
        {"size": 16},
        "002.png is 16x16 and .*002.png is 32x16; .* same proportions",
    ),
    "no partner": (
        lambda root: (paired_folder(root) / "target" / "007.png").unlink(),
        {},
        r"source.007\.png has no partner; .*target must hold a picture named '007'",
    ),
    "two of one name": (
        lambda root: save(paired_folder(root) / "source" / "007.jpg"),
        {},
        r"007\.jpg and 007\.png share a name",
    ),
    "empty side": (
        lambda root: [path.unlink() for path in (paired_folder(root) / "target").iterdir()],
        {},
        "target holds no pictures; pictures end in",
    ),
    "empty folder": (lambda root: root.mkdir(), {}, "holds no pictures; the known layouts are"),
    "no folder": (lambda root: None, {}, "does not exist"),
    "a file": (lambda root: root.write_text(""), {}, "is a file; name the folder"),
    "no content": (lambda root: with_content(root, b""), {}, r"source.004\.png is no picture"),
    "text": (lambda root: with_content(root, b"just a text"), {}, r"source.004\.png is no picture"),
    "png head": (lambda root: with_content(root, b"\x89PNG\r\n\x1a\n"), {}, r"source.004\.png is no picture"),
    "jpeg head": (lambda root: with_content(root, b"\xff\xd8\xff\xe0"), {}, r"source.004\.png is no picture"),
}


@pytest.mark.parametrize(("make", "options", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_folder_that_cannot_be_used_is_explained(tmp_path, make, options, words):
    make(tmp_path / "mine")
    with pytest.raises(GancompError, match=f"(?s){words}"):
        folder_task(tmp_path / "mine", **options)


def test_three_pictures_are_enough(tmp_path):
    assert [len(part) for part in splits(folder_task(paired_folder(tmp_path, 3)))] == [1, 1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no text")
def test_names_that_are_no_utf_8_are_taken(tmp_path):
    folder = paired_folder(tmp_path)
    for side in ("source", "target"):
        os.rename(folder / side / "000.png", os.fsencode(folder / side) + b"/caf\xe9.png")
    task = folder_task(folder)
    assert len(task.train) + len(task.search) + len(task.test) == 10


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "giant"])
def test_what_never_ends_is_named(tmp_path, kind):
    folder = paired_folder(tmp_path)
    path = folder / "source" / "zz.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(20 * 10**9)  # a hole, which takes no room on the disk
    with pytest.raises(GancompError, match=r"zz\.png (is no plain file|has more than the 1073 MB)"):
        folder_task(folder)


def test_a_home_folder_is_found_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    paired_folder(tmp_path)
    assert folder_task("~").name == tmp_path.name


def test_truncated_jpeg_is_named(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("source", "target"):
        for index in range(3):
            (tmp_path / side).mkdir(exist_ok=True)
            noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / side / f"{index}.jpg")
    cut = tmp_path / "target" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:3000])
    task = folder_task(tmp_path)  # the head of the file is whole
    with pytest.raises(GancompError, match=r"target.1\.jpg is damaged or cut off"):
        [part.batch(slice(None)) for part in splits(task)]


def test_an_eps_named_png_is_refused_before_ghostscript_could_run_it(tmp_path):
    """PostScript is a program: Pillow would hand it to Ghostscript, whatever the file is called."""
    for side in ("source", "target"):
        for index in range(4):
            save(tmp_path / side / f"{index}.png")
    path = tmp_path / "source" / "0.png"
    Image.new("RGB", (16, 16)).save(path, format="EPS")
    assert Image.open(path).format == "EPS"
    with pytest.raises(GancompError, match=r"source.0\.png is no picture"):
        folder_task(tmp_path)
    with pytest.raises(GancompError, match=r"0\.png is no picture"):
        decode(path, 16, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_can_be_read(tmp_path, suffix):
    assert decode(save(tmp_path / f"a{suffix}", color=(255, 255, 255)), 16, 3).min() > 250


def test_png_with_damaged_pixels_is_named(tmp_path):
    paired_folder(tmp_path)
    path = tmp_path / "source" / "004.png"
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 6
    data[start : start + 8] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(GancompError, match=r"source.004\.png is damaged"):
        [part.batch(slice(None)) for part in splits(folder_task(tmp_path))]


@pytest.mark.parametrize("side", [9_000, 14_000])  # Pillow itself refuses only the second
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_refused_unopened(tmp_path, side):
    paired_folder(tmp_path)
    Image.new("1", (side, side)).save(tmp_path / "source" / "004.png")
    assert (tmp_path / "source" / "004.png").stat().st_size < 100_000
    with pytest.raises(GancompError, match=r"004\.png has more than the 80 megapixels"):
        folder_task(tmp_path, size=16)


@contextlib.contextmanager
def as_somebody_else():
    """Give up the rights of root for a while: nothing is unreadable to root."""
    if not hasattr(os, "geteuid"):
        pytest.skip("needs POSIX permissions")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_unreadable_file_and_unreadable_folder_are_named():
    with tempfile.TemporaryDirectory() as name:  # others may not even enter pytest's tmp_path
        root = paired_folder(Path(name))
        root.chmod(0o755)
        (root / "source" / "004.png").chmod(0)
        with as_somebody_else(), pytest.raises(GancompError, match=r"No permission to read .*source.004\.png"):
            folder_task(root)
        (root / "source").chmod(0)
        with as_somebody_else(), pytest.raises(GancompError, match="No permission to list the folder .*source"):
            folder_task(root)
        (root / "source").chmod(0o755)


def test_a_folder_that_may_not_be_entered_is_named():
    with tempfile.TemporaryDirectory() as name:  # others may not even enter pytest's tmp_path
        root = paired_folder(Path(name))
        root.chmod(0o744)
        with as_somebody_else(), pytest.raises(GancompError, match=f"No permission to .* the folder {root}"):
            folder_task(root)
        root.chmod(0o755)


def test_a_file_that_is_another_one_later_is_named(tmp_path):
    task = folder_task(paired_folder(tmp_path))
    for path in (tmp_path / "target").iterdir():
        save(path, color=(1, 2, 3))
    with refused(r"target.*png has changed since its task was made"):
        task.train.batch(slice(0, 1))


def test_a_file_that_goes_away_later_is_named(tmp_path):
    task = folder_task(paired_folder(tmp_path))
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(GancompError, match=r"source.*\.png cannot be read"):
        task.train.batch(slice(0, 1))


# --- memory ----------------------------------------------------------------------------------------------------------


def test_pictures_are_decoded_once_while_they_fit_and_again_where_they_do_not(tmp_path, monkeypatch):
    one = 3 * 16 * 16
    monkeypatch.setattr(folders_module, "KEPT_BYTES", 4 * one)  # of 20 pictures
    task = folder_task(paired_folder(tmp_path))
    everything = task.train.batch(slice(None))
    shuffled = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(0))
    again = task.train.batch(shuffled)
    assert torch.equal(again.source, everything.source[shuffled])
    assert torch.equal(again.target, everything.target[shuffled])
    shutil.rmtree(tmp_path / "source")
    assert torch.equal(task.train.sources[:4], (everything.source[:4] + 1).mul(127.5).round().to(torch.uint8))
    with pytest.raises(GancompError, match="cannot be read"):
        task.train.sources[4:5]


def test_pictures_are_not_decoded_before_they_are_asked_for(tmp_path):
    task = folder_task(paired_folder(tmp_path))
    assert not any(task.train.sources._decoded)
    task.train.batch(torch.tensor([2]))
    assert [index for index, decoded in enumerate(task.train.sources._decoded) if decoded] == [2]


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path, monkeypatch):
    """A walk through 1,500 pairs of 128 pixels, 147 MB when decoded, of which 8 MB may be kept."""
    monkeypatch.setattr(folders_module, "KEPT_BYTES", 8 * 2**20)
    save_ab(first := tmp_path / "0000.jpg", height=128)
    for index in range(1, 1500):
        shutil.copyfile(first, tmp_path / f"{index:04}.jpg")
    process = psutil.Process()
    task = folder_task(tmp_path)
    batches, most = Batches(task.train, 16, seed=0, paired=True), 0
    batches.at(0)  # what PyTorch and Pillow take once is no part of it
    before = process.memory_info().rss
    for step in range(1, len(task.train) // 16):
        batches.at(step)
        most = max(most, process.memory_info().rss)
    assert most - before < 60 * 10**6


def test_what_is_known_about_a_file_takes_little_memory(tmp_path):
    save_ab(first := tmp_path / "00000.jpg", height=8)
    for index in range(1, 2000):
        os.link(first, tmp_path / f"{index:05}.jpg")
    folder_task(tmp_path)  # what is loaded once is no part of it
    tracemalloc.start()
    task = folder_task(tmp_path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    decoded = sum(len(part) for part in splits(task)) * 2 * 3 * 8 * 8
    assert (held - decoded) / 2000 < 300  # bytes a file; kept pictures have their place from the start


def test_pictures_decoded_ahead_are_the_same(tmp_path, monkeypatch):
    """Steps in turn are decoded by background threads, steps out of turn are not."""
    monkeypatch.setattr(folders_module, "KEPT_BYTES", 0)
    rng = np.random.default_rng(0)
    for side in ("source", "target"):
        (tmp_path / side).mkdir()
        for index in range(20):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / side / f"{index}.png")
    train = folder_task(tmp_path).train
    plain = PictureSet(train.sources[:], train.targets[:])
    ours, theirs = (Batches(each, 3, seed=1, paired=True, warp=True) for each in (train, plain))
    for step in (0, 1, 2, 3, 4, 9, 2, 3, 4, 5):
        assert torch.equal(ours.at(step).source, theirs.at(step).source)
        assert torch.equal(ours.at(step).target, theirs.at(step).target)


def test_a_picture_that_is_damaged_is_named_though_it_is_decoded_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(folders_module, "KEPT_BYTES", 0)
    batches = Batches(folder_task(paired_folder(tmp_path, 30)).train, 1, seed=0, paired=True)
    batches.at(0)
    shutil.rmtree(tmp_path / "target")
    with refused(r"target.*png cannot be read"):
        [batches.at(step) for step in range(1, 24)]


def test_indices_behave_like_those_of_a_tensor(tmp_path, monkeypatch):
    for budget in (2**20, 0):
        monkeypatch.setattr(folders_module, "KEPT_BYTES", budget)
        sources = folder_task(paired_folder(tmp_path)).train.sources
        assert torch.equal(sources[torch.tensor([-1])], sources[:][-1:])
        assert sources[2:2].shape == (0, 3, 16, 16)
        with pytest.raises(IndexError):
            sources[torch.tensor([len(sources)])]
