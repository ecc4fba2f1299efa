"""What the API does with objects: list, get, create, replace, patch, delete."""

from __future__ import annotations

from .datastore import ConflictError
from .kinds import KINDS, NAMESPACES, WITH_PODS, new_metadata, new_uid
from .patches import PatchError, patched
from .selectors import SelectorError, fields_match, labels_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .datastore import Datastore
    from .kinds import Kind

APPLY = "application/apply-patch+yaml"


class ApiError(Exception):
    """An answer other than success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Target:
    """What a request's path means."""

    def __init__(self, kind: Kind, namespace: str, name: str, subresource: str) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.subresource = subresource

    @property
    def key(self) -> str:
        """The name in the datastore."""
        return self.kind.name_of(self.namespace, self.name)

    def missing(self) -> ApiError:
        """The answer for an object that is not there."""
        group = f".{self.kind.group}" if self.kind.group else ""
        return ApiError(404, "NotFound", f'{self.kind.plural}{group} "{self.name}" not found')


class Resources:
    """The objects behind the API."""

    def __init__(self, store: Datastore) -> None:
        self.store = store

    def read(self, target: Target, query: dict[str, str]) -> dict[str, Any]:
        """GET: one object, or a list.

        Raises:
            ApiError: not found, or a selector cannot be read.
        """
        if target.name:
            return self._existing(target)
        items = self._selected(target, query)
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.api_version,
            "metadata": {"resourceVersion": str(self.store.revision)},
            "items": items,
        }

    def create(self, target: Target, value: dict[str, Any]) -> dict[str, Any]:
        """POST.

        Raises:
            ApiError: the object is invalid or exists already, or its namespace does not exist.
        """
        self._check_kind(target, value)
        metadata = value.setdefault("metadata", {})
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise ApiError(422, "Invalid", "name or generateName is required")
            metadata["name"] = metadata["generateName"] + new_uid()[:5]
        target.name = metadata["name"]
        with self.store.changed:
            if self.store.get(target.key) is not None:
                raise ApiError(409, "AlreadyExists", f'{target.kind.plural} "{target.name}" already exists')
            return self._write(target, value)

    def replace(self, target: Target, value: dict[str, Any]) -> dict[str, Any]:
        """PUT.

        Raises:
            ApiError: the object is invalid, not there, or changed since it was read.
        """
        self._check_kind(target, value)
        with self.store.changed:
            old = self._existing(target)
            return self._write(target, value, old)

    def patch(self, target: Target, patch: Any, content_type: str) -> dict[str, Any]:
        """PATCH; with server-side apply an object that is not there is made.

        Raises:
            ApiError: not found, or the patch does not fit.
        """
        with self.store.changed:
            old = self.store.get(target.key)
            if old is None:
                if content_type != APPLY:
                    raise target.missing()
                patch.setdefault("metadata", {})["name"] = target.name
                return self.create(target, patch)
            try:
                value = patched(old, patch, content_type)
            except PatchError as exc:
                raise ApiError(422, "Invalid", str(exc)) from exc
            return self._write(target, value, old)

    def delete(self, target: Target, query: dict[str, str]) -> dict[str, Any]:
        """DELETE: one object, or all that the selectors match; a namespace takes all that is in it.

        Raises:
            ApiError: not found.
        """
        with self.store.changed:
            for value in [self._existing(target)] if target.name else self._selected(target, query):
                metadata = value["metadata"]
                self.store.delete(target.kind.name_of(metadata.get("namespace", ""), metadata["name"]))
                if target.kind is NAMESPACES:
                    self._empty(metadata["name"])
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _empty(self, namespace: str) -> None:
        for kind in KINDS:
            if kind.namespaced:
                for value in self.store.under(kind.prefix(namespace)):
                    self.store.delete(kind.name_of(namespace, value["metadata"]["name"]))

    def _existing(self, target: Target) -> dict[str, Any]:
        value = self.store.get(target.key)
        if value is None:
            raise target.missing()
        return value

    def _selected(self, target: Target, query: dict[str, str]) -> list[dict[str, Any]]:
        try:
            return [
                value
                for value in self.store.under(target.kind.prefix(target.namespace))
                if labels_match(query.get("labelSelector", ""), value["metadata"].get("labels") or {})
                and fields_match(query.get("fieldSelector", ""), value)
            ]
        except SelectorError as exc:
            raise ApiError(400, "BadRequest", str(exc)) from exc

    def _check_kind(self, target: Target, value: dict[str, Any]) -> None:
        said = value.setdefault("kind", target.kind.kind), value.setdefault("apiVersion", target.kind.api_version)
        if said != (target.kind.kind, target.kind.api_version):
            message = f"the object provided is of kind {said[0]} {said[1]}, not {target.kind.kind}"
            raise ApiError(400, "BadRequest", message)

    def _check_pods(self, value: dict[str, Any]) -> None:
        """Refuse a pod, or a template of pods, that could not be started."""
        spec = value.get("spec")
        template = spec.get("template") if isinstance(spec, dict) and value["kind"] != "Pod" else value
        containers = (template or {}).get("spec", {}).get("containers")
        if not containers or any(not c.get("name") or not c.get("image") for c in containers):
            message = (
                f'{value["kind"]} "{value["metadata"].get("name")}" is invalid: containers with name and image required'
            )
            raise ApiError(422, "Invalid", message)

    def _write(self, target: Target, value: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
        metadata = value["metadata"]
        if target.kind in WITH_PODS:
            self._check_pods(value)
        if target.kind.namespaced:
            namespace = metadata.setdefault("namespace", target.namespace)
            if namespace != target.namespace:
                message = "the namespace of the provided object does not match the namespace sent on the request"
                raise ApiError(400, "BadRequest", message)
            if self.store.get(NAMESPACES.name_of("", namespace)) is None:
                raise ApiError(404, "NotFound", f'namespaces "{namespace}" not found')
        if old is not None:
            self._carry_over(target, value, old)
        elif target.kind is NAMESPACES:
            value.setdefault("status", {"phase": "Active"})
        new_metadata(value)
        try:
            return self.store.put(target.key, value, expected=metadata.get("resourceVersion", "") if old else "")
        except ConflictError as exc:
            message = (
                f'Operation cannot be fulfilled on {target.kind.plural} "{target.name}": the object has been modified'
            )
            raise ApiError(409, "Conflict", message) from exc

    def _carry_over(self, target: Target, value: dict[str, Any], old: dict[str, Any]) -> None:
        """What an update cannot change: identity, and either the status or everything else."""
        for key in ("uid", "creationTimestamp", "generation"):
            if key in old["metadata"]:
                value["metadata"][key] = old["metadata"][key]
        if target.subresource == "status":
            status = value.get("status")
            value.clear()
            value.update(old)
            value["status"] = status
        elif "status" in old:
            value["status"] = old["status"]
        if value.get("spec") != old.get("spec"):
            value["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
