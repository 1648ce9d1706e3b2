"""NumPy arrays to workers and back: each is copied once on its way, into shared memory, whatever its size.

    python examples/array_jobs.py

What a worker gets, and what comes back, is a view of that memory, which is given back when the last view of it dies.
"""

import numpy as np
import shoal


def smooth(image):
    """Each pixel becomes the mean of itself and its four neighbours."""
    padded = np.pad(image, 1, mode="edge")
    return (image + padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 5


def main():
    images = [np.random.default_rng(seed).random((1000, 1000)) for seed in range(8)]
    with shoal.Pool(2) as pool:
        smoothed = pool.map(smooth, images, chunksize=1)
    assert all(np.array_equal(result, smooth(image)) for result, image in zip(smoothed, images, strict=True))
    before = sum(image.std() for image in images) / len(images)
    after = sum(image.std() for image in smoothed) / len(images)
    print(
        f"{len(smoothed)} images of {images[0].nbytes / 1e6:.0f} MB: deviation {before:.2f} before, {after:.2f} after"
    )


if __name__ == "__main__":
    main()
