"""Scenes made from annotated pictures: as many exact masks as wanted.

A scene is a picture (H, W, 3) uint8 with the masks (K, H, W) bool of its objects. Every function takes a NumPy
generator and nothing else is random.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vns_sam.images.geometry import fit, resize_image

MEAN_COLOUR = (124, 116, 104)


@dataclass(frozen=True)
class Scene:
    """A picture and its objects.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        masks: (K, H, W) bool, K >= 1; objects may overlap.
    """

    image: np.ndarray
    masks: np.ndarray


def view(scene: Scene, target: int, side: int, rng: np.random.Generator) -> Scene:
    """A random square view of a scene: flip, scale (0.75 to 2 times the fitted size), tilt, crop around the target.

    Args:
        scene: The scene.
        target: Index of the object that must stay in view; where it is empty, any pixel must.
        side: Side of the view in pixels; what lies outside the picture has the mean colour, as padding has.
        rng: Source of all choices.
    """
    height, width = scene.image.shape[:2]
    fitted = side / max(height, width)
    scale = fitted * np.exp(rng.uniform(np.log(0.75), np.log(2.0)))
    angle = rng.normal(0, 10) if rng.random() < 0.4 else 0.0
    matrix = cv2.getRotationMatrix2D((0, 0), angle, scale)
    if rng.random() < 0.5:
        matrix = matrix @ np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    ys, xs = np.nonzero(scene.masks[target] if scene.masks[target].any() else ~scene.masks[target])
    pick = rng.integers(len(xs))
    anchor = matrix @ np.array([xs[pick], ys[pick], 1.0])
    corners = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], dtype=float)
    low, high = corners.min(axis=1), corners.max(axis=1)
    for axis in range(2):
        room = high[axis] - low[axis] - side
        if room <= 0:
            offset = low[axis] + room * rng.random()
        else:
            wanted = anchor[axis] - side * rng.uniform(0.2, 0.8)
            offset = np.clip(wanted, low[axis], high[axis] - side)
        matrix[axis, 2] -= offset
    image = cv2.warpAffine(scene.image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=MEAN_COLOUR)
    soft = [cv2.warpAffine(m.astype(np.uint8) * 255, matrix, (side, side)) for m in scene.masks]
    return Scene(image, np.stack(soft) > 127)


def whole(scene: Scene, side: int) -> Scene:
    """A scene as a model is shown a picture: all of it, ``side`` pixels at its longer side, padded with the mean."""
    height, width = scene.image.shape[:2]
    place = fit(height, width, side)
    size, room = (place.fitted_width, place.fitted_height), (side - place.fitted_height, side - place.fitted_width)
    image = cv2.copyMakeBorder(
        resize_image(scene.image, place), 0, room[0], 0, room[1], cv2.BORDER_CONSTANT, value=MEAN_COLOUR
    )
    soft = [cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) for mask in scene.masks]
    return Scene(image, np.pad(np.stack(soft) > 127, ((0, 0), (0, room[0]), (0, room[1]))))


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Jitters exposure, contrast, white balance and saturation; now and then grey, blurred or noisy."""
    x = image.astype(np.float32)
    if rng.random() < 0.1:
        x = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * np.float32(rng.uniform(0.5, 1.5))
    x = (x - 128) * np.float32(rng.uniform(0.7, 1.35)) + 128 + np.float32(rng.uniform(-35, 35))
    x *= rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.1:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.4, 1.5)))
    if rng.random() < 0.15:
        x += rng.standard_normal(x.shape, dtype=np.float32) * np.float32(rng.uniform(2, 12))
    return np.clip(x, 0, 255).astype(np.uint8)


def paste(scene: Scene, donor: Scene, source: int, rng: np.random.Generator) -> Scene:
    """Pastes a donor's object at a random place and size; it becomes object 0 and hides what lies under it.

    The donor's view must have the scene's size. Objects that end up hidden are left out.
    """
    height, width = scene.masks.shape[1:]
    ys, xs = np.nonzero(donor.masks[source])
    extent = max(np.ptp(xs), np.ptp(ys)) + 1
    scale = np.clip(rng.uniform(0.1, 0.7) * max(height, width) / extent, 0.2, 2.5)
    centre = np.array([xs.mean(), ys.mean()])
    matrix = np.asarray(cv2.getRotationMatrix2D(centre.tolist(), rng.normal(0, 20), scale), dtype=np.float64)
    matrix[:, 2] += rng.uniform(0.1, 0.9, 2) * (width, height) - centre
    object_image = cv2.warpAffine(donor.image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(donor.masks[source].astype(np.float32), matrix, (width, height))
    if (alpha > 0.5).sum() < 40:
        return scene
    return _lay_over(scene, object_image, alpha)


def camouflage(scene: Scene, target: int, rng: np.random.Generator) -> Scene:
    """Refills an object with texture of its own background, so that only a faint trace of it remains.

    The texture is a displaced, maybe mirrored copy of the surroundings; 0 to 35 % of the object shines through and
    its brightness may differ a little. The mask stays exact.
    """
    image, mask = scene.image.astype(np.float32), scene.masks[target]
    height, width = mask.shape
    best, texture = -1.0, image
    for _ in range(6):
        flipped = image[:, ::-1] if rng.random() < 0.5 else image
        hidden = mask[:, ::-1] if flipped is not image else mask
        shift = (int(rng.integers(height)), int(rng.integers(width)))
        share = float((~np.roll(hidden, shift, (0, 1)))[mask].mean())
        if share > best:
            best, texture = share, np.roll(flipped, shift, (0, 1))
    trace = np.float32(rng.uniform(0, 0.35))
    fill = texture * (1 - trace) + image * trace
    fill = fill * np.float32(rng.uniform(0.88, 1.12)) + rng.normal(0, 5, 3).astype(np.float32)
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), float(rng.uniform(0.5, 1.2)))[..., None]
    mixed = image * (1 - alpha) + fill * alpha
    return Scene(np.clip(mixed, 0, 255).astype(np.uint8), scene.masks)


