import gzip
import io

import numpy as np
import pytest
from PIL import Image

from septet._core.errors import DataError
from septet.data import Provenance, _images

HERE = Provenance("made up", "0" * 64, {}, {})


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def idx_files(rng, suffix=""):
    images = {"train": rng.integers(0, 256, (5, 4, 3)), "t10k": rng.integers(0, 256, (2, 4, 3))}
    labels = {"train": np.array([3, 1, 4, 1, 5]), "t10k": np.array([9, 0])}
    files = {}
    for part in ("train", "t10k"):
        files[f"{part}-images-idx3-ubyte{suffix}"] = idx(images[part])
        files[f"{part}-labels-idx1-ubyte{suffix}"] = idx(labels[part])
    return images, labels, files


def write(folder, files):
    for name, content in files.items():
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (folder / name).write_bytes(packed)
    return {name: folder / name for name in files}


@pytest.mark.parametrize(
    ("reader", "suffix"), [(_images.read_mnist, ""), (_images.read_fashion_mnist, ".gz")]
)
def test_idx_files_give_the_official_parts(reader, suffix, rng, tmp_path):
    images, labels, files = idx_files(rng, suffix)
    split = reader(write(tmp_path, files), HERE)
    for part, name in ((split.train, "train"), (split.test, "t10k")):
        np.testing.assert_array_equal(part.images, images[name])
        np.testing.assert_array_equal(part.labels, labels[name])
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int64
        assert len(part.class_names) == 10
    assert split.provenance is HERE


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t10k-images-idx3-ubyte", b"", "expected an idx file of bytes with 3 axes"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((2, 3))), "it begins with 00 00 08 02"),
        ("t10k-images-idx3-ubyte", b"\0\0\x0d\x03" + bytes(99), "it begins with 00 00 0d 03"),
        (
            "t10k-images-idx3-ubyte",
            idx(np.zeros((2, 4, 3)))[:-1],
            "expected 16 . 2 x 4 x 3 bytes; got 39",
        ),
        ("t10k-images-idx3-ubyte", b"\0\0\x08\x03\0", r"bytes; got 5"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(3)), "has 2 images; .* 3 labels"),
        ("t10k-labels-idx1-ubyte", idx(np.array([9, 10])), "item 2: 10 is no class from 0 to 9"),
    ],
    ids=["empty", "two axes", "not bytes", "cut", "cut header", "other count", "no class"],
)
def test_a_damaged_idx_file_is_named(name, content, said, rng, tmp_path):
    _, _, files = idx_files(rng)
    with pytest.raises(DataError, match=rf"t10k-.*{said}"):
        _images.read_mnist(write(tmp_path, {**files, name: content}), HERE)


def test_a_cut_gzip_file_is_named(rng, tmp_path):
    _, _, files = idx_files(rng, ".gz")
    paths = write(tmp_path, files)
    victim = paths["train-labels-idx1-ubyte.gz"]
    victim.write_bytes(victim.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz is damaged"):
        _images.read_fashion_mnist(paths, HERE)


# Rows of pixels


def pixel_rows(rng, side, white):
    rows = rng.integers(0, white + 1, (3, side * side))
    labels = [7, 0, 9]
    text = "".join(
        ",".join(map(str, row)) + f",{label}\n" for row, label in zip(rows, labels, strict=True)
    )
    return rows.reshape(3, side, side), labels, text


@pytest.mark.parametrize(
    ("reader", "file", "side", "white"),
    [
        (_images.read_digits, "digits.csv.gz", 8, 16),
        (_images.read_mnist_5k, "mnist_5k.csv.gz", 28, 255),
    ],
)
def test_rows_of_pixels_become_images(reader, file, side, white, rng, tmp_path):
    images, labels, text = pixel_rows(rng, side, white)
    read = reader(write(tmp_path, {file: text.encode()}), HERE)
    np.testing.assert_array_equal(read.images, images)
    assert read.labels.tolist() == labels
    assert read.images.dtype == np.uint8
    assert len(read) == 3


@pytest.mark.parametrize(
    ("row", "column", "cell", "said"),
    [
        (2, 5, "17", "row 2, column 5: expected a whole number from 0 to 16; got '17'"),
        (1, 65, "10", "row 1, column 65: expected a whole number from 0 to 9; got '10'"),
        (3, 1, "-1", "row 3, column 1: .*got '-1'"),
        (3, 2, "0.5", "row 3, column 2: .*got '0.5'"),
        (3, 2, "300", "row 3, column 2: .*got '300'"),
        (3, 2, "", "row 3, column 2: .*got ''"),
        (2, 9, "1,1", "row 2: expected 65 cells; got 66"),
    ],
)
def test_a_wrong_pixel_is_named_by_row_and_column(row, column, cell, said, rng, tmp_path):
    lines = [line.split(",") for line in pixel_rows(rng, 8, 16)[2].splitlines()]
    lines[row - 1][column - 1] = cell
    text = "\n".join(",".join(line) for line in lines)
    with pytest.raises(DataError, match=rf"digits\.csv\.gz, {said}"):
        _images.read_digits(write(tmp_path, {"digits.csv.gz": text.encode()}), HERE)


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="no row of data"):
        _images.read_digits(write(tmp_path, {"digits.csv.gz": b""}), HERE)


