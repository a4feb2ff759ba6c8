"""RFC 6962 Merkle trees over SHA-256: append, root, inclusion and consistency, from complete subtrees alone.

A tree of n leaves is known by its complete subtrees: `node(level, index)` is the hash over the leaves
[index * 2^level, (index + 1) * 2^level). Such a node never changes once its last leaf is there, so it can be
stored, and every root and proof of every size up to n follows from O(log n) of them.

Source: RFC 6962, section 2.1 (Merkle hash trees, audit paths, consistency proofs), and RFC 9162, sections
2.1.3.2 and 2.1.4.2 (how a verifier walks them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
Nodes = Callable[[int, int], bytes]
"""`(level, index)` to the hash of that complete subtree; level 0 are the leaves."""


@dataclass(frozen=True, slots=True)
class Node:
    level: int
    index: int
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree reduced to what an append needs: its size, and its complete subtrees' roots, largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, list[Node]]:
        """The frontier with one leaf hash more, and the subtrees of level 1 and up that it completed."""
        peaks = list(self.peaks)
        index, level, made = self.size, 0, []
        while index & 1:
            leaf = node_hash(peaks.pop(), leaf)
            index >>= 1
            level += 1
            made.append(Node(level, index, leaf))
        return Frontier(self.size + 1, (*peaks, leaf)), made

    def root(self) -> bytes:
        """The tree's hash; of the empty tree that of no bytes."""
        if not self.peaks:
            return hashlib.sha256().digest()
        *rest, result = self.peaks
        for peak in reversed(rest):
            result = node_hash(peak, result)
        return result


def frontier(size: int, node: Nodes) -> Frontier:
    """The frontier of the first `size` leaves."""
    peaks, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(node(level, start >> level))
            start += 1 << level
    return Frontier(size, tuple(peaks))


def root(size: int, node: Nodes) -> bytes:
    """The hash of the tree of the first `size` leaves."""
    return frontier(size, node).root()


def inclusion(index: int, size: int, node: Nodes) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves. ValueError where there is no such leaf."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, node))
            end = middle
        else:
            path.append(_range_hash(start, middle, node))
            start = middle
    return path[::-1]


def consistency(first: int, size: int, node: Nodes) -> list[bytes]:
    """The proof that the tree of `first` leaves is a prefix of that of `size`; empty for 0 and for all."""
    if not 0 <= first <= size:
        raise ValueError(f"a tree of {first} is no prefix of one of {size}")
    if first in {0, size}:
        return []
    start, end, known, proof = 0, size, True, []
    while first - start != end - start:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(_range_hash(middle, end, node))
            end = middle
        else:
            proof.append(_range_hash(start, middle, node))
            start, known = middle, False
    if not known:
        proof.append(_range_hash(start, end, node))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree: bytes) -> bool:
    """Whether `proof` shows the leaf hash `leaf` as number `index` of `size` in the tree of root `tree`."""
    if not 0 <= index < size:
        return False
    at, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            result = node_hash(sibling, result)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and result == tree


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows that the tree of `second` leaves only adds leaves to that of `first`."""
    if not 0 <= first <= second:
        return False
    if first in {0, second}:
        return not proof and (first_root == second_root if first else first_root == Frontier().root())
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    if not path:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


class Tree:
    """A whole tree in memory. The journal keeps the same nodes in the catalog."""

    def __init__(self) -> None:
        self._frontier = Frontier()
        self._levels: list[list[bytes]] = [[]]

    @property
    def size(self) -> int:
        return self._frontier.size

    def append(self, data: bytes) -> int:
        """Add a leaf of these bytes; its index."""
        leaf = leaf_hash(data)
        self._levels[0].append(leaf)
        self._frontier, made = self._frontier.append(leaf)
        for node in made:
            if node.level == len(self._levels):
                self._levels.append([])
            self._levels[node.level].append(node.hash)
        return self.size - 1

    def node(self, level: int, index: int) -> bytes:
        return self._levels[level][index]

    def root(self, size: int | None = None) -> bytes:
        return root(self.size if size is None else size, self.node)

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        return inclusion(index, self.size if size is None else size, self.node)

    def consistency(self, first: int, size: int | None = None) -> list[bytes]:
        return consistency(first, self.size if size is None else size, self.node)


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _range_hash(start: int, end: int, node: Nodes) -> bytes:
    """The hash over leaves [start, end); `start` is a multiple of the next power of two of their number."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_hash(start, middle, node), _range_hash(middle, end, node))