def patchwork(scene: Scene, target: int, donor: Scene, rng: np.random.Generator) -> Scene:
    """Refills an object with two to five materials side by side, so that no texture alone tells where it ends.

    A material is what was there, a displaced part of the picture or of the donor, or one colour with grain; each has
    its own brightness and tint. The mask stays exact.

    Args:
        scene: The scene.
        target: Index of the object that is refilled.
        donor: A view of the scene's size.
        rng: Source of all choices.
    """
    image, mask = scene.image.astype(np.float32), scene.masks[target]
    other = donor.image.astype(np.float32)
    pieces = _pieces(mask, int(rng.integers(2, 6)), rng)
    filled = np.zeros_like(image)
    for piece in np.unique(pieces):
        here = pieces == piece
        filled[here] = _material(image, other, rng)[here]
    smooth = cv2.GaussianBlur(filled, (0, 0), float(rng.uniform(0.3, 0.8)))
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), float(rng.uniform(0.4, 1.0)))[..., None]
    return Scene(np.clip(image * (1 - alpha) + smooth * alpha, 0, 255).astype(np.uint8), scene.masks)


def _pieces(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which piece each pixel belongs to (H, W) int: nearest of some places on the mask, or bands; borders are wavy."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rows, columns = np.nonzero(mask)
    extent = float(max(np.ptp(rows), np.ptp(columns)) + 1)
    for axis in (y, x):
        noise = rng.standard_normal((height, width), dtype=np.float32)
        axis += grain(noise, max(2.0, extent / 8)) * np.float32(extent * rng.choice([0.0, 0.05, 0.12]))
    if rng.random() < 0.3:
        angle = rng.uniform(0, np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        edges = np.sort(rng.choice(along[mask], count - 1))
        return np.asarray(np.digitize(along, edges))
    centres = rng.integers(len(rows), size=count)
    far = [(y - rows[k]) ** 2 + (x - columns[k]) ** 2 for k in centres]
    return np.argmin(np.stack(far), axis=0)


def _material(image: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What one piece of an object is made of, (H, W, 3) float32."""
    height, width = image.shape[:2]
    kind = rng.random()
    if kind < 0.25:
        made = image
    elif kind < 0.75:
        made = np.roll(donor if kind < 0.6 else image, rng.integers((height, width)), (0, 1))
        middle = made.mean(axis=(0, 1))
        made = middle + (made - middle) * np.float32(rng.uniform(0.3, 1.2))
    else:
        noise = rng.standard_normal((height, width), dtype=np.float32)
        rough = grain(noise, float(rng.uniform(0.4, 2.5)))
        made = rng.uniform(10, 245, 3).astype(np.float32) + (rough * rng.uniform(0, 20))[..., None]
    return np.asarray(made * rng.uniform(0.8, 1.2) + rng.normal(0, 8, 3), dtype=np.float32)


def grain(noise: np.ndarray, sigma: float) -> np.ndarray:
    """Noise (H, W) float32 in lumps of about ``sigma`` pixels, with a standard deviation of 1."""
    smooth: np.ndarray = cv2.GaussianBlur(noise, (0, 0), sigma)
    return smooth / smooth.std()


def _lay_over(scene: Scene, object_image: np.ndarray, alpha: np.ndarray) -> Scene:
    soft = cv2.GaussianBlur(alpha, (0, 0), 0.7)[..., None]
    image = scene.image * (1 - soft) + object_image * soft
    covered = alpha > 0.5
    rest = scene.masks & ~covered
    kept = rest[rest.sum(axis=(1, 2)) > 0.5 * scene.masks.sum(axis=(1, 2))]
    return Scene(image.astype(np.uint8), np.concatenate([covered[None], kept]))
