"""Which partition a contact lives in, and the hash tag that keeps its keys together.

Decides: `partition = hash(key) mod P` and one tag per partition, spread evenly over the 16,384
slots of a cluster.
Source: Redis cluster specification, "hash tags"; CRC-16/XMODEM, which is `binascii.crc_hqx`.
"""

from __future__ import annotations

import binascii
import functools

CLUSTER_SLOTS = 16_384


def partition_of(key: bytes, partition_count: int) -> int:
    """Return the partition of a keyed hash.

    Args:
        key: at least two bytes of an evenly distributed hash.
        partition_count: a power of two, at most 4,096.

    Cost: O(1).
    """
    return ((key[0] << 8) | key[1]) & (partition_count - 1)


def cluster_slot(tag: str) -> int:
    """Return the cluster slot of a key whose hash tag is `tag`."""
    return binascii.crc_hqx(tag.encode("ascii"), 0) % CLUSTER_SLOTS


@functools.cache
def partition_tags(partition_count: int) -> tuple[str, ...]:
    """Return one hash tag per partition, each in its own equal share of the slots.

    Partition i takes the first tag "p0", "p1", ... whose slot lies in
    [i * 16384 / P, (i + 1) * 16384 / P): so a cluster that splits its slots evenly
    splits the partitions evenly too.

    Cost: about P * ln(P) hashes, once.
    """
    assert partition_count & (partition_count - 1) == 0 and partition_count <= CLUSTER_SLOTS
    width = CLUSTER_SLOTS // partition_count
    tags: dict[int, str] = {}
    candidate = 0
    while len(tags) < partition_count:
        tag = f"p{candidate}"
        tags.setdefault(cluster_slot(tag) // width, tag)
        candidate += 1
    return tuple(tags[index] for index in range(partition_count))
