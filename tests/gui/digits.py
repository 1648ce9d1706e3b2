"""Reads the number in a picture of a window: digits in DejaVu Sans, larger than all other text.

Each connected shape as high as a digit is compared with all ten digits, brought to the same size. That is enough for
digits next to each other, and sure: where no shape looks like a digit, there is no number.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageStat

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"

# Height of a digit, in pixels: higher than a line of text in a button, lower than a window.
LOWEST, HIGHEST = 28, 110

CELL = (24, 36)

# Mean difference of two pictures, of 255. The same digit, drawn by another library, differs by up to 20; others by 50.
ALIKE = 35

Shape = tuple[int, int, int, int]  # left, upper, right, lower


@cache
def _models() -> dict[str, Image.Image]:
    font = ImageFont.truetype(FONT, 64)
    models = {}
    for digit in "0123456789":
        picture = Image.new("L", (100, 100))
        ImageDraw.Draw(picture).text((10, 10), digit, fill=255, font=font)
        models[digit] = picture.crop(picture.getbbox()).resize(CELL)
    return models


def _shapes(ink: Image.Image) -> Iterator[Shape]:
    """The frames of the connected shapes in a picture of two colours, of those that are as high as a digit."""
    width, height = ink.size
    left_over = bytearray(ink.tobytes())
    for start in range(len(left_over)):
        if not left_over[start]:
            continue
        left_over[start] = 0
        found, xs, ys = [start], [], []
        while found:
            y, x = divmod(found.pop(), width)
            xs.append(x)
            ys.append(y)
            for near_y in range(max(y - 1, 0), min(y + 2, height)):
                for near in range(near_y * width + max(x - 1, 0), near_y * width + min(x + 2, width)):
                    if left_over[near]:
                        left_over[near] = 0
                        found.append(near)
        shape = min(xs), min(ys), max(xs) + 1, max(ys) + 1
        if LOWEST <= shape[3] - shape[1] <= HIGHEST and shape[2] - shape[0] <= shape[3] - shape[1]:
            yield shape


def read_number(picture: Image.Image) -> int | None:
    """The number in the picture. None if there is none, or something that is not a digit among its digits."""
    grey = picture.convert("L")
    background = max(enumerate(grey.histogram()), key=lambda pair: pair[1])[0]
    difference = ImageChops.difference(grey, Image.new("L", grey.size, background))
    ink = difference.point(lambda value: 255 if value > 90 else 0)
    number = ""
    for shape in sorted(_shapes(ink)):
        glyph = difference.crop(shape)
        strongest = max(glyph.getextrema()[1], 1)
        cell = glyph.point(lambda value, strongest=strongest: value * 255 // strongest).resize(CELL)
        distance, digit = min(
            (ImageStat.Stat(ImageChops.difference(cell, model)).mean[0], digit) for digit, model in _models().items()
        )
        if distance > ALIKE:
            return None
        number += digit
    return int(number) if number else None
