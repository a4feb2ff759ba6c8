from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.catalog import merkle
from kernos.catalog.merkle import Frontier, Tree, leaf_hash, node_hash, verify_consistency, verify_inclusion

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The test vectors of the Certificate Transparency reference implementation, with their roots below."""

ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def tree_of(size: int) -> Tree:
    tree = Tree()
    for number in range(size):
        tree.append(b"leaf %d" % number)
    return tree


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH, word for word as RFC 6962 section 2.1 defines it."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


def test_the_reference_vectors_hold() -> None:
    tree = Tree()

    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf)
        assert tree.root().hex() == root
    assert [each.hex() for each in tree.inclusion(0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [each.hex() for each in tree.consistency(6)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [each.hex() for each in tree.consistency(2, 5)] == [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]


def test_roots_are_those_of_the_definition() -> None:
    tree = tree_of(64)
    leaves = [b"leaf %d" % number for number in range(64)]

    for size in range(65):
        assert tree.root(size) == by_definition(leaves[:size])
        assert merkle.frontier(size, tree.node).root() == tree.root(size)


def test_every_inclusion_proof_up_to_64_holds_and_no_other() -> None:
    tree = tree_of(64)

    for size in range(1, 65):
        root = tree.root(size)
        for index in range(size):
            leaf, proof = tree.node(0, index), tree.inclusion(index, size)
            assert verify_inclusion(leaf, index, size, proof, root)
            assert not verify_inclusion(leaf, index ^ 1, size, proof, root)
            assert not verify_inclusion(leaf, index, size, [*proof, leaf], root)
            assert not proof or not verify_inclusion(leaf, index, size, proof[:-1], root)
            assert not verify_inclusion(node_hash(leaf, leaf), index, size, proof, root)


def test_every_consistency_proof_up_to_64_holds_and_no_other() -> None:
    tree = tree_of(64)
    other = leaf_hash(b"other")

    for first, second in itertools.combinations_with_replacement(range(65), 2):
        old, new, proof = tree.root(first), tree.root(second), tree.consistency(first, second)
        assert verify_consistency(first, second, old, new, proof)
        assert not verify_consistency(first, second, other, new, proof)
        assert not verify_consistency(first, second, old, new, [*proof, other])
        if first:
            assert not verify_consistency(first, second, old, other, proof)
        if proof:
            assert not verify_consistency(first, second, old, new, proof[:-1])
            assert not verify_consistency(first, second, old, new, [other, *proof[1:]])


def test_there_is_no_proof_of_what_is_not_there() -> None:
    tree = tree_of(3)

    with pytest.raises(ValueError, match="leaf 3"):
        tree.inclusion(3)
    with pytest.raises(ValueError, match="no prefix"):
        tree.consistency(4)
    assert not verify_inclusion(leaf_hash(b""), 3, 3, [], tree.root())
    assert not verify_consistency(4, 3, tree.root(), tree.root(), [])


@given(st.lists(st.binary(max_size=8), max_size=80))
def test_a_frontier_appends_like_the_tree(leaves: list[bytes]) -> None:
    tree, frontier, made = Tree(), Frontier(), []
    for data in leaves:
        tree.append(data)
        frontier, new = frontier.append(leaf_hash(data))
        made += new

    assert frontier.root() == tree.root()
    assert all(node.hash == tree.node(node.level, node.index) for node in made)
    assert len(made) == len({(node.level, node.index) for node in made})
