"""The ways to change an object: JSON patch, JSON merge patch, strategic merge, and server-side apply."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class PatchError(ValueError):
    """A patch that cannot be applied."""


def patched(value: Any, patch: Any, content_type: str) -> Any:
    """The object after the patch; the argument is not changed.

    Server-side apply is a strategic merge here: who owns which field is not kept.

    Raises:
        PatchError: the patch does not fit the object.
    """
    if content_type == "application/json-patch+json":
        for step in patch:
            value = _step(value, step)
        return value
    return merged(value, patch, by_name=content_type != "application/merge-patch+json")


def merged(value: Any, patch: Any, *, by_name: bool) -> Any:
    """A JSON merge patch (RFC 7396); with `by_name`, lists of named things are merged one by one.

    Kubernetes knows for every list by what it is merged; nearly all in workloads are by name.
    """
    if isinstance(patch, dict):
        result = dict(value) if isinstance(value, dict) else {}
        for key, part in patch.items():
            if part is None:
                result.pop(key, None)
            else:
                result[key] = merged(result.get(key), part, by_name=by_name)
        return result
    if by_name and _named(value) and _named(patch):
        result_list = {item["name"]: item for item in value}
        for item in patch:
            if item.get("$patch") == "delete":
                result_list.pop(item["name"], None)
            else:
                result_list[item["name"]] = merged(result_list.get(item["name"]), item, by_name=True)
        return list(result_list.values())
    return patch


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) and "name" in i for i in value)


def _step(value: Any, step: dict[str, Any]) -> Any:
    """One step of a JSON patch (RFC 6902): add, remove, replace or test."""
    keys = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    return _at(value, keys, step)


def _at(value: Any, keys: list[str], step: dict[str, Any]) -> Any:
    operation = step["op"]
    if not keys:
        if operation == "test" and value != step.get("value"):
            raise PatchError(f"testing path {step['path']} failed")
        return value if operation == "test" else step.get("value")
    key, rest = keys[0], keys[1:]
    if isinstance(value, list):
        return _in_list(value, key, rest, step)
    if not isinstance(value, dict) or (key not in value and (rest or operation != "add")):
        raise PatchError(f"{operation} operation does not apply: doc is missing path: {step['path']}")
    result = dict(value)
    if operation == "remove" and not rest:
        del result[key]
    else:
        result[key] = _at(result.get(key), rest, step)
    return result


def _in_list(value: list[Any], key: str, rest: list[str], step: dict[str, Any]) -> Any:
    result = list(value)
    at = len(result) if key == "-" else int(key) if key.isdigit() else -1
    if not 0 <= at <= len(result) or (at == len(result) and (rest or step["op"] != "add")):
        raise PatchError(f"{step['op']} operation does not apply: doc is missing path: {step['path']}")
    if rest or step["op"] in ("replace", "test"):
        result[at] = _at(result[at], rest, step)
    elif step["op"] == "add":
        result.insert(at, step.get("value"))
    else:
        del result[at]
    return result
