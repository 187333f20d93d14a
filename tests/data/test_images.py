"""Images of every kind and their captions: what is read, and what is refused."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from recurra.data.images import captioned, picture
from recurra.data.images.captioned import read_captioned
from recurra.data.images.frames import images_of
from recurra.data.images.picture import read_picture
from recurra.data.images.transform import Pictured, Pictures
from recurra.data.text.tokens import Words
from recurra.errors import DataError

RNG = np.random.default_rng(0)
COLOURED = RNG.integers(0, 256, (6, 6, 3)).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def test_what_is_transparent_shows_the_background() -> None:
    alpha = np.dstack([COLOURED, np.where(np.eye(6), 0, 255).astype(np.uint8)])
    for source in (alpha, saved(Image.fromarray(alpha))):
        got = read_picture(source, 6, "red")
        assert np.array_equal(got[~np.eye(6, dtype=bool)], COLOURED[~np.eye(6, dtype=bool)])
        assert (got[np.eye(6, dtype=bool)] == (255, 0, 0)).all()


def test_grey_palettes_and_more_bits() -> None:
    grey = COLOURED[..., 0]
    for source in (grey, grey[..., None], saved(Image.fromarray(grey)), grey / 255):
        assert np.array_equal(read_picture(source, 6), np.repeat(grey[..., None], 3, 2))
    wide = grey.astype(np.uint16) * 257
    assert np.array_equal(read_picture(saved(Image.fromarray(wide)), 6)[..., 1], grey)
    few = Image.fromarray(COLOURED).quantize(40)
    assert np.array_equal(read_picture(saved(few, "GIF"), 6), np.asarray(few.convert("RGB")))
    see_through = saved(few, "GIF", transparency=few.getpixel((2, 3)))
    assert read_picture(see_through, 6, "lime")[3, 2].tolist() == [0, 255, 0]
    inks = Image.fromarray(COLOURED).convert("CMYK")
    assert np.array_equal(read_picture(saved(inks, "TIFF"), 6), np.asarray(inks.convert("RGB")))


def test_it_is_turned_as_its_exif_says() -> None:
    for orientation, want in ((3, COLOURED[::-1, ::-1]), (6, np.rot90(COLOURED, -1)), (8, np.rot90(COLOURED))):
        exif = Image.Exif()
        exif[274] = orientation
        assert np.array_equal(read_picture(saved(Image.fromarray(COLOURED), exif=exif), 6), want)


def test_of_what_moves_the_first_frame_is_taken() -> None:
    shades = [Image.new("RGB", (6, 6), (v, 0, 0)) for v in (10, 200, 90)]
    moving = saved(shades[0], "GIF", save_all=True, append_images=shades[1:])
    assert (read_picture(moving, 6) == (10, 0, 0)).all()


def test_the_whole_of_it_is_seen() -> None:
    got = read_picture(np.full((3, 12, 3), 7, np.uint8), 8, "white")
    assert (got[3:5] == 7).all()
    assert (got[[0, 1, 2, 5, 6, 7]] == 255).all()
    assert ((read_picture(np.zeros((1, 999), np.uint8), 8) == 0).all(-1).sum(0) == 1).all()  # a line stays one


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header says how large it is, and that has nothing in it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as an image"),
        (b"no image at all", "cannot be read as an image"),
        (saved(Image.fromarray(COLOURED))[:70], "cannot be read as an image"),
        (saved(Image.fromarray(np.repeat(COLOURED, 9, 0)), "JPEG")[:500], "cannot be read as an image"),
        (saved(Image.fromarray(COLOURED)).replace(b"IDAT", b"IDOT"), "cannot be read as an image"),
        (bomb(10_000, 10_000), "has 10000 x 10000 pixels, expected 1 to 67108864"),
        (bomb(60_000, 60_000), "cannot be read as an image .*exceeds limit"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read as an image"),
        (np.zeros((3, 4, 5), np.uint8), "expected uint8"),
        (np.zeros((0, 4), np.uint8), "expected uint8"),
        (np.full((3, 4), 2.0), "outside 0 to 1"),
        (np.zeros((3, 4), np.int64), "expected uint8"),
    ],
)
def test_broken_and_huge_images_are_refused(content, said) -> None:
    with pytest.raises(DataError, match=f"a.png: .*{said}"):
        read_picture(content, 16, name="a.png")


def test_a_huge_file_is_not_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(picture, "MOST_BYTES", 100)
    (tmp_path / "a.png").write_bytes(b"\0" * 101)
    with pytest.raises(DataError, match="more than 100 bytes"):
        read_picture(tmp_path / "a.png", 8)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "b.png", 8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Images").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(COLOURED).save(tmp_path / "Images" / f"{name}.png")
    return tmp_path


FILES = {
    "Flickr8k.token.txt": "a.png#0\tA dog , running .\na.png#1\tIt runs .\nb.png#0\tA cat .\n",
    "captions.txt": 'image,caption\na.png,"A dog , running ."\na.png,It runs .\nb.png,A cat .\n',
    "captions.csv": 'id,image,caption\n1,a.png,"A dog , running ."\n2,a.png,It runs .\n3,b.png,A cat .\n',
    "captions.tsv": "file\ttext\na.png\tA dog , running .\na.png\tIt runs .\nb.png\tA cat .\n",
    "captions.jsonl": "\n".join(
        json.dumps(one)
        for one in (
            {"path": "a.png", "captions": ["A dog , running .", "It runs ."]},
            {"path": "b.png", "captions": "A cat ."},
        )
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_captions_of_every_kind_of_file(name, folder) -> None:
    (folder / name).write_text(FILES[name])
    for source in (folder / name, str(folder / name), folder):
        found = read_captioned(source)
        assert [one.captions for one in found] == [("A dog , running .", "It runs ."), ("A cat .",)]
        assert [one.source for one in found] == [folder / "Images" / "a.png", folder / "Images" / "b.png"]
    features = folder / "features"
    features.mkdir()
    for stem in "ab":
        np.save(features / f"{stem}.npy", np.ones(3))
    assert [one.source.name for one in read_captioned(folder / name, features=str(features))] == ["a.npy", "b.npy"]
    other = folder / "other.npy"
    np.save(other, np.ones(3))
    assert read_captioned([other], features=str(features))[0].source == other


def test_lists_folders_and_groups(folder) -> None:
    images = sorted((folder / "Images").iterdir())
    assert [one.source for one in read_captioned(folder)] == images
    assert [one.captions for one in read_captioned(images[:2], ["x", [["y", "z"], "w"]])] == [("x",), (["y", "z"], "w")]
    table = {"picture": [str(p) for p in images], "caption": ["p", "q", "r"], "of": ["1", "1", "2"]}
    assert [one.group for one in read_captioned(table, groups="of")] == ["1", "1", "2"]
    assert read_captioned(table, "of")[2].captions == ("2",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "a.png#0\tx\nd.png#0\ty\n", "there is no file 'd.png' in"),
        ("a.txt", "a.png#0\tx\na.png\ty\n", r"a.txt, line 2: .*expected name.jpg#0"),
        ("a.txt", "a.png#0\t \n", "a.txt, line 1: the caption is empty"),
        ("a.csv", "image,caption\na.png,\n", "a.csv, line 2: the caption is empty"),
        ("a.csv", "what,caption\na.png,x\n", "no column of images is named"),
        ("a.csv", "image,caption\n,x\n", "'image' is empty"),
        ("a.csv", "image,caption\na.csv,x\n", "expected one of .png"),
        ("a.jsonl", '{"image": "a.png", "caption": [1]}\n', "the caption is '1'"),
        ("a.txt", "", "no line with text"),
    ],
)
def test_files_that_cannot_be_used(name, content, said, folder) -> None:
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read_captioned(folder / name)


def test_folders_that_cannot_be_used(folder) -> None:
    (folder / "x").mkdir()
    with pytest.raises(DataError, match="no image and no file of captions"):
        read_captioned(folder / "x")
    for name in ("one.csv", "two.csv"):
        (folder / name).write_text(FILES["captions.csv"])
    with pytest.raises(DataError, match=r"which file has the captions, one\.csv, two\.csv"):
        read_captioned(folder)
    with pytest.raises(DataError, match="no such file"):
        read_captioned(folder / "three.csv")


def test_images_that_come_into_a_folder(folder, monkeypatch) -> None:
    inner = folder / "Images"
    coming = images_of(inner, follow=True)
    assert [next(coming).name for _ in range(3)] == ["a.png", "b.png", "c.png"]
    content, looks = saved(Image.fromarray(COLOURED)), []

    def wait(seconds) -> None:
        looks.append(seconds)
        (inner / "d.png").write_bytes(content[: 20 * len(looks)] if len(looks) < 3 else content)

    monkeypatch.setattr("recurra.data.images.frames.time.sleep", wait)
    assert next(coming) == inner / "d.png"
    assert (inner / "d.png").read_bytes() == content
    assert len(looks) == 4


def learned(shift=0, flip=False) -> tuple[Pictures, Pictured]:
    some = [RNG.integers(0, 256, (5, 5, 3)).astype(np.uint8) for _ in range(7)]
    pictures = [Pictured(str(i), x, captions=(("a", "b"), ("c",))) for i, x in enumerate(some)]
    return Pictures.learn(pictures, Words(lower=True), shift=shift, flip=flip), pictures[0]


def test_rows_are_standardized_and_come_back() -> None:
    transform, one = learned()
    again = Pictures.from_dict(json.loads(json.dumps(transform.to_dict())))
    assert again == transform
    rows = transform.rows(one, 0, 1)
    mean, deviation = np.array(transform.mean), np.array(transform.deviation)
    assert np.abs(rows.reshape(5, 5, 3) - (one.picture - mean) / deviation).max() < 1e-5
    assert np.array_equal(transform.live().push(one.picture), rows[0])
    assert transform.written(one).tolist() == [*transform.vocabulary.ids(("a", "b")), 2]
    assert transform.tokens([3, 0, 4]) == ("a", "b")
    assert transform.varied(one, 1, np.random.default_rng(0)) is None


def test_a_picture_of_training_is_moved_or_turned() -> None:
    transform, one = learned(shift=1, flip=True)
    rng, plain = np.random.default_rng(0), set()
    around = np.pad(one.picture, [(1, 1), (1, 1), (0, 0)], mode="edge")
    moved = [around[i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
    allowed = {transform.scaled(x).tobytes() for x in (*moved, *(m[:, ::-1] for m in moved))}
    for _ in range(200):
        plain.add(transform.varied(one, 1, rng)[0].tobytes())
    assert plain == allowed


def test_every_kind_of_file_has_a_test() -> None:
    """`captioned.TABLES` but for Parquet, which the tables' own tests read."""
    assert set(captioned.TABLES) - {".parquet", ".ndjson", ".json"} == {f".{name.rpartition('.')[2]}" for name in FILES}
