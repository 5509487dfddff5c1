from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.pictures import box
from workbench.dataset.catalogue import HeadBox
from workbench.dataset.oxford import BadBox, read_head_box


def read(tmp_path: Path, text: str | bytes) -> HeadBox:
    path = tmp_path / "box.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_head_box(path)


def test_box_is_in_fractions_of_the_size_the_xml_names(tmp_path: Path) -> None:
    assert read(tmp_path, box(150, 60, 450, 300, width=600, height=400)) == HeadBox(0.25, 0.15, 0.75, 0.75)


def test_box_that_slips_over_the_edge_is_clipped(tmp_path: Path) -> None:
    head = read(tmp_path, box(-1, 0, 101, 100, width=100, height=100))
    assert (head.left, head.right) == (0, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (box(30, 5, 10, 25), "inverted"),
        (box(10, 5, 10, 25), "without area"),
        (box(50, 5, 70, 25), "outside"),
        (box(-30, 5, -10, 25), "outside"),
        (box(10, 5, 60, 25), "outside"),
        (box(width=0), "image size"),
        (box(height=-3), "image size"),
        (box(float("nan")), "not a number"),
        (box(right=float("inf")), "not a number"),
        (box().replace("<xmin>10</xmin>", ""), "no <xmin>"),
        (box().replace("<xmin>10</xmin>", "<xmin>ten</xmin>"), "not a number"),
        (box().replace("bndbox", "box"), "no <bndbox>"),
        ("<annotation/>", "no <size/width>"),
        ("", "not XML"),
        ("<annotation>", "not XML"),
        ("x" * 70_000, "larger than"),
    ],
)
def test_impossible_box_is_refused_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadBox, match=reason):
        read(tmp_path, text)


def test_missing_file_is_a_bad_box(tmp_path: Path) -> None:
    with pytest.raises(BadBox, match="No such file"):
        read_head_box(tmp_path / "none.xml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_doctype_is_refused_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("10")
    doctype = f'<!DOCTYPE annotation [<!ENTITY left SYSTEM "file://{secret}">]>'
    text = doctype + box().replace("<xmin>10</xmin>", "<xmin>&left;</xmin>")
    with pytest.raises(BadBox, match="DOCTYPE"):
        read(tmp_path, text.encode(encoding))


def test_entity_bomb_is_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><annotation x="&e11;"><size>&e11;</size></annotation>'
    with pytest.raises(BadBox):
        read(tmp_path, bomb)


@given(
    st.one_of(
        st.binary(max_size=400),
        st.text(max_size=200).map(lambda text: box().replace("40", text).encode("utf-8", "replace")),
    )
)
def test_any_content_is_a_box_inside_the_image_or_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        try:
            head = read(Path(directory), content)
        except BadBox:
            return
        assert 0 <= head.left < head.right <= 1
        assert 0 <= head.top < head.bottom <= 1
