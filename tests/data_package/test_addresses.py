import base64

import numpy as np
import pytest

from elfs.data.addresses import find_images
from elfs.data.samples import SampleTable

RAW = b"ni\xe9.png".decode("utf-8", "surrogateescape")
IDS = ["c0/img0.png", "c1/img1.png", "c1/img0.png", "a b/ü+#%.jpg", "digits/train/1", "c:0/x%20y.png", "top.png", RAW]
TABLE = SampleTable.from_ids([*IDS, "nié2.png", "img0.png/deep.png"], 0, 0)
SIGNED = base64.urlsafe_b64encode(b"s3://bucket/c0/img0.png").decode().rstrip("=")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("c0/img0.png", "c0/img0.png"),
        (" c0/img0.png\t", "c0/img0.png"),
        ("./c0//img0.png", "c0/img0.png"),
        ("/pool/c0/img0.png", "c0/img0.png"),
        ("/elsewhere/pool/c0/img0.png", "c0/img0.png"),
        ("c1\\img0.png", "c1/img0.png"),
        ("C:\\Users\\me\\pool\\c1\\img1.png", "c1/img1.png"),
        ("images/c1/img1.png", "c1/img1.png"),
        ("file:///pool/top.png", "top.png"),
        ("/data/local-files/?d=c0/img0.png", "c0/img0.png"),
        ("/data/local-files/?d=c0%2Fimg0.png", "c0/img0.png"),
        ("/data/local-files/?d=c1/img1.png&token=x", "c1/img1.png"),
        ("http://host:8080/data/local-files/?d=pool/a%20b/%C3%BC%2B%23%25.jpg", "a b/ü+#%.jpg"),
        ("/data/local-files/?d=a b/ü+#%.jpg", "a b/ü+#%.jpg"),
        ("/data/local-files/?d=ni%E9.png", RAW),
        ("/data/local-files/?d=c%3A0/x%2520y.png", "c:0/x%20y.png"),
        ("c:0/x%20y.png", "c:0/x%20y.png"),
        ("a%20b/%C3%BC+%23%25.jpg", "a b/ü+#%.jpg"),
        ("s3://bucket/set/a b/ü+#%.jpg", "a b/ü+#%.jpg"),
        ("gs://bucket/c0/img0.png", "c0/img0.png"),
        ("https://host/x/c0/img0.png?X-Amz-Signature=abc&x=/y", "c0/img0.png"),
        (f"/tasks/3/presign/?fileuri={SIGNED}", "c0/img0.png"),
        ("/tasks/3/presign/?fileuri=!", None),
        ("/data/upload/3/0a1b2c3d-img1.png", "c1/img1.png"),
        ("0a1b2c3d-img1.png", "c1/img1.png"),
        ("/data/upload/3/0a1b2c3d-x20y.png", "c:0/x%20y.png"),
        ("img1.png", "c1/img1.png"),
        ("img1", "c1/img1.png"),
        ("digits/train/1.png", "digits/train/1"),
        ("'top.png", "top.png"),
        ("nie\u03012.png", "nié2.png"),
        ("img1.jpg", None),
        ("mg1.png", None),
        ("", None),
        ("\ud800", None),
        ("/", None),
    ],
)
def test_what_a_name_means(name: str, expected: str | None) -> None:
    found = find_images(TABLE, [name], "/pool")
    row = int(found.rows[0])
    assert (TABLE.id(row) if row >= 0 else None) == expected
    assert found.ambiguous == ()


def test_the_end_of_several_ids_means_none() -> None:
    found = find_images(TABLE, ["top.png", "img0.png", "img0.png"])
    assert (found.rows.tolist(), found.ambiguous) == ([6, -1, -1], (1, 2))


def test_the_folder_of_the_images_counts_before_the_end() -> None:
    table = SampleTable.from_ids(["x/x/a.png", "x/a.png"], 0, 0)
    assert find_images(table, ["/x/x/a.png"], "/x").rows.tolist() == [1]
    assert find_images(table, ["/x/x/a.png"]).rows.tolist() == [0]


def test_nothing_is_found_among_nothing() -> None:
    assert find_images(TABLE, []).rows.tolist() == []
    np.testing.assert_array_equal(find_images(SampleTable.from_ids([], 0, 0), ["a", "b"]).rows, [-1, -1])
