"""The same payload in every peer: n bytes that depend on n only."""


def payload(kind, n):
    block = bytes((i * 7 + (i >> 8)) & 0xFF for i in range(65536))
    if kind == "text":
        block = bytes(97 + v % 26 for v in block)
    data = (block * (n // 65536 + 1))[:n]
    return data.decode() if kind == "text" else data


def parts(data, fragments):
    """Cut data for a message of several frames; one part is the message itself."""
    if fragments == 1:
        return data
    size = -(-len(data) // fragments) or 1
    return [data[i * size : (i + 1) * size] for i in range(fragments)]
