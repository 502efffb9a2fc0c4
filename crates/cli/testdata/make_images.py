"""Writes the pictures of images/: python make_images.py (needs numpy alone; PNG and BMP are written by hand)"""

import struct
import zlib

import numpy as np


def png(rgb):
    height, width, _ = rgb.shape
    rows = b"".join(b"\0" + rgb[y].tobytes() for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bmp(rgb):
    height, width, _ = rgb.shape
    padding = b"\0" * (-3 * width % 4)
    rows = b"".join(rgb[y, :, ::-1].tobytes() + padding for y in reversed(range(height)))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + head + rows


planes = (np.arange(18, dtype=np.uint8) * 10).reshape(3, 2, 3)
steps = np.ascontiguousarray(planes.transpose(1, 2, 0))
white = np.full((2, 3, 3), 255, dtype=np.uint8)
for name, data in [("rgb/a.png", png(steps)), ("rgb/b.bmp", bmp(white)), ("broken/cut.png", png(steps)[:40])]:
    with open(f"images/{name}", "wb") as file:
        file.write(data)
