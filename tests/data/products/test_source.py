"""products:shop and products:world: what is in them, their light, the cache."""

import hashlib

import jax
import numpy as np
import pytest

from augment_gen.config import errors
from augment_gen.data import sources
from augment_gen.data.products import catalogue, families, render, scenes, source
from augment_gen.data.products.world import pile

SIZE = 16


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  return tmp_path / "augment_gen" / "products"


def load(spec, channels=3):
  return sources.load(f"products:{spec}", image_size=SIZE, channels=channels)


def test_labels_are_the_products():
  spec = "products:shop?classes=5&per_class=2"
  images = load("shop?classes=5&per_class=2")
  assert sources.count(spec) == len(images) == 10
  assert images.images.shape == (10, SIZE, SIZE, 3)
  assert images.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
  assert images.class_names[3:] == ("003 bottle 0d", "004 carton 0a")
  grey = load("shop?classes=5&per_class=2", channels=1).images
  weights = np.array([0.299, 0.587, 0.114])
  np.testing.assert_allclose(grey[..., 0], images.images @ weights, atol=0.51)


def test_world_has_no_labels():
  images = load("world?images=3")
  assert images.labels is None
  assert len({image.tobytes() for image in images.images}) == 3
  assert sources.count("products:world") == 10_000


def test_seed_and_part_decide_and_pictures_are_independent():
  first = load("shop?classes=2&per_class=2")
  fewer = load("shop?classes=1&per_class=1")
  np.testing.assert_array_equal(first.images[:1], fewer.images)
  other = [load("shop?classes=1&per_class=2&seed=1").images,
           load("shop?classes=1&per_class=2&part=test").images, first.images[:2]]
  assert len({image.tobytes() for images in other for image in images}) == 6


def test_parts_have_other_views_and_both_lights_the_same():
  camera = lambda light, part: scenes.ShopPicture(7, 0, light, part, 0).scene().camera
  assert (camera("room", "test").eye == camera("spotlight", "test").eye).all()
  assert (camera("room", "test").eye != camera("room", "finetune").eye).any()


def test_a_spotlight_comes_from_one_side_into_a_dark_room():
  """Light and dark are told by the mean over the halves and the corners of pictures."""
  both = []
  for light in ("room", "spotlight"):
    images = load(f"shop?classes=12&per_class=1&light={light}").images.mean(-1) / 255
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(1)
    sides = images[:, :, :8].mean((1, 2)) - images[:, :, 8:].mean((1, 2))
    both.append((corners.mean(), np.abs(sides).mean(), images.std((1, 2)).mean()))
  (corners, sides, spread), (spot_corners, spot_sides, spot_spread) = both
  assert spot_corners < 0.75 * corners
  assert spot_sides > 1.5 * sides
  assert spot_spread > 1.1 * spread


@pytest.fixture
def on_cpu():
  """The setting under which pictures are rendered: nothing is compiled twice."""
  with jax.default_device(jax.local_devices(backend="cpu")[0]):
    yield


@pytest.mark.usefixtures("on_cpu")
def test_things_cast_shadows():
  """With the solid taken away, the table behind it is brighter under either light."""
  for light in ("room", "spotlight"):
    scene = scenes.ShopPicture(0, 0, light, "finetune", 0).scene()
    empty = scene._replace(
        solid=scene.solid._replace(counts=np.zeros(3, np.int32)),
        occluders=scene.occluders._replace(count=np.int32(0)))
    seen = render.meet(scene.solid, scene.room, scene.camera.eye,
                       render._rays(scene.camera, side=2 * SIZE))
    table = np.asarray(seen.on_table).reshape(SIZE, 2, SIZE, 2).all((1, 3))
    change = np.asarray(render.trace(empty, SIZE) - render.trace(scene, SIZE))[table]
    assert change.min() > -1e-4 and change.max() > 0.05


def test_the_second_time_pictures_come_from_the_cache(cache, monkeypatch):
  first = load("world?images=2")
  assert len(list(cache.iterdir())) == 1
  with monkeypatch.context() as patch:
    patch.setattr(source, "render", lambda *_: pytest.fail("rendered again"))
    again = load("world?images=2")
  assert hashlib.sha256(again.images).digest() == hashlib.sha256(first.images).digest()

  # Damaged files are replaced, and another version of the renderer has others.
  file, = cache.iterdir()
  whole = file.read_bytes()
  for damage in (lambda: file.write_bytes(whole[:300]),
                 lambda: np.save(file, np.ones(3, np.uint8))):
    damage()
    np.testing.assert_array_equal(load("world?images=2").images, first.images)
    assert file.read_bytes() == whole
  monkeypatch.setattr(source, "_renderer", lambda: "another")
  load("world?images=2")
  assert len(list(cache.iterdir())) == 2


def test_without_a_cache_folder_it_renders(tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  assert len(load("world?images=1")) == 1


@pytest.mark.parametrize("spec,words", [
    ("products:mall", ["products:mall", "products:shop, products:world"]),
    ("products:shop?images=3", ["no option images", "classes, light, part"]),
    ("products:world?light=spotlight", ["no option light", "images, seed"]),
    ("products:shop?light=sun", ["light='sun'", "room, spotlight"]),
    ("products:shop?seed=-1", ["seed=-1", "negative"]),
    ("products:shop?classes=1001", ["1000 classes", "classes=1001"])])
def test_problems_of_a_spec(spec, words):
  problem, = sources.check(spec)
  assert all(word in problem for word in words), problem
  with pytest.raises(errors.UserError):
    sources.load(spec, image_size=SIZE, channels=3)


def test_products_share_shapes_but_not_labels():
  forms, skins, names = zip(*(catalogue.product(i) for i in range(100)))
  assert len(set(names)) == 100
  assert _bytes(forms[4]) == _bytes(forms[7])
  assert _bytes(forms[4]) != _bytes(forms[8])
  assert len({_bytes(form) for form in forms}) == 100 // catalogue.LABELS
  assert len({_bytes(skin) for skin in skins}) == 100
  assert len({name.split()[1] for name in names}) == len(families.FAMILIES)


def test_every_thing_stands_on_the_table():
  for i in range(60):
    form = (pile(catalogue.generator(i)) if i % 2
            else catalogue.product(2 * i)[0])
    spans = form.solid.quadrics.span[~form.solid.quadrics.lying.astype(bool)]
    assert spans.min() >= 0 and spans.max() <= form.height + 3e-3
    assert form.solid.counts.sum() > 0 and form.occluders.count > 0


def _bytes(values) -> bytes:
  return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(values))
