"""The plan of a pool and its images: shares to the unit, the same bits everywhere, nothing told by ids or order."""

import ast
import hashlib
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import elfs
from elfs.data.samples import Split
from elfs.data.sources import open_source
from elfs.data.sources.synthetic import SyntheticReader, SyntheticSource
from elfs.data.synthetic.colours import class_pairs, random_pair, varied
from elfs.data.synthetic.concepts import coverage, pixel_grid, segments
from elfs.data.synthetic.drawing import Drawing
from elfs.data.synthetic.draws import Draws
from elfs.data.synthetic.plan import GROUP, Kind, Plan, class_sizes, make_plan
from elfs.data.synthetic.spec import parse_source
from elfs.errors import InputDataError

MIXED = (
    "synthetic:classes=4,images=400,test=41,size=10,styles=3,redundancy=0.3,ambiguity=0.1,outliers=0.05,imbalance=8,"
    "duplicates=0.1,seed=3"
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(parse_source(MIXED), Split.TRAIN)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """Every training image [400, 10, 10, 3]."""
    drawing = Drawing(parse_source(MIXED))
    return np.stack([drawing.image(Split.TRAIN, index) for index in range(400)])


def test_draws_are_the_raw_bits_of_pcg64() -> None:
    raw = np.random.PCG64([3, 1]).random_raw(6)
    assert Draws(3, 1).uniform(2, 3).ravel().tolist() == [int(bits) // 2**11 / 2**53 for bits in raw]
    assert Draws(3, 1).order(6).tolist() == sorted(range(6), key=lambda position: int(raw[position]))
    assert Draws(3, 1).bytes(9).tolist() == [*int(raw[0]).to_bytes(8, "little"), int(raw[1]) % 256]


@pytest.mark.parametrize(
    ("count", "num_classes", "imbalance", "sizes"),
    [
        (10, 3, 1.0, [4, 3, 3]),
        (70, 3, 4.0, [40, 20, 10]),
        (71, 3, 4.0, [41, 20, 10]),  # 40.57, 20.29, 10.14
        (2, 3, 1.0, [1, 1, 0]),
        (0, 2, 1.0, [0, 0]),
    ],
)
def test_class_sizes_fall_exponentially(count: int, num_classes: int, imbalance: float, sizes: list[int]) -> None:
    assert class_sizes(count, num_classes, imbalance).tolist() == sizes


def test_shares_hold_to_the_image(plan: Plan) -> None:
    counts = Counter(plan.kinds.tolist())
    assert counts == {
        Kind.PLAIN: 180,
        Kind.REDUNDANT: 120,
        Kind.AMBIGUOUS: 40,
        Kind.OUTLIER: 20,
        Kind.DUPLICATE: 30,
        Kind.NEAR_DUPLICATE: 10,
    }
    # weights 1, 1/2, 1/4, 1/8 of 400 / 1.875
    assert np.bincount(plan.classes).tolist() == [213, 107, 53, 27]


def test_copies_are_of_plain_images_of_their_class(plan: Plan) -> None:
    derived = np.isin(plan.kinds, [Kind.REDUNDANT, Kind.DUPLICATE, Kind.NEAR_DUPLICATE])
    np.testing.assert_array_equal(plan.origins >= 0, derived)
    origins = plan.origins[derived]
    assert set(plan.kinds[origins].tolist()) == {Kind.PLAIN}
    np.testing.assert_array_equal(plan.classes[origins], plan.classes[derived])
    np.testing.assert_array_equal(plan.styles[origins], plan.styles[derived])


def test_redundant_images_share_few_bases(plan: Plan) -> None:
    redundant = plan.kinds == Kind.REDUNDANT
    for number in range(4):
        origins = plan.origins[redundant & (plan.classes == number)]
        assert 1 <= len(set(origins.tolist())) <= -(-len(origins) // GROUP)


def test_only_ambiguous_images_show_a_second_class(plan: Plan) -> None:
    ambiguous = plan.kinds == Kind.AMBIGUOUS
    np.testing.assert_array_equal(plan.others >= 0, ambiguous)
    assert not np.any(plan.others[ambiguous] == plan.classes[ambiguous])
    assert set(plan.others[ambiguous].tolist()) == {0, 1, 2, 3}


def test_each_style_is_half_as_frequent_as_the_one_before() -> None:
    plan = make_plan(parse_source("synthetic:classes=3,images=2100,test=90,styles=3"), Split.TRAIN)
    for number in range(3):
        counts = np.bincount(plan.styles[plan.classes == number])
        assert np.abs(counts - np.array([400, 200, 100])).max() <= 2


def test_only_outliers_have_no_style(plan: Plan) -> None:
    np.testing.assert_array_equal(plan.styles < 0, plan.kinds == Kind.OUTLIER)
    assert len(set(plan.classes[plan.kinds == Kind.OUTLIER].tolist())) > 1


def test_test_split_is_balanced_and_plain() -> None:
    plan = make_plan(parse_source(MIXED), Split.TEST)
    assert np.bincount(plan.classes).tolist() == [11, 10, 10, 10]
    assert not plan.kinds.any()
    assert set(plan.origins.tolist()) == set(plan.others.tolist()) == {-1}
    for number in range(4):
        counts = np.bincount(plan.styles[plan.classes == number], minlength=3)
        assert counts.min() >= 2
        assert counts.max() <= 5


def test_every_class_keeps_a_plain_image_where_little_is_left() -> None:
    spec = parse_source("synthetic:classes=5,images=40,redundancy=0.5,duplicates=0.375")
    plan = make_plan(spec, Split.TRAIN)
    assert sorted(plan.classes[plan.kinds == Kind.PLAIN].tolist()) == [0, 1, 2, 3, 4]
    assert np.all(plan.kinds[plan.origins[plan.kinds != Kind.PLAIN]] == Kind.PLAIN)


def test_order_tells_nothing_of_classes_and_kinds(plan: Plan) -> None:
    """Neighbouring rows agree as often as chance says: half of the rows differ in class with these sizes."""
    shares = np.bincount(plan.classes) / 400
    chance = float(np.sum(shares**2))
    assert abs(np.mean(plan.classes[1:] == plan.classes[:-1]) - chance) < 4 * (chance * (1 - chance) / 399) ** 0.5
    for kind in Kind:
        place = np.flatnonzero(plan.kinds == kind)
        assert abs(place.mean() - 199.5) < 4 * 400 / (12 * len(place)) ** 0.5


def test_duplicates_are_equal_to_the_pixel_and_near_ones_nearly(plan: Plan, images: NDArray[np.uint8]) -> None:
    origins = images[plan.origins]
    same = np.all(images == origins, axis=(1, 2, 3))
    assert same[plan.kinds == Kind.DUPLICATE].all()
    near = np.flatnonzero(plan.kinds == Kind.NEAR_DUPLICATE)
    noisy = [row for row in near if np.abs(images[row].astype(int) - origins[row].astype(int)).max() <= 2]
    shifted = [row for row in near if any(np.array_equal(images[row], moved) for moved in shifts(origins[row]))]
    assert not same[near].any()
    assert noisy
    assert shifted
    assert sorted([*noisy, *shifted]) == near.tolist()


def shifts(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return an image moved by one pixel along both diagonals, its border repeated."""
    lines = [np.r_[0, 0:9], np.r_[1:10, 9]]
    return [image[down][:, right] for down in lines for right in lines]


def test_redundant_images_are_close_and_no_two_others_equal(plan: Plan, images: NDArray[np.uint8]) -> None:
    flat = images.reshape(400, -1).astype(float)
    redundant = np.flatnonzero(plan.kinds == Kind.REDUNDANT)
    to_base = np.linalg.norm(flat[redundant] - flat[plan.origins[redundant]], axis=1)
    plain = np.flatnonzero(plan.kinds == Kind.PLAIN)
    distances = np.linalg.norm(flat[plain, None] - flat[None, plain], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert to_base.min() > 0
    assert np.median(to_base) < 0.6 * np.median(distances.min(axis=1))
    drawn = [images[row].tobytes() for row in np.flatnonzero(plan.kinds != Kind.DUPLICATE)]
    assert len(set(drawn)) == len(drawn)


def test_ambiguous_image_shows_two_concepts_faintly() -> None:
    """Without clutter a plain image is background or ink but for the edges; half the strokes of a blend are fainter."""
    spec = parse_source("synthetic:classes=2,images=40,size=64,ambiguity=0.5,clutter=0,styles=1")
    drawing, plan = Drawing(spec), make_plan(spec, Split.TRAIN)
    between = np.zeros(40)
    for row in range(40):
        levels = drawing.image(Split.TRAIN, row)[..., 0].astype(float)
        ink = (levels - levels.min()) / (levels.max() - levels.min())
        between[row] = np.mean((ink > 0.25) & (ink < 0.75)) / np.mean(ink > 0.25)
    ambiguous = plan.kinds == Kind.AMBIGUOUS
    assert between[~ambiguous].mean() < 0.25
    assert between[ambiguous].mean() > 0.35


def test_half_of_the_outliers_show_nothing() -> None:
    spec = parse_source("synthetic:classes=2,images=80,outliers=0.9,clutter=0")
    drawing, plan = Drawing(spec), make_plan(spec, Split.TRAIN)
    rows = np.flatnonzero(plan.kinds == Kind.OUTLIER)
    empty = [len(np.unique(drawing.image(Split.TRAIN, row)[..., 0])) == 1 for row in rows.tolist()]
    assert len(rows) == 72
    assert 25 < sum(empty) < 47  # 36, give or take 2.6 deviations


def test_pixels_are_what_they_were() -> None:
    """Digests of the first version: results that name a spec stay comparable."""
    found = {}
    for source in ("synthetic:balanced", "synthetic:longtail", "synthetic:size=32,clutter=1,outliers=0.5,seed=9"):
        drawing = Drawing(parse_source(source))
        digest = hashlib.sha256()
        for split, index in [(split, index) for split in Split for index in range(100)]:
            digest.update(drawing.image(split, index).tobytes())
        found[source] = digest.hexdigest()[:16]
    assert found == {
        "synthetic:balanced": "3c25a94bbc50dc01",
        "synthetic:longtail": "2076e7f0441dd892",
        "synthetic:size=32,clutter=1,outliers=0.5,seed=9": "f51964e7f4f2a046",
    }


def looks(name: str) -> tuple[NDArray[np.float64], Plan]:
    """Mean colour of every training image [n, 3], without noise and stray strokes, and what the images show."""
    spec = parse_source(name)
    drawing = Drawing(spec)
    images = np.stack([drawing.image(Split.TRAIN, index) for index in range(spec.images)])
    return images.mean(axis=(1, 2)), make_plan(spec, Split.TRAIN)


def share_of_classes(means: NDArray[np.float64], classes: NDArray[np.int16]) -> float:
    """Share of the variance of the mean colours that lies between the classes."""
    centres = np.stack([means[classes == number].mean(axis=0) for number in range(int(classes.max()) + 1)])
    return float(((centres[classes] - means.mean(axis=0)) ** 2).sum() / ((means - means.mean(axis=0)) ** 2).sum())


def test_random_colours_say_nothing_and_those_of_the_class_much() -> None:
    random, plan = looks("synthetic:shapes,images=400,classes=4,clutter=0,size=12")
    assert share_of_classes(random, plan.classes) < 0.03
    own, plan = looks("synthetic:colours,images=400,classes=4,clutter=0,size=12")
    assert share_of_classes(own, plan.classes) > 0.8


def test_random_colours_leave_the_drawing_as_it_is() -> None:
    plain, random = (
        Drawing(parse_source(f"synthetic:images=20,size=12,clutter=0,colour={colour}"))
        for colour in ("plain", "random")
    )
    for index in range(20):
        flat = [drawing.image(Split.TRAIN, index).astype(float).mean(axis=2).ravel() for drawing in (plain, random)]
        assert abs(np.corrcoef(*flat)[0, 1]) > 0.98


def test_with_the_colours_of_the_class_every_image_has_a_drawing_of_its_own() -> None:
    spec = parse_source(
        "synthetic:colours,images=40,classes=2,clutter=0,size=12,redundancy=0.5,outliers=0.1,ambiguity=0.1"
    )
    drawing, plan = Drawing(spec), make_plan(spec, Split.TRAIN)
    images = np.stack([drawing.image(Split.TRAIN, index) for index in range(40)]).astype(float)
    flat = images.reshape(40, -1)
    alike = np.corrcoef(flat - np.stack([flat[plan.classes == c].mean(axis=0) for c in (0, 1)])[plan.classes])
    redundant = np.flatnonzero(plan.kinds == Kind.REDUNDANT)
    plain = np.flatnonzero(plan.kinds == Kind.PLAIN)
    assert np.median(alike[redundant, plan.origins[redundant]]) > 0.9
    assert np.median(alike[np.ix_(plain, plain)][~np.eye(len(plain), dtype=bool)]) < 0.5


def test_colours_of_a_class_are_unlike_those_of_the_others() -> None:
    pairs = class_pairs(0, 10)
    distances = np.linalg.norm((pairs[:, None] - pairs).reshape(10, 10, 6), axis=2)
    assert distances[~np.eye(10, dtype=bool)].min() > 0.4
    moved = varied(pairs[0], Draws(0, 1))
    assert 0 < np.abs(moved - pairs[0]).max() <= 0.1
    ground, ink = random_pair(Draws(0, 2))
    tried = Draws(0, 2).uniform(3, 2, 3).sum(axis=2)
    assert abs(ground.sum() - ink.sum()) == pytest.approx(np.abs(tried[:, 0] - tried[:, 1]).max())


def test_any_row_alone_in_any_process(images: NDArray[np.uint8]) -> None:
    rows = [399, 0, 17]
    code = (
        "import hashlib\n"
        "from elfs.data.sources import open_source\n"
        f"source = open_source({MIXED!r}, None)\n"
        "reader = source.reader(source.list())\n"
        f"print([hashlib.sha256(reader.read(row).tobytes()).hexdigest() for row in {rows}])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(found.stdout) == [hashlib.sha256(images[row].tobytes()).hexdigest() for row in rows]


def test_reader_can_be_pickled_and_reads_part_of_a_table(images: NDArray[np.uint8]) -> None:
    source = open_source(MIXED, None)
    part = source.list().take(np.array([5, 399, 400, 440]))
    reader = pickle.loads(pickle.dumps(source.reader(part)))
    assert isinstance(reader, SyntheticReader)
    drawing = Drawing(parse_source(MIXED))
    expected = [images[5], images[399], drawing.image(Split.TEST, 0), drawing.image(Split.TEST, 40)]
    for row, pixels in enumerate(expected):
        image = reader.read(row)
        assert (image.mode, image.size) == ("RGB", (10, 10))
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_another_seed_is_another_pool() -> None:
    first, second = (Drawing(parse_source(f"synthetic:seed={seed}")) for seed in (0, 1))
    assert not np.array_equal(first.image(Split.TRAIN, 0), second.image(Split.TRAIN, 0))
    plans = [make_plan(parse_source(f"synthetic:seed={seed}"), Split.TRAIN) for seed in (0, 1)]
    assert not np.array_equal(plans[0].classes, plans[1].classes)


def test_listing_and_facts() -> None:
    source = open_source("synthetic:images=30,seed=2", None, download=False, max_pixels=1)
    assert isinstance(source, SyntheticSource)
    facts = (source.name, source.channels, source.mirror, source.num_classes, source.has_images)
    assert facts == ("synthetic:clean,images=30,seed=2", 3, False, 10, True)
    table = source.list()
    assert table.ids([0, 29, 30, 529]) == [
        "synthetic/train/00000",
        "synthetic/train/00029",
        "synthetic/test/00000",
        "synthetic/test/00499",
    ]
    assert table.split.tolist() == [Split.TRAIN] * 30 + [Split.TEST] * 500
    assert np.all(table.num_bytes == 432)


def test_reader_refuses_other_samples() -> None:
    with pytest.raises(InputDataError, match=r"ids are unknown: 'synthetic/train/00030'"):
        open_source("synthetic:images=30", None).reader(open_source("synthetic:images=31", None).list())


def test_coverage_of_one_stroke_by_hand() -> None:
    """A horizontal stroke of half width 0.5 on 4 x 4 pixels with centres at +-0.25 and +-0.75.

    From (-0.75, 0) to (0.75, 0) every column is above the stroke: distance 0.25 or 0.75, so coverage is
    (0.5 - distance) * 2 + 0.5, clipped: 1 and 0.
    """
    controls = np.array([[[-0.75, 0.0], [0.0, 0.0], [0.75, 0.0]]])
    found = coverage(*segments(controls, np.array([0.5])), pixel_grid(4)).reshape(4, 4)
    np.testing.assert_allclose(found, np.repeat([[0.0], [1.0], [1.0], [0.0]], 4, axis=1))
    found = coverage(*segments(controls, np.array([0.375])), pixel_grid(4)).reshape(4, 4)
    np.testing.assert_allclose(found, np.repeat([[0.0], [0.75], [0.75], [0.0]], 4, axis=1))


def test_a_blob_is_round() -> None:
    found = coverage(*segments(np.zeros((1, 3, 2)), np.array([0.5])), pixel_grid(8)).reshape(8, 8)
    np.testing.assert_allclose(found, found.T)
    np.testing.assert_allclose(found, found[::-1])
    assert found[3, 3] == 1
    assert found[0, 0] == found[0, 3] == 0


def test_only_the_drawing_and_the_evaluation_ask_the_plan() -> None:
    """The plan holds true labels: whatever else imports it could read them."""
    package = Path(elfs.__file__).parent
    allowed = {"data/synthetic/drawing.py", "evaluation/synthetic.py"}
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "synthetic.plan" in text or "make_plan" in text:
            assert path.relative_to(package).as_posix() in allowed | {"data/synthetic/plan.py"}