# Arrays and pictures


def npy(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def test_faces_come_first(rng, tmp_path):
    patches = rng.uniform(size=(200, 25, 25))
    read = _images.read_lfw_subset(write(tmp_path, {"lfw_subset.npy": npy(patches)}), HERE)
    np.testing.assert_array_equal(read.images, patches)
    assert [read.class_names[code] for code in read.labels[[0, 99, 100, 199]]] == [
        "face", "face", "no face", "no face",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(np.array([{"a": 1}], dtype=object)), "damaged: Object arrays cannot be loaded"),
        (npy(np.zeros((200, 25, 24))), r"expected float64 of shape \(200, 25, 25\); got"),
        (npy(np.zeros((200, 25, 25), dtype=np.float32)), "got float32"),
        (b"no array", "damaged"),
    ],
)
def test_pickles_and_other_arrays_are_refused(content, said, tmp_path):
    with pytest.raises(DataError, match=rf"lfw_subset\.npy.*{said}"):
        _images.read_lfw_subset(write(tmp_path, {"lfw_subset.npy": content}), HERE)


def picture(array, kind):
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


def test_textures_are_grey_values(rng, tmp_path):
    arrays = {
        name: rng.integers(0, 256, (6, 5)).astype(np.uint8) for name in ("grass", "gravel", "brick")
    }
    files = {f"{name}.png": picture(array, "PNG") for name, array in arrays.items()}
    read = _images.read_textures(write(tmp_path, files), HERE)
    assert list(read.images) == ["grass", "gravel", "brick"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read.images[name], array)


def test_photographs_are_rgb(tmp_path):
    red = np.zeros((16, 8, 3), dtype=np.uint8)
    red[..., 0] = 254
    files = {name: picture(red, "JPEG") for name in ("china.jpg", "flower.jpg")}
    read = _images.read_photographs(write(tmp_path, files), HERE)
    assert set(read.images) == {"temple", "flower"}
    assert read.images["temple"].shape == (16, 8, 3)
    np.testing.assert_allclose(read.images["flower"].astype(int), red, atol=2)


def test_a_picture_of_another_kind_or_damaged_is_named(rng, tmp_path):
    grey = picture(rng.integers(0, 256, (6, 5)).astype(np.uint8), "PNG")
    files = {"china.jpg": grey, "flower.jpg": grey}
    with pytest.raises(DataError, match=r"china\.jpg: expected mode RGB; got L"):
        _images.read_photographs(write(tmp_path, files), HERE)
    files = {"grass.png": grey[:50], "gravel.png": grey, "brick.png": grey}
    with pytest.raises(DataError, match=r"grass\.png is damaged"):
        _images.read_textures(write(tmp_path, files), HERE)
