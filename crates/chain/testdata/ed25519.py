"""Writes ed25519.txt: keys, signatures and messages at the edges of Ed25519, each with whether the strict rule accepts it.

Arithmetic of RFC 8032, section 5.1, in plain Python, which shares nothing with the library that the chain uses. The strict
rule is that of docs/spec/contracts.md, section 2.

    python3 ed25519.py > ed25519.txt
"""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
NEUTRAL = (0, 1)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P


def times(n, point):
    total = NEUTRAL
    while n > 0:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def encode(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point, or None. Takes values of y from p on, as lax decoders do; `encode` tells."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number % 2**255 % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return ((P - x) % P if x & 1 != sign else x, y)


def challenge(key, r, message):
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def is_valid(key, signature, message):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    points = [decode(key), decode(r)]
    for data, point in zip([key, r], points):
        if point is None or encode(point) != data or times(8, point) == NEUTRAL:
            return False
    k = challenge(key, r, message)
    return s < L and times(s, BASE) == add(points[1], times(k, points[0]))


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
SECRET, NONCE = (int.from_bytes(hashlib.sha512(text).digest(), "little") % L for text in [b"secret", b"nonce"])
# L times any point has an order that divides 8; this one has order 8.
TORSION = next(t for t in (times(L, decode(bytes([i] + [0] * 31)) or NEUTRAL) for i in range(99)) if times(4, t) != NEUTRAL)
SMALL = [times(i, TORSION) for i in range(8)]


def second_encodings():
    """Encodings that are not canonical: y from p on, or the sign of x = 0."""
    every = [(y | sign << 255).to_bytes(32, "little") for y in range(P, 2**255) for sign in [0, 1]]
    every += [encode(point)[:31] + bytes([encode(point)[31] ^ 0x80]) for point in [SMALL[0], SMALL[4]]]
    return [data for data in every if decode(data) and encode(decode(data)) != data]


def cases():
    plain = encode(times(SECRET, BASE))
    for length in [0, 1, 31, 32, 33, 200]:
        message = bytes(range(length))
        r = encode(times(NONCE, BASE))
        s = (NONCE + challenge(plain, r, message) * SECRET) % L
        yield f"honest, message of {length}", plain, r, s, message
        yield f"S plus the order, message of {length}", plain, r, s + L, message
        yield f"S plus one, message of {length}", plain, r, (s + 1) % L, message
    # Key and nonce with a part of small order. Whether the equation without cofactor holds depends on the message.
    for i, in_key in enumerate(SMALL):
        for j, in_r in enumerate(SMALL):
            key, r = encode(add(times(SECRET, BASE), in_key)), encode(add(times(NONCE, BASE), in_r))
            tried = {False: 0, True: 0}
            for counter in range(64):
                message = bytes([counter])
                k = challenge(key, r, message)
                holds = (k * i + j) % 8 == 0
                if tried[holds] == 0:
                    tried[holds] = 1
                    yield f"key with torsion {i}, R with {j}, {'holds' if holds else 'holds with cofactor only'}", key, r, (NONCE + k * SECRET) % L, message
    # A key or R that is of small order altogether: signatures that a lax verifier takes.
    for i, small in enumerate(SMALL):
        for j, other in enumerate(SMALL):
            for counter in range(64):
                key, r, message = encode(small), encode(other), bytes([counter])
                if (challenge(key, r, message) * i + j) % 8 == 0:
                    yield f"key of small order {i}, R of small order {j}, S zero", key, r, 0, message
                    break
        r = encode(small)
        yield f"R of small order {i}", plain, r, challenge(plain, r, b"m") * SECRET % L, b"m"
        r = encode(times(NONCE, BASE))
        yield f"key of small order {i}", encode(small), r, NONCE, b"m"
    for data in second_encodings():
        yield "second encoding as key", data, encode(times(NONCE, BASE)), NONCE, b"m"
        yield "second encoding as R", plain, data, challenge(plain, data, b"m") * SECRET % L, b"m"
        yield "second encoding as both", data, data, 0, b"m"
    for byte in range(256):
        key = bytes([byte]) * 32
        yield f"key of bytes {byte}", key, encode(times(NONCE, BASE)), NONCE, b"m"


if __name__ == "__main__":
    for name, key, r, s, message in cases():
        signature = r + s.to_bytes(32, "little")
        valid = "valid" if is_valid(key, signature, message) else "refused"
        print(f"{valid} {key.hex()} {signature.hex()} {message.hex() or '-'} {name}")
