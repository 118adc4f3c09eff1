"""Everything that two stores hold, looked through for words that should be in neither."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

import redis

from shared.objects import ObjectMissingError, ObjectStore


def traces(client: redis.Redis, objects: ObjectStore, words: Collection[str]) -> set[str]:
    """Where any of the words stands: keys, members, fields and values in Redis; keys and bytes of objects."""
    texts = [*_redis_texts(client), *_object_texts(objects)]
    return {f"{place}: {word}" for place, text in texts for word in words if word in text}


def _redis_texts(client: redis.Redis) -> Iterator[tuple[str, str]]:
    for key in client.scan_iter("*", count=1000):
        yield key, key
        yield key, repr(_value(client, key))


def _value(client: redis.Redis, key: str) -> Any:
    match client.type(key):
        case "string":
            return client.get(key)
        case "hash":
            return client.hgetall(key)
        case "zset":
            return client.zrange(key, 0, -1, withscores=True)
        case "set":
            return client.smembers(key)
        case "list":
            return client.lrange(key, 0, -1)
        case "stream":
            return client.xrange(key)
        case "none":
            return None  # it has gone meanwhile
        case other:
            raise AssertionError(f"{key} is a {other}: teach this module to read it")


def _object_texts(objects: ObjectStore) -> Iterator[tuple[str, str]]:
    for stat in objects.list(""):
        yield stat.key, stat.key
        with suppress(ObjectMissingError):  # it has gone meanwhile
            yield stat.key, objects.get(stat.key).decode("latin-1")
